//! What the host of a Lightning address answers, checked before anything is paid (LUD-06, LUD-16).

use std::str::FromStr;
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use cdk::lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef, Currency};
use poolbox_accounting::{Network, Sats};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Millisatoshis in a satoshi.
const MSAT: u64 = 1_000;
/// An invoice that expires earlier, in seconds, would expire while it is paid.
const AT_LEAST_VALID: u64 = 30;
/// Of a host's own words, so many characters are repeated.
const REPEATED: usize = 120;

/// The first answer: what the address takes and where an invoice is had.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PayRequest {
    tag: String,
    /// Where an invoice is had.
    pub callback: String,
    min_sendable: u64,
    max_sendable: u64,
    metadata: String,
}

/// The second answer.
#[derive(Deserialize)]
struct PaymentRequest {
    pr: String,
}

/// A refusal, which comes with any HTTP status.
#[derive(Deserialize)]
struct Refusal {
    status: String,
    #[serde(default)]
    reason: String,
}

/// An answer that is not to be paid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not the JSON of LUD-06.
    #[error("it is not the JSON of a pay request ({0})")]
    Malformed(String),
    /// The host's own reason.
    #[error("it refuses, \"{0}\"")]
    Refused(String),
    /// Another LNURL, such as a withdrawal.
    #[error("its tag is \"{0}\" and not payRequest")]
    Tag(String),
    /// Limits that nothing satisfies.
    #[error("it takes from {min} to {max} msat, which no number of sats lies between")]
    Limits {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Less than it takes.
    #[error("it takes {least} or more, and {payable} is there")]
    TooLittle {
        /// What it takes.
        least: Sats,
        /// What could be paid.
        payable: Sats,
    },
    /// No list of descriptions.
    #[error("its metadata is no list with a text/plain entry")]
    Metadata,
    /// Not an invoice, or a damaged one.
    #[error("its invoice cannot be read ({0})")]
    NoInvoice(String),
    /// An invoice of another network.
    #[error("its invoice is of another network than {0}")]
    Network(Network),
    /// An invoice over another amount.
    #[error("its invoice asks for {asked} msat, and {wanted} msat were wanted")]
    Amount {
        /// By the invoice.
        asked: u64,
        /// By us.
        wanted: u64,
    },
    /// An invoice for something else.
    #[error("its invoice is not for its own metadata")]
    Description,
    /// An invoice that is too old.
    #[error("its invoice expires at once")]
    Expired,
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, AnswerError> {
    if let Ok(Refusal { status, reason }) = serde_json::from_slice(body)
        && status.eq_ignore_ascii_case("error")
    {
        return Err(AnswerError::Refused(repeat(&reason)));
    }
    serde_json::from_slice(body).map_err(|error| AnswerError::Malformed(repeat(&error.to_string())))
}

impl PayRequest {
    /// Reads and checks the first answer.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn read(body: &[u8]) -> Result<Self, AnswerError> {
        let request: Self = read(body)?;
        if request.tag != "payRequest" {
            return Err(AnswerError::Tag(repeat(&request.tag)));
        }
        // A list of [type, content], in which a plain text is obligatory.
        let entries: Vec<(String, serde_json::Value)> =
            serde_json::from_str(&request.metadata).map_err(|_| AnswerError::Metadata)?;
        if !entries.iter().any(|(kind, text)| kind == "text/plain" && text.is_string()) {
            return Err(AnswerError::Metadata);
        }
        Ok(request)
    }

    /// What it takes of `payable`, in whole sats.
    ///
    /// # Errors
    /// [`AnswerError::Limits`], [`AnswerError::TooLittle`].
    pub fn amount(&self, payable: Sats) -> Result<Sats, AnswerError> {
        let (least, most) = (self.min_sendable.div_ceil(MSAT).max(1), self.max_sendable / MSAT);
        if least > most {
            return Err(AnswerError::Limits { min: self.min_sendable, max: self.max_sendable });
        }
        let least = Sats::new(least);
        if payable < least {
            return Err(AnswerError::TooLittle { least, payable });
        }
        Ok(payable.min(Sats::new(most)))
    }

    /// Reads the second answer and checks that its invoice is the one that was asked for.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn invoice(
        &self,
        body: &[u8],
        amount: Sats,
        network: Network,
        now: u64,
    ) -> Result<String, AnswerError> {
        let PaymentRequest { pr } = read(body)?;
        let invoice = Bolt11Invoice::from_str(pr.trim());
        let invoice = invoice.map_err(|error| AnswerError::NoInvoice(repeat(&error.to_string())))?;
        if invoice.currency() != currency(network) {
            return Err(AnswerError::Network(network));
        }
        let wanted = amount.get().saturating_mul(MSAT);
        let asked = invoice.amount_milli_satoshis().unwrap_or_default();
        if asked != wanted {
            return Err(AnswerError::Amount { asked, wanted });
        }
        if let Bolt11InvoiceDescriptionRef::Hash(hash) = invoice.description()
            && hash.0 != sha256::Hash::hash(self.metadata.as_bytes())
        {
            return Err(AnswerError::Description);
        }
        if invoice.would_expire(Duration::from_secs(now.saturating_add(AT_LEAST_VALID))) {
            return Err(AnswerError::Expired);
        }
        Ok(invoice.to_string())
    }
}

const fn currency(network: Network) -> Currency {
    match network {
        Network::Mainnet => Currency::Bitcoin,
        Network::Testnet4 => Currency::BitcoinTestnet,
        Network::Signet | Network::Devnet => Currency::Signet,
        Network::Regtest => Currency::Regtest,
    }
}

/// A stranger's words, short and without control characters.
fn repeat(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REPEATED).collect()
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use cdk::lightning_invoice::{InvoiceBuilder, PaymentSecret};
    use serde_json::json;

    use super::*;

    const METADATA: &str = r#"[["text/plain","sats for bob"],["text/identifier","bob@example.com"]]"#;
    const NOW: u64 = 1_700_000_000;

    fn first() -> serde_json::Value {
        json!({ "tag": "payRequest", "callback": "https://example.com/cb", "minSendable": 1_500,
                "maxSendable": 5_999_999, "metadata": METADATA, "commentAllowed": 12 })
    }

    fn request() -> PayRequest {
        PayRequest::read(first().to_string().as_bytes()).unwrap()
    }

    /// An invoice over so many msat for a description hash, made at `made_at` for a minute.
    fn invoice(currency: Currency, msat: u64, metadata: &str, made_at: u64) -> String {
        let key = SecretKey::from_slice(&[7; 32]).unwrap();
        InvoiceBuilder::new(currency)
            .description_hash(sha256::Hash::hash(metadata.as_bytes()))
            .payment_hash(sha256::Hash::hash(&[1]))
            .payment_secret(PaymentSecret([2; 32]))
            .duration_since_epoch(Duration::from_secs(made_at))
            .expiry_time(Duration::from_secs(60))
            .min_final_cltv_expiry_delta(18)
            .amount_milli_satoshis(msat)
            .build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &key))
            .unwrap()
            .to_string()
    }

    fn second(pr: &str) -> Result<String, AnswerError> {
        let body = json!({ "pr": pr, "routes": [] }).to_string();
        request().invoice(body.as_bytes(), Sats::new(1_000), Network::Regtest, NOW)
    }

    #[test]
    fn the_amount_keeps_within_the_limits_of_the_address() {
        assert_eq!(request().amount(Sats::new(3_000)), Ok(Sats::new(3_000)));
        assert_eq!(request().amount(Sats::new(1_000_000)), Ok(Sats::new(5_999)));
        assert_eq!(request().amount(Sats::new(2)), Ok(Sats::new(2)));
        let little = request().amount(Sats::new(1)).unwrap_err();
        assert_eq!(little, AnswerError::TooLittle { least: Sats::new(2), payable: Sats::new(1) });
        let narrow = PayRequest { min_sendable: 1_001, max_sendable: 1_999, ..request() };
        assert!(matches!(narrow.amount(Sats::new(9)), Err(AnswerError::Limits { .. })));
    }

    #[test]
    fn an_invoice_is_taken_when_it_is_exactly_what_was_asked_for() {
        let good = invoice(Currency::Regtest, 1_000_000, METADATA, NOW);
        assert_eq!(second(&good), Ok(good));
    }

    #[test]
    fn any_other_invoice_is_refused() {
        let amount = second(&invoice(Currency::Regtest, 1_000_001, METADATA, NOW)).unwrap_err();
        assert_eq!(amount, AnswerError::Amount { asked: 1_000_001, wanted: 1_000_000 });
        let network = second(&invoice(Currency::Bitcoin, 1_000_000, METADATA, NOW));
        assert_eq!(network, Err(AnswerError::Network(Network::Regtest)));
        let other = second(&invoice(Currency::Regtest, 1_000_000, "[]", NOW));
        assert_eq!(other, Err(AnswerError::Description));
        let old = second(&invoice(Currency::Regtest, 1_000_000, METADATA, NOW - 40));
        assert_eq!(old, Err(AnswerError::Expired));
        assert!(matches!(second("lnbcrt1junk"), Err(AnswerError::NoInvoice(_))));
    }

    #[test]
    fn strange_answers_are_refused_with_the_reason_and_without_control_characters() {
        let with = |key: &str, value: serde_json::Value| {
            let mut answer = first();
            answer[key] = value;
            PayRequest::read(answer.to_string().as_bytes())
        };
        assert_eq!(with("tag", json!("withdrawRequest")), Err(AnswerError::Tag("withdrawRequest".into())));
        for metadata in ["", "[]", "{}", r#"[["text/html","x"]]"#, r#"[["text/plain",7]]"#] {
            assert_eq!(with("metadata", json!(metadata)), Err(AnswerError::Metadata), "{metadata}");
        }
        assert!(matches!(with("minSendable", json!(-1)), Err(AnswerError::Malformed(_))));
        assert!(matches!(PayRequest::read(b"<html>"), Err(AnswerError::Malformed(_))));
        let refusal = json!({ "status": "ERROR", "reason": format!("no\u{1b}[31m user{}", "!".repeat(500)) });
        let Err(AnswerError::Refused(reason)) = PayRequest::read(refusal.to_string().as_bytes()) else {
            panic!("a refusal was taken for an answer")
        };
        assert!(reason.starts_with("no[31m user") && reason.chars().count() == REPEATED, "{reason}");
    }
}
