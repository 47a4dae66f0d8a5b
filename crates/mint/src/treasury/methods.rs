//! The ways in which sats come and go, and their entries in what the mint says about itself.

use std::str::FromStr;

use cdk::mint::Mint;
use cdk::nuts::nut00::KnownMethod;
use cdk::nuts::nut04::MintMethodOptions;
use cdk::nuts::nut05::MeltMethodOptions;
use cdk::nuts::{CurrencyUnit, MeltMethodSettings, MintInfo, MintMethodSettings, PaymentMethod};

use super::wallet::MIN_PAYMENT_SAT;
use crate::units;

/// A payment method for sats that leads out of the mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// To and from bitcoin addresses.
    Onchain,
    /// Lightning invoices.
    Bolt11,
    /// Lightning offers.
    Bolt12,
}

impl Method {
    /// As cdk names it.
    pub const fn named(self) -> PaymentMethod {
        PaymentMethod::Known(match self {
            Self::Onchain => KnownMethod::Onchain,
            Self::Bolt11 => KnownMethod::Bolt11,
            Self::Bolt12 => KnownMethod::Bolt12,
        })
    }

    /// The method that cdk's database names so; none for a method within the mint.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        match PaymentMethod::from_str(name).ok()? {
            PaymentMethod::Known(KnownMethod::Onchain) => Some(Self::Onchain),
            PaymentMethod::Known(KnownMethod::Bolt11) => Some(Self::Bolt11),
            PaymentMethod::Known(KnownMethod::Bolt12) => Some(Self::Bolt12),
            PaymentMethod::Custom(_) => None,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Onchain => "On-chain",
            Self::Bolt11 => "Lightning",
            Self::Bolt12 => "Lightning offer",
        }
    }

    const fn minimum_sat(self) -> u64 {
        match self {
            Self::Onchain => MIN_PAYMENT_SAT,
            Self::Bolt11 | Self::Bolt12 => 1,
        }
    }

    fn incoming(self, confirmations: u32) -> MintMethodSettings {
        MintMethodSettings {
            method: self.named(),
            unit: CurrencyUnit::Sat,
            method_name: Some(self.title().to_owned()),
            min_amount: Some(self.minimum_sat().into()),
            max_amount: None,
            options: Some(match self {
                Self::Onchain => MintMethodOptions::Onchain { confirmations },
                Self::Bolt11 => MintMethodOptions::Bolt11 { description: true },
                Self::Bolt12 => MintMethodOptions::Bolt12 { description: true },
            }),
        }
    }

    fn outgoing(self) -> MeltMethodSettings {
        MeltMethodSettings {
            method: self.named(),
            unit: CurrencyUnit::Sat,
            method_name: Some(self.title().to_owned()),
            min_amount: Some(self.minimum_sat().into()),
            max_amount: None,
            options: match self {
                Self::Bolt11 => Some(MeltMethodOptions::Bolt11 { amountless: true }),
                Self::Onchain | Self::Bolt12 => None,
            },
        }
    }
}

/// Offers `methods` in what the mint says about itself. Doing it twice changes nothing.
///
/// # Errors
/// When the database refuses.
pub async fn announce(mint: &Mint, methods: &[Method], confirmations: u32) -> Result<(), cdk::Error> {
    change(mint, |info| {
        remove(info, methods);
        for method in methods {
            info.nuts.nut04.methods.push(method.incoming(confirmations));
            info.nuts.nut05.methods.push(method.outgoing());
        }
    })
    .await
}

/// Takes `methods` out of what the mint says about itself: they do not work now.
///
/// # Errors
/// When the database refuses.
pub async fn withdraw(mint: &Mint, methods: &[Method]) -> Result<(), cdk::Error> {
    change(mint, |info| remove(info, methods)).await
}

fn remove(info: &mut MintInfo, methods: &[Method]) {
    let gone = |unit: &CurrencyUnit, named: &PaymentMethod| {
        *unit == CurrencyUnit::Sat && methods.iter().any(|method| method.named() == *named)
    };
    info.nuts.nut04.methods.retain(|entry| !gone(&entry.unit, &entry.method));
    info.nuts.nut05.methods.retain(|entry| !gone(&entry.unit, &entry.method));
}

async fn change(mint: &Mint, edit: impl FnOnce(&mut MintInfo) + Send) -> Result<(), cdk::Error> {
    let _alone = units::INFO.lock().await;
    let mut info = mint.mint_info().await?;
    edit(&mut info);
    mint.set_mint_info(info).await
}
