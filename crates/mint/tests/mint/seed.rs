//! The seed: shown until it is written down, and what it brings back alone.
#![allow(clippy::unwrap_used, reason = "a failure here is the failure of a test")]

use std::io::Write;
use std::process::Stdio;

use poolbox_accounting::Sats;
use poolbox_api::Client;
use poolbox_api::mint::{self as api, Seed, SeedConfirmation, SeedWord, SeedWords};

use crate::rig::{Person, Rig, mint_command};

impl Rig {
    async fn post<B: serde::Serialize, T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, String> {
        let client = Client::new(self.path("mint/mint.sock")).unwrap();
        client.post(path, body).await.map_err(|error| error.to_string())
    }

    /// `poolbox-mint init --restore` with these words; whether it succeeded, and what it said.
    fn restore_seed(&self, words: &str) -> (bool, String) {
        let mut command = mint_command(&self.path("mint.toml"), &self.path("mint.log"));
        command.args(["init", "--restore"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }
}

fn answer(shown: &SeedWords) -> SeedConfirmation {
    let word = |&position| SeedWord { position, word: shown.words[position - 1].to_uppercase() };
    SeedConfirmation { words: shown.ask.iter().map(word).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_is_shown_until_two_of_its_words_were_entered_and_never_again() {
    let mut rig = Rig::new(1).await;
    let nobody_asked = rig.post::<_, Seed>(api::SEED_CONFIRM, &SeedConfirmation { words: Vec::new() }).await;
    assert!(nobody_asked.unwrap_err().contains("shown first"));

    let shown: SeedWords = rig.post(api::SEED_SHOW, &()).await.unwrap();
    let on_disk = std::fs::read_to_string(rig.path("mint/seed")).unwrap();
    assert_eq!(shown.words.join(" "), on_disk.trim());
    let mut wrong = answer(&shown);
    wrong.words[1].word = "wrong".to_owned();
    assert!(rig.post::<_, Seed>(api::SEED_CONFIRM, &wrong).await.unwrap_err().contains("not the one"));
    let shown: SeedWords = rig.post(api::SEED_SHOW, &()).await.unwrap();
    let seed: Seed = rig.post(api::SEED_CONFIRM, &answer(&shown)).await.unwrap();
    assert!(seed.confirmed_at.is_some() && seed.renewed_at.is_none(), "{seed:?}");

    assert!(rig.post::<_, SeedWords>(api::SEED_SHOW, &()).await.unwrap_err().contains("not shown again"));
    rig.kill9();
    rig.start().await;
    assert!(rig.post::<_, SeedWords>(api::SEED_SHOW, &()).await.is_err());
    let known: Seed = rig.get(api::SEED).await.unwrap();
    assert_eq!(known, seed);
    for pair in shown.words.windows(2) {
        assert_eq!(rig.logged(&pair.join(" ")), 0, "the log shows the seed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_alone_brings_the_treasurys_coins_back_and_takes_no_ecash_of_lost_books() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    rig.share(&alice.owner(), 70).await;
    rig.block(&alice.owner(), 30).await;
    rig.until_amounts(&alice.owner(), 1, 100, 100).await;
    assert_eq!(alice.mint(&rig, &alice.owner(), 1).await.unwrap(), 100);
    rig.node.mine(100);
    rig.until("the reward is spendable", async |rig| rig.status().await.sats.reserve > Sats::ZERO).await;
    let reserve = rig.status().await.sats.reserve;
    let keysets = rig.listing("/v1/keysets").await;
    let words = std::fs::read_to_string(rig.path("mint/seed")).unwrap();

    let (restored, said) = rig.restore_seed(&words);
    assert!(!restored && said.contains("move this one away"), "{said}");
    rig.stop();
    std::fs::rename(rig.path("mint"), rig.path("lost")).unwrap();
    let (restored, said) = rig.restore_seed(&words);
    assert!(!restored && said.contains("credited again"), "{said}");
    rig.journal.take().unwrap().close().await;
    std::fs::rename(rig.path("journal"), rig.path("old-journal")).unwrap();
    let (restored, said) = rig.restore_seed("install scatter secretword");
    assert!(!restored && !said.contains("secretword"), "{said}");
    assert!(!rig.path("mint/seed").exists());
    let (restored, said) = rig.restore_seed(&words);
    assert!(restored, "{said}");
    assert!(words.split_whitespace().all(|word| !said.contains(&format!(" {word} "))), "{said}");

    rig.start().await;
    rig.until("the treasury finds its coins", async |rig| rig.status().await.sats.reserve == reserve).await;
    let descriptor =
        |folder: &str| std::fs::read_to_string(rig.path(folder).join("coinbase.descriptor")).unwrap();
    assert_eq!(descriptor("mint"), descriptor("lost"));
    assert_eq!(rig.epoch(1).await.unwrap().reward, Sats::ZERO, "old blocks are nobody's new reward");
    assert_ne!(rig.listing("/v1/keysets").await, keysets);
    let old = alice.wallet(&rig.url("/ehash"), "ehash-1");
    let proofs = old.get_unspent_proofs().await.unwrap();
    assert!(!proofs.is_empty());
    let body = serde_json::json!({ "inputs": proofs, "outputs": [] });
    let refusal = rig.refusal("/ehash/v1/swap", body).await;
    assert!(refusal.to_lowercase().contains("keyset"), "{refusal}");
    let seed: Seed = rig.get(api::SEED).await.unwrap();
    assert!(seed.renewed_at.is_some() && seed.confirmed_at.is_some(), "{seed:?}");
}
