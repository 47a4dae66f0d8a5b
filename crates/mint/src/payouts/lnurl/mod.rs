//! Lightning addresses (LUD-16): how an address becomes an invoice over LNURL-pay (LUD-06).
//!
//! The domain of an address is a miner's user name, and the callback is its host's word: neither is
//! trusted. What is asked, and how far, is in [`web`]; what an answer has to look like, in [`answer`].

pub mod answer;
pub mod reach;
pub mod web;

use std::net::SocketAddr;

use poolbox_accounting::{Network, Sats};

use answer::PayRequest;
use web::Web;

/// Why an address brought no invoice. Each sentence is shown to the person who looks why a payout waits.
#[derive(Debug, thiserror::Error)]
pub enum LnurlError {
    /// Not `name@domain`.
    #[error("{0} is no Lightning address; write name@domain")]
    NoAddress(String),
    /// A host that only Tor reaches.
    #[error("{0} is an onion service, which this box does not reach; use an address of another host")]
    Onion(String),
    /// The host cannot be asked.
    #[error(transparent)]
    Web(#[from] web::WebError),
    /// The answer is not LUD-06's.
    #[error("{host} answers for the address what no wallet can pay: {reason}")]
    Answer {
        /// Who answered.
        host: String,
        /// What is wrong.
        reason: answer::AnswerError,
    },
}

/// An invoice for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// BOLT11 text.
    pub bolt11: String,
    /// What it asks for.
    pub amount: Sats,
}

/// Asks the hosts of Lightning addresses.
#[derive(Clone, Debug)]
pub struct Lnurl {
    web: Web,
    network: Network,
}

impl Lnurl {
    /// For invoices of `network`. `stand_in` is asked in place of every host, for tests.
    pub const fn new(network: Network, stand_in: Option<SocketAddr>) -> Self {
        Self { web: Web::new(stand_in), network }
    }

    /// An invoice of `address` for what it takes of `payable`.
    ///
    /// # Errors
    /// [`LnurlError`].
    pub async fn invoice(&self, address: &str, payable: Sats, now: u64) -> Result<Invoice, LnurlError> {
        let no_address = || LnurlError::NoAddress(address.to_owned());
        let (name, host) = address.split_once('@').ok_or_else(no_address)?;
        if host.ends_with(".onion") {
            return Err(LnurlError::Onion(host.to_owned()));
        }
        let wrong = |reason| LnurlError::Answer { host: host.to_owned(), reason };
        let first = self.web.first(host, name)?;
        let request = PayRequest::read(&self.web.get(&first).await?).map_err(wrong)?;
        let amount = request.amount(payable).map_err(wrong)?;
        let callback = self.web.callback(&request.callback, amount)?;
        let body = self.web.get(&callback).await?;
        let bolt11 = request.invoice(&body, amount, self.network, now).map_err(wrong)?;
        Ok(Invoice { bolt11, amount })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use axum::extract::{Path, Query};
    use axum::routing::get;
    use axum::{Json, Router};
    use bitcoin::hashes::{Hash, sha256};
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use cdk::lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
    use serde_json::{Value, json};

    use super::*;

    const METADATA: &str = r#"[["text/plain","sats for bob"]]"#;
    const NOW: u64 = 1_700_000_000;

    /// An invoice over `msat`, as the host of an address gives it.
    fn invoice(msat: u64) -> String {
        let key = SecretKey::from_slice(&[7; 32]).unwrap();
        InvoiceBuilder::new(Currency::Regtest)
            .description_hash(sha256::Hash::hash(METADATA.as_bytes()))
            .payment_hash(sha256::Hash::hash(&[1]))
            .payment_secret(PaymentSecret([2; 32]))
            .duration_since_epoch(Duration::from_secs(NOW))
            .min_final_cltv_expiry_delta(18)
            .amount_milli_satoshis(msat)
            .build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &key))
            .unwrap()
            .to_string()
    }

    async fn pay_request(Path(name): Path<String>) -> Json<Value> {
        if name != "bob" {
            return Json(json!({ "status": "ERROR", "reason": format!("no {name} here") }));
        }
        Json(json!({ "tag": "payRequest", "callback": "https://example.com/cb?to=bob", "minSendable": 1_000,
                     "maxSendable": 50_000_000, "metadata": METADATA }))
    }

    async fn callback(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
        assert_eq!(query["to"], "bob");
        Json(json!({ "pr": invoice(query["amount"].parse().unwrap()), "routes": [] }))
    }

    /// A stand-in for the host of every Lightning address.
    async fn stand_in() -> Lnurl {
        let routes =
            Router::new().route("/.well-known/lnurlp/{name}", get(pay_request)).route("/cb", get(callback));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Lnurl::new(Network::Regtest, Some(address))
    }

    #[tokio::test]
    async fn an_address_becomes_an_invoice_over_exactly_the_amount() {
        let lnurl = stand_in().await;
        let got = lnurl.invoice("bob@example.com", Sats::new(1_234), NOW).await.unwrap();
        assert_eq!(got, Invoice { bolt11: invoice(1_234_000), amount: Sats::new(1_234) });
        let got = lnurl.invoice("bob@example.com", Sats::new(9_999_999), NOW).await.unwrap();
        assert_eq!(got.amount, Sats::new(50_000), "no more than the address takes");
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_the_host() {
        let lnurl = stand_in().await;
        let error = lnurl.invoice("eve@example.com", Sats::new(1_234), NOW).await.unwrap_err().to_string();
        assert!(error.contains("example.com") && error.contains("no eve here"), "{error}");
        let onion = lnurl.invoice("bob@abcdef.onion", Sats::new(1_234), NOW).await.unwrap_err();
        assert!(matches!(onion, LnurlError::Onion(_)), "{onion}");
    }
}
