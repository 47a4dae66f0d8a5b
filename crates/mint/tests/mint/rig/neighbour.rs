//! A Lightning node of the tests' own, beside the mint's.

use std::str::FromStr;
use std::sync::Arc;

use ldk_node::bitcoin::hashes::{Hash, sha256};
use ldk_node::lightning::offers::offer::Offer;
use ldk_node::lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{Event, Node};
use poolbox_accounting::Sats;
use poolbox_api::mint as api;
use poolbox_testnode::free_port;
use serde::de::DeserializeOwned;

use super::{Rig, program};

/// Another Lightning node, of the tests' own.
pub struct Neighbour {
    pub node: Arc<Node>,
}

impl Neighbour {
    fn new(rig: &Rig) -> Self {
        let cookie = std::fs::read_to_string(rig.node.cookie_file()).unwrap();
        let (user, password) = cookie.trim().split_once(':').unwrap();
        let port = rig.node.rpc_url().rsplit(':').next().unwrap().parse().unwrap();
        let mut builder = ldk_node::Builder::new();
        builder.set_network(ldk_node::bitcoin::Network::Regtest);
        builder.set_storage_dir_path(rig.path("neighbour").to_string_lossy().into_owned());
        builder.set_chain_source_bitcoind_rpc(
            "127.0.0.1".to_owned(),
            port,
            user.to_owned(),
            password.to_owned(),
        );
        builder.set_filesystem_logger(Some(rig.path("neighbour.log").to_string_lossy().into_owned()), None);
        builder.set_listening_addresses(vec![format!("127.0.0.1:{}", free_port()).parse().unwrap()]).unwrap();
        let node = builder.build().unwrap();
        node.start().unwrap();
        Self { node: Arc::new(node) }
    }

    /// Its name and address, as `connect` takes them.
    pub fn peer(&self) -> String {
        format!("{}@{}", self.node.node_id(), self.node.listening_addresses().unwrap()[0])
    }

    fn address(&self) -> String {
        self.node.onchain_payment().new_address().unwrap().to_string()
    }

    /// Takes all events that wait; whether one of them is as wanted.
    pub fn saw(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        let mut saw = false;
        while let Some(event) = self.node.next_event() {
            saw |= wanted(&event);
            self.node.event_handled().unwrap();
        }
        saw
    }

    pub fn invoice(&self, sats: u64) -> String {
        self.node.bolt11_payment().receive(sats * 1000, &words("coffee"), 3600).unwrap().to_string()
    }

    /// An invoice for a Lightning address: its description is the hash of the address's metadata (LUD-06).
    pub fn invoice_for(&self, metadata: &str, msat: u64) -> String {
        let hash = ldk_node::lightning_invoice::Sha256(sha256::Hash::hash(metadata.as_bytes()));
        self.node
            .bolt11_payment()
            .receive(msat, &Bolt11InvoiceDescription::Hash(hash), 3600)
            .unwrap()
            .to_string()
    }

    /// What came in over Lightning, in sats of each payment.
    pub fn received(&self) -> Vec<u64> {
        let arrived = |payment: &PaymentDetails| {
            let over_lightning = !matches!(payment.kind, PaymentKind::Onchain { .. });
            over_lightning
                && payment.direction == PaymentDirection::Inbound
                && payment.status == PaymentStatus::Succeeded
        };
        let payments = self.node.list_payments_with_filter(|payment| arrived(payment));
        payments.iter().map(|payment| payment.amount_msat.unwrap() / 1000).collect()
    }

    /// An invoice whose payment is held until [`Self::take`].
    pub fn held_invoice(&self, sats: u64, secret: [u8; 32]) -> String {
        let payments = self.node.bolt11_payment();
        payments
            .receive_for_hash(sats * 1000, &words("a slow coffee"), 3600, hash(secret))
            .unwrap()
            .to_string()
    }

    pub fn take(&self, sats: u64, secret: [u8; 32]) {
        let payments = self.node.bolt11_payment();
        payments.claim_for_hash(hash(secret), sats * 1000, PaymentPreimage(secret)).unwrap();
    }

    pub async fn pay(&self, rig: &Rig, invoice: &str) {
        let id = self.node.bolt11_payment().send(&Bolt11Invoice::from_str(invoice).unwrap(), None).unwrap();
        self.until_sent(rig, id).await;
    }

    pub async fn pay_offer(&self, rig: &Rig, offer: &str, msat: u64) {
        let offer = Offer::from_str(offer).unwrap();
        let id = self.node.bolt12_payment().send_using_amount(&offer, msat, None, None, None).unwrap();
        self.until_sent(rig, id).await;
    }

    async fn until_sent(&self, rig: &Rig, id: ldk_node::lightning::ln::channelmanager::PaymentId) {
        rig.until("the neighbour's payment arrives", async |_| {
            self.saw(|_| false);
            self.node.payment(&id).is_some_and(|payment| payment.status == PaymentStatus::Succeeded)
        })
        .await;
    }
}

fn words(text: &str) -> Bolt11InvoiceDescription {
    Bolt11InvoiceDescription::Direct(Description::new(text.to_owned()).unwrap())
}

fn hash(secret: [u8; 32]) -> PaymentHash {
    PaymentHash(sha256::Hash::hash(&secret).to_byte_array())
}

/// `poolbox lightning …`, and what it answers.
pub fn lightning<T: DeserializeOwned>(rig: &Rig, arguments: &[&str]) -> T {
    let mut command = program("poolbox");
    command.arg("--state").arg(rig.path("")).args(["lightning", "--json"]).args(arguments);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// A mint with a Lightning node and a channel to a neighbour, with coins on both sides, and with
/// `further` sections of settings.
pub async fn connected(further: &str) -> (Rig, Neighbour) {
    let mut rig = Rig::new(1).await;
    assert!(rig.stop().success());
    let listen = format!("127.0.0.1:{}", free_port());
    let settings = std::fs::read_to_string(rig.path("mint.toml")).unwrap();
    std::fs::write(
        rig.path("mint.toml"),
        format!("{settings}\n{further}\n[lightning]\nlisten = '{listen}'\n"),
    )
    .unwrap();
    rig.start().await;
    rig.until("Lightning works", async |rig| rig.status().await.lightning == api::LightningState::On).await;
    let neighbour = Neighbour::new(&rig);
    let made: api::LightningAddress = lightning(&rig, &["address"]);
    rig.node.mine_to(&made.address, 1);
    rig.node.mine_to(&neighbour.address(), 1);
    rig.node.mine(100);
    rig.until("both have coins", async |rig| {
        let node: api::LightningNode = lightning(rig, &["info"]);
        node.onchain > Sats::ZERO && neighbour.node.list_balances().spendable_onchain_balance_sats > 0
    })
    .await;
    let node: api::LightningNode = lightning(&rig, &["info"]);
    let (id, address) = (node.node.parse().unwrap(), listen.parse().unwrap());
    neighbour.node.open_channel(id, address, 1_000_000, Some(400_000_000), None).unwrap();
    rig.until("the channel is funded", async |rig| {
        neighbour.saw(|_| false);
        rig.node.cli(&["getrawmempool"]).as_array().is_some_and(|txids| !txids.is_empty())
    })
    .await;
    rig.node.mine(6);
    rig.until("the channel can be used", async |rig| {
        neighbour.saw(|_| false);
        let node: api::LightningNode = lightning(rig, &["info"]);
        node.channels.iter().any(|channel| channel.usable)
            && neighbour.node.list_channels().iter().any(|channel| channel.is_usable)
    })
    .await;
    (rig, neighbour)
}
