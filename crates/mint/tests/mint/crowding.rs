//! Many clients at the same time: all are served, and none is told to come back because another one was
//! writing.

use std::str::FromStr;

use cdk::dhke::blind_message;
use cdk::nuts::nut20::derive_quote_locking_key;
use cdk::nuts::{BlindedMessage, CurrencyUnit, Id, KeysetResponse, MintRequest};
use cdk::secret::Secret;
use futures::stream::{self, StreamExt};
use poolbox_accounting::Owner;

use crate::rig::{Rig, owner_of};

/// Owners, and requests at once.
const CLIENTS: u8 = 8;
/// Requests of each.
const REQUESTS: usize = 40;
/// Signatures that a request asks for, of one ehash each.
const OUTPUTS: usize = 10;

/// A request to mint one ehash so many times from a quote, signed by its owner. Made before any is sent:
/// this takes longer than its answer.
fn request(quote: &str, keyset: Id, owner: u8) -> String {
    let output = |_| {
        let (blinded, _) = blind_message(&Secret::generate().to_bytes(), None).unwrap();
        BlindedMessage::new(1.into(), keyset, blinded)
    };
    let outputs = (0..OUTPUTS).map(output).collect();
    let mut request = MintRequest { quote: quote.to_owned(), outputs, signature: None };
    request.sign(&derive_quote_locking_key(&[owner; 64], 0).unwrap()).unwrap();
    serde_json::to_string(&request).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_mint_at_once_are_all_served() {
    let each = (REQUESTS * OUTPUTS) as u64;
    let mut rig = Rig::new(1).await;
    let owners: Vec<(u8, Owner)> = (1..=CLIENTS).map(|number| (number, owner_of(&[number; 64]))).collect();
    for (_, owner) in &owners {
        rig.share(owner, each).await;
    }
    let keysets: KeysetResponse = serde_json::from_str(&rig.listing("/ehash/v1/keysets").await).unwrap();
    let unit = CurrencyUnit::from_str("ehash-1").unwrap();
    let keyset = keysets.keysets.iter().find(|keyset| keyset.unit == unit).unwrap().id;
    let mut requests = Vec::new();
    for (number, owner) in &owners {
        rig.until_amounts(owner, 1, each, each).await;
        let quote = rig.quotes(owner).await.remove(0).id;
        requests.extend((0..REQUESTS).map(|_| request(&quote, keyset, *number)));
    }

    let http = reqwest::Client::new();
    let (http, url) = (&http, rig.url("/ehash/v1/mint/ehash"));
    let url = &url;
    let served = stream::iter(requests).map(|request| async move {
        let post = http.post(url).header("content-type", "application/json").body(request);
        post.send().await.unwrap().status()
    });
    let statuses: Vec<_> = served.buffer_unordered(CLIENTS.into()).collect().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(rig.logged("database is locked"), 0);
}
