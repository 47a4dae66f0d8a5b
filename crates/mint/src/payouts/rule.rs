//! Rules: whom a payout pays, from which balance on, and what it may cost at most. A user name that
//! is an address, a Lightning address or an offer is a rule by itself; a household name can be given
//! one.

use poolbox_accounting::{FeePpm, Network, Owner, Sats};
use poolbox_api::mint::payouts as api;
use serde::{Deserialize, Serialize};

use crate::settings::{PayoutSettings, Terms};

/// Whom a payout pays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "text")]
pub enum Target {
    /// A bitcoin address of the box's network.
    Onchain(String),
    /// A Lightning address (LUD-16).
    Lightning(String),
    /// A BOLT12 offer.
    Bolt12(String),
}

/// What was set for an owner. What is missing is the box's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Whom to pay; none where the owner's own text says it.
    pub target: Option<Target>,
    /// The balance from which on to pay.
    pub threshold: Option<Sats>,
    /// The highest fee.
    pub max_fee: Option<FeePpm>,
}

/// A rule as it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whom to pay.
    pub target: Target,
    /// The balance from which on to pay.
    pub threshold: Sats,
    /// The highest fee, as a part of what is paid.
    pub max_fee: FeePpm,
}

/// A rule that cannot be set. Each message names the field and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The box does not hold the key.
    #[error(
        "owner is a public key, whose ecash only its holder can mint; claim it with the wallet that holds the key"
    )]
    KeyOwner,
    /// The owner's own text is the target.
    #[error(
        "target cannot be changed for an owner that is an address or an offer itself; leave it out, or mine under a name"
    )]
    OwnTarget,
    /// A name has to be told where its sats go.
    #[error("target is missing; give a bitcoin address, a Lightning address or a BOLT12 offer")]
    NoTarget,
    /// Nothing that can be paid.
    #[error("target: {0}")]
    BadTarget(String),
    /// A threshold that no payout of that kind could serve.
    #[error("threshold must be {least} sat or more for this target; smaller payments are not made")]
    LowThreshold {
        /// The least one.
        least: u64,
    },
    /// More than the whole.
    #[error("max_fee_ppm is more than the payout itself; give at most 1000000")]
    FeeAboveAll,
}

impl Target {
    /// The owner's own text as a target; none for keys and names.
    pub fn of(owner: &Owner) -> Option<Self> {
        match owner {
            Owner::Address(text) => Some(Self::Onchain(text.clone())),
            Owner::Lightning(text) => Some(Self::Lightning(text.clone())),
            Owner::Offer(text) => Some(Self::Bolt12(text.clone())),
            Owner::Key(_) | Owner::Household(_) => None,
        }
    }

    /// Reads a target.
    ///
    /// # Errors
    /// [`RuleError::BadTarget`] with what is wrong.
    pub fn parse(text: &str, network: Network) -> Result<Self, RuleError> {
        let bad = |reason: String| RuleError::BadTarget(reason);
        let owner = Owner::parse(text, network).map_err(|error| {
            // The sentences are worded for a miner's log.
            bad(error.to_string().replacen("user name ", "", 1))
        })?;
        Self::of(&owner).ok_or_else(|| {
            bad("neither a bitcoin address, a Lightning address nor a BOLT12 offer; give one of them"
                .to_owned())
        })
    }

    /// Its kind.
    pub const fn kind(&self) -> api::Kind {
        match self {
            Self::Onchain(_) => api::Kind::Onchain,
            Self::Lightning(_) => api::Kind::Lightning,
            Self::Bolt12(_) => api::Kind::Bolt12,
        }
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        match self {
            Self::Onchain(text) | Self::Lightning(text) | Self::Bolt12(text) => text,
        }
    }
}

impl PayoutSettings {
    const fn terms(&self, kind: api::Kind) -> Terms {
        match kind {
            api::Kind::Onchain => self.onchain,
            api::Kind::Lightning | api::Kind::Bolt12 => self.lightning,
        }
    }
}

impl Wish {
    /// Checks what somebody wants to set for `owner`.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn check(owner: &Owner, request: &api::RuleRequest, network: Network) -> Result<Self, RuleError> {
        let own = Target::of(owner);
        let given = request.target.as_deref().filter(|text| !text.trim().is_empty());
        let target = match (owner, given) {
            (Owner::Key(_), _) => return Err(RuleError::KeyOwner),
            (Owner::Household(_), None) => return Err(RuleError::NoTarget),
            (Owner::Household(_), Some(text)) => Some(Target::parse(text, network)?),
            (_, None) => None,
            (_, Some(text)) if Some(Target::parse(text, network)?) == own => None,
            (_, Some(_)) => return Err(RuleError::OwnTarget),
        };
        let least = match target.as_ref().or(own.as_ref()).map(Target::kind) {
            Some(api::Kind::Onchain) => 1_000,
            _ => 1,
        };
        if request.threshold.is_some_and(|threshold| threshold.get() < least) {
            return Err(RuleError::LowThreshold { least });
        }
        let max_fee = request.max_fee_ppm.map(FeePpm::new).transpose().map_err(|_| RuleError::FeeAboveAll)?;
        Ok(Self { target, threshold: request.threshold, max_fee })
    }

    /// The rule that it comes to for `owner`; none for a name without a target, and for a key.
    pub fn rule(&self, owner: &Owner, settings: &PayoutSettings) -> Option<Rule> {
        let target = Target::of(owner).or_else(|| self.target.clone())?;
        let terms = settings.terms(target.kind());
        Some(Rule {
            target,
            threshold: self.threshold.unwrap_or(terms.threshold),
            max_fee: self.max_fee.unwrap_or(terms.max_fee),
        })
    }
}

impl Rule {
    /// The highest fee for a payout of `amount`.
    pub fn max_fee(&self, amount: Sats) -> Sats {
        let fee = u128::from(amount.get()) * u128::from(self.max_fee.ppm()) / 1_000_000;
        Sats::new(u64::try_from(fee).unwrap_or(u64::MAX))
    }

    /// What of `balance` can be paid whatever the fee, as long as the rule allows it.
    pub fn payable(&self, balance: Sats) -> Sats {
        let part = u128::from(balance.get()) * 1_000_000 / (1_000_000 + u128::from(self.max_fee.ppm()));
        Sats::new(u64::try_from(part).unwrap_or_default())
    }
}

impl From<Rule> for api::Rule {
    fn from(rule: Rule) -> Self {
        Self {
            target: rule.target.text().to_owned(),
            kind: rule.target.kind(),
            threshold: rule.threshold,
            max_fee_ppm: rule.max_fee.ppm(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

    fn settings() -> PayoutSettings {
        let terms =
            |threshold, ppm| Terms { threshold: Sats::new(threshold), max_fee: FeePpm::new(ppm).unwrap() };
        PayoutSettings {
            onchain: terms(200_000, 20_000),
            lightning: terms(2_000, 30_000),
            stand_in_host: None,
        }
    }

    fn check(owner: &str, request: &api::RuleRequest) -> Result<Wish, RuleError> {
        Wish::check(&Owner::parse(owner, Network::Regtest).unwrap(), request, Network::Regtest)
    }

    fn to(target: &str) -> api::RuleRequest {
        api::RuleRequest { target: Some(target.to_owned()), ..Default::default() }
    }

    #[test]
    fn an_address_is_a_rule_by_itself_and_a_name_needs_one() {
        let of =
            |owner: &str| Wish::default().rule(&Owner::parse(owner, Network::Regtest).unwrap(), &settings());
        let rule = of(ADDRESS).unwrap();
        assert_eq!((rule.target.text(), rule.threshold.get()), (ADDRESS, 200_000));
        assert_eq!(of("alice@example.com").unwrap().threshold.get(), 2_000);
        assert_eq!(of("garage"), None);
        let wish = check("garage", &to("Alice@Example.com")).unwrap();
        let rule = wish.rule(&Owner::Household("garage".into()), &settings()).unwrap();
        assert_eq!(rule.target, Target::Lightning("alice@example.com".into()));
    }

    #[test]
    fn a_wrong_rule_names_the_field_and_the_remedy() {
        let threshold = |sats| api::RuleRequest { threshold: Some(Sats::new(sats)), ..Default::default() };
        let fee = api::RuleRequest { max_fee_ppm: Some(1_000_001), ..to(ADDRESS) };
        let key = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
        let cases = [
            ("garage", api::RuleRequest::default(), "target is missing"),
            ("garage", to("bob"), "give one of them"),
            ("garage", to("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), "another network"),
            ("garage", to("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt081"), "copy it again"),
            ("garage", to("lnbc1u1p"), "target: "),
            ("garage", fee, "max_fee_ppm"),
            (ADDRESS, threshold(999), "threshold must be 1000"),
            (ADDRESS, to("alice@example.com"), "leave it out"),
            (key, to(ADDRESS), "holds the key"),
        ];
        for (owner, request, word) in cases {
            let error = check(owner, &request).unwrap_err().to_string();
            assert!(error.contains(word), "{owner}: {error}");
            assert!(!error.contains("user name"), "{error}");
        }
        assert_eq!(check(ADDRESS, &to(ADDRESS)), Ok(Wish::default()));
    }

    proptest! {
        #[test]
        fn whatever_fee_the_rule_allows_the_balance_covers_it(balance in 0..u64::MAX / 2, ppm in 0..=1_000_000_u32) {
            let rule = Rule {
                target: Target::Onchain(ADDRESS.into()),
                threshold: Sats::ZERO,
                max_fee: FeePpm::new(ppm).unwrap(),
            };
            let amount = rule.payable(Sats::new(balance));
            let sum = amount.checked_add(rule.max_fee(amount)).unwrap();
            prop_assert!(sum <= Sats::new(balance));
        }
    }
}
