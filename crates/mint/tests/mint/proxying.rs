//! Mode proxy, the whole way: real miners, our pool, a pool upstream that pays with its blocks, the mint, and
//! sats that a wallet spends.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

use std::process::{Child, Command, Stdio};

use cdk::wallet::ReceiveOptions;
use poolbox_api::mint::{
    ClaimRequest, Claimed, ROUNDS, Round, RoundState, UPSTREAM, UpstreamAccount, owner_path,
};
use poolbox_api::{Client, pool};

use crate::rig::{Person, Rig, program};

/// A program that is ended with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be ending this moment.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(mut command: Command) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

/// A pool in the folder `name` beside the mint's, once it has work.
async fn pool(rig: &Rig, name: &str, mode: &str, sections: &str) -> (Running, pool::Status) {
    let settings = rig.path(&format!("{name}.toml"));
    let text = format!(
        "network = 'regtest'\nmode = '{mode}'\ndata_dir = '{}'\n[stratum_v1]\nlisten = '127.0.0.1:0'\n\
         [stratum_v2]\nlisten = '127.0.0.1:0'\n{sections}\n",
        rig.path(name).display()
    );
    std::fs::write(&settings, text).unwrap();
    let mut command = program("poolbox-pool");
    command.arg("--config").arg(settings);
    let running = start(command);
    let client = Client::new(rig.path(name).join("pool.sock")).unwrap();
    rig.until(&format!("the pool {name} has work"), async |_| {
        client.get::<pool::Status>(pool::STATUS).await.is_ok_and(|status| status.job.is_some())
    })
    .await;
    (running, client.get(pool::STATUS).await.unwrap())
}

fn miner(url: &str, user: &str) -> Running {
    let mut command = program("poolbox-miner");
    command.args(["--url", url, "--user", user, "--threads", "1", "--max-hashrate", "700k"]);
    start(command)
}

async fn rounds(rig: &Rig) -> Vec<Round> {
    rig.get(ROUNDS).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_of_another_pool_are_paid_in_sats_that_a_wallet_spends() {
    let rig = Rig::behind_pool("proxy", 1).await;
    let to: UpstreamAccount = rig.get(UPSTREAM).await.unwrap();
    let node = format!("[node]\nipc_socket = '{}'", rig.node.socket().display());
    let (_above, above) = pool(&rig, "above", "solo", &node).await;
    // As at pools that pay the address in the user name.
    let upstream = format!("[upstream]\nurl = '{}'\nuser = '{}.box'", above.stratum_v1, to.address);
    let (_proxy, proxy) = pool(&rig, "proxy", "proxy", &upstream).await;
    assert_eq!(proxy.mode, pool::Mode::Proxy);

    let mut miners = vec![miner(&proxy.stratum_v1, "garage.v1"), miner(&proxy.stratum_v2, "attic.v2")];
    rig.until("blocks of the pool upstream paid this box", async |rig| {
        let rounds = rounds(rig).await;
        let both = rounds.iter().any(|round| round.owners == 2 && round.state == RoundState::Ended);
        both && rounds.len() > 3
    })
    .await;
    miners.clear();
    rig.node.mine(100);
    rig.until("every payment is shared out", async |rig| {
        let rounds = rounds(rig).await;
        rounds[1..].iter().all(|round| round.state == RoundState::Shared)
    })
    .await;

    let rounds = rounds(&rig).await;
    let (received, paid) = rounds
        .iter()
        .fold((0, 0), |(received, paid), round| (received + round.received.get(), paid + round.paid.get()));
    let left = rounds[0].received.get();
    assert!(paid <= received - left && received - left - paid < 2 * rounds.len() as u64, "{rounds:#?}");
    let client = Client::new(rig.path("mint/mint.sock")).unwrap();
    let mut claimed = 0;
    for (number, owner) in [(1, "garage"), (2, "attic")] {
        let path = owner_path(owner, "claim");
        let got: Claimed = client.post_patiently(&path, &ClaimRequest::default()).await.unwrap();
        let token = got.token.unwrap();
        let wallet = Person::new(number).await.wallet(&rig.url(""), "sat");
        let taken = wallet.receive(&token.text, ReceiveOptions::default()).await.unwrap();
        assert!(taken.to_u64() > 0);
        claimed += taken.to_u64();
    }
    assert_eq!(claimed, paid);
    let status = rig.status().await;
    assert_eq!((status.halted, status.sats.shared.get(), status.epoch.get()), (None, paid, 1));
    assert_eq!(status.ehash.credited.ehash(), 0, "there is no ehash in this mode");
}
