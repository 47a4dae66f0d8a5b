//! Reorganisations, kills and restarts: nothing is lost, nothing is credited twice.

use std::collections::HashMap;

use crate::rig::{Person, Rig, method, mint_command, until_state};
use poolbox_accounting::{EpochId, EpochState, Owner, Sats, Work};
use poolbox_mint::ledger::{Credit, Place, Redeemed};
use poolbox_testnode::free_port;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_orphaned_block_dissolves_its_epoch_and_no_work_is_lost() {
    let mut rig = Rig::new(3).await;
    let (alice, bob) = (Person::new(1).await.owner(), Person::new(2).await.owner());
    rig.share(&alice, 100).await;
    let orphan = rig.block(&alice, 5).await;
    until_state(&rig, 2, EpochState::Provisional).await;
    rig.share(&alice, 40).await;
    rig.share(&bob, 60).await;
    rig.until_amounts(&alice, 2, 40, 0).await;
    rig.until_amounts(&bob, 2, 60, 0).await;

    rig.node.cli(&["invalidateblock", &orphan.to_string()]);
    rig.node.mine(2);
    rig.until_amounts(&alice, 1, 145, 145).await;
    rig.until_amounts(&bob, 1, 60, 60).await;
    assert_eq!(rig.status().await.epoch, EpochId::new(1));
    assert_eq!(rig.epoch(1).await.unwrap().state, EpochState::Open);

    // The next block opens the epoch of the same number again, and this time it stays.
    rig.block(&bob, 1).await;
    rig.share(&alice, 7).await;
    rig.until_amounts(&alice, 2, 7, 0).await;
    rig.node.mine(2);
    rig.until_amounts(&alice, 2, 7, 7).await;
    assert_eq!(rig.epoch(1).await.unwrap().work.ehash(), 206);
    assert_eq!(rig.status().await.ehash.credited.ehash(), 213);
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_survives_kill_nine_at_any_moment_and_is_credited_once() {
    let mut rig = Rig::new(1).await;
    let owners: Vec<Owner> = (0..5).map(|n| Owner::Household(format!("room-{n}"))).collect();
    let mut credited = 0;
    for round in 0..12 {
        let killer = rig.kill9_at_write(1 + round % 4);
        for ehash in 1..=20 {
            for owner in &owners {
                rig.share(owner, ehash).await;
                credited += ehash;
            }
        }
        if round == 3 {
            rig.block(&owners[0], 9).await;
            credited += 9;
        }
        killer.join().unwrap();
        rig.start().await;
    }
    rig.until("all work is credited", async |rig| rig.status().await.ehash.credited.ehash() == credited)
        .await;
    rig.kill9();
    rig.start().await;

    let mut paid = 0;
    for owner in &owners {
        for quote in rig.quotes(owner).await {
            assert_eq!(quote.credited, quote.paid);
            paid += quote.paid.ehash();
        }
    }
    assert_eq!(paid, credited);
    assert_eq!(rig.status().await.ehash.credited.ehash(), credited);
    assert_eq!(rig.status().await.epoch, EpochId::new(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redemption_that_kill_nine_interrupts_is_paid_once_or_not_at_all() {
    const EACH: u64 = 100;
    let mut rig = Rig::new(1).await;
    let mut people = Vec::new();
    for number in 1..=8 {
        people.push(Person::new(number).await);
    }
    for person in &people {
        rig.share(&person.owner(), EACH).await;
        rig.until_amounts(&person.owner(), 1, EACH, EACH).await;
        assert_eq!(person.mint(&rig, &person.owner(), 1).await.unwrap(), EACH);
    }
    rig.block(&people[0].owner(), EACH).await;
    rig.node.mine(99);
    until_state(&rig, 1, EpochState::Settled).await;
    let reward = rig.epoch(1).await.unwrap().reward.get();
    let worth = reward * EACH / (EACH * (people.len() as u64 + 1));

    let mut sat_quotes = Vec::new();
    for (round, person) in (0u64..).zip(&people) {
        let sat = person.wallet(&rig.url(""), "sat");
        let into = sat.mint_quote(method(), Some(1.into()), None, None).await.unwrap();
        let ehash = person.wallet(&rig.url("/ehash"), "ehash-1");
        let amount = Some(json!({ "amount": EACH }).to_string());
        let melt = ehash.melt_quote(method(), &into.id, None, amount).await.unwrap();
        let booked = rig.logged("ehash redeemed");
        let melting = tokio::spawn(async move {
            let prepared = ehash.prepare_melt(&melt.id, HashMap::new()).await?;
            prepared.confirm().await.map(drop)
        });
        match round {
            0..3 => tokio::time::sleep(std::time::Duration::from_millis(4 * round)).await,
            // Between the payment's transaction and the one that spends the ecash.
            _ => {
                while rig.logged("ehash redeemed") == booked && !melting.is_finished() {
                    tokio::task::yield_now().await;
                }
            }
        }
        rig.kill9();
        // Whatever the wallet was told, the mint's books decide.
        melting.abort();
        rig.start().await;
        sat_quotes.push((sat, into.id));
    }

    let mut paid = 0;
    for (sat, id) in sat_quotes {
        let amount = sat.check_mint_quote_status(&id).await.unwrap().amount_paid.to_u64();
        assert!(amount == 0 || amount == worth, "{amount} of {worth} paid");
        paid += amount;
    }
    let status = rig.status().await;
    assert!(paid > 0, "no redemption got through");
    assert_eq!(status.sats.redeemed.get(), paid);
    assert_eq!(status.ehash.redeemed.ehash(), paid / worth * EACH);
    // Ecash that was paid for is spent, the rest is not: together all that was signed.
    assert_eq!(status.ehash.issued.ehash(), EACH * people.len() as u64);
    assert_eq!(status.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mint_follows_a_restarted_node_with_its_new_cookie() {
    let mut rig = Rig::new(1).await;
    let owner = Person::new(1).await.owner();
    rig.node.stop();
    rig.until("the outage is seen", async |rig| !rig.status().await.chain.connected).await;
    rig.share(&owner, 50).await;
    rig.until_amounts(&owner, 1, 50, 50).await;

    rig.node.restart();
    let block = rig.block(&owner, 10).await;
    until_state(&rig, 1, EpochState::Closed).await;
    assert_eq!(rig.epoch(1).await.unwrap().block_hash, Some(block.to_string()));
    rig.node.mine(100);
    until_state(&rig, 1, EpochState::Settled).await;
    assert!(rig.status().await.sats.reserve.get() > 0);
    assert!(rig.stop().success(), "{}", rig.log());
}

/// Puts files in the place of the journal's.
fn replace_journal(rig: &Rig, with: &[(String, Vec<u8>)]) {
    for (name, _) in journal_files(rig) {
        std::fs::remove_file(rig.path(&name)).unwrap();
    }
    for (name, bytes) in with {
        std::fs::write(rig.path(name), bytes).unwrap();
    }
}

fn journal_files(rig: &Rig) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(rig.path("")).unwrap().map(|file| file.unwrap());
    let named = files.map(|file| (file.file_name().into_string().unwrap(), file.path()));
    let journals = named.filter(|(name, _)| name.starts_with("journal"));
    journals.map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_journal_halts_the_mint_and_a_new_journal_is_a_new_pools() {
    let mut rig = Rig::new(1).await;
    let owner = Person::new(1).await.owner();
    rig.share(&owner, 50).await;
    rig.until_amounts(&owner, 1, 50, 50).await;
    rig.journal.take().unwrap().close().await;
    let older = journal_files(&rig);
    let reopen = |rig: &Rig| poolbox_journal::Journal::open(rig.path("journal"), rig.node.network()).unwrap();
    rig.journal = Some(reopen(&rig));
    rig.share(&owner, 7).await;
    rig.until_amounts(&owner, 1, 57, 57).await;
    rig.stop();
    rig.journal.take().unwrap().close().await;
    let right = journal_files(&rig);

    replace_journal(&rig, &older);
    rig.start().await;
    rig.until("the mint halts", async |rig| rig.status().await.halted.is_some()).await;
    assert!(rig.status().await.halted.unwrap().contains("older copy"));
    rig.stop();

    // Its work was never credited, whatever else was.
    replace_journal(&rig, &[]);
    rig.journal = Some(reopen(&rig));
    rig.start().await;
    rig.share(&owner, 3).await;
    rig.until_amounts(&owner, 1, 60, 60).await;
    rig.stop();
    rig.journal.take().unwrap().close().await;

    // The right one again goes on where it was left.
    replace_journal(&rig, &right);
    rig.journal = Some(reopen(&rig));
    rig.start().await;
    rig.share(&owner, 1).await;
    rig.until_amounts(&owner, 1, 61, 61).await;
    assert_eq!(rig.status().await.queue.journals.len(), 2);
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn owing_more_than_the_reserve_halts_the_mint() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    rig.share(&alice.owner(), 50).await;
    rig.until_amounts(&alice.owner(), 1, 50, 50).await;
    rig.stop();
    let unbacked = Redeemed { ehash: Work::ZERO, sats: Sats::new(1) };
    rig.tamper(&Place::redeemed_in_all(), &unbacked).await;
    rig.falsify(
        "INSERT INTO mint_quote (id, unit, request, expiry, amount_paid, payment_method)
         VALUES ('a fault', 'sat', 'a fault', 0, 1, 'ehash')",
    );
    rig.start().await;

    rig.until("the mint halts", async |rig| rig.status().await.halted.is_some()).await;
    let reason = rig.status().await.halted.unwrap();
    assert!(reason.contains("1 sat of ecash is owed") && reason.contains("holds only 0 sat"), "{reason}");
    let refused = alice.mint(&rig, &alice.owner(), 1).await.unwrap_err().to_string();
    assert!(refused.contains("has halted"), "{refused}");
    rig.share(&alice.owner(), 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(rig.amounts(&alice.owner(), 1).await, Some((50, 50, 0)), "credited while halted");
}

#[tokio::test(flavor = "multi_thread")]
async fn paying_more_than_was_journalled_halts_the_mint() {
    let mut rig = Rig::new(1).await;
    let owner = Person::new(1).await.owner();
    rig.share(&owner, 50).await;
    rig.until_amounts(&owner, 1, 50, 50).await;
    rig.stop();
    rig.tamper(&Place::paid(EpochId::new(1)), &Work::from_ehash(51)).await;
    rig.start().await;
    rig.until("the mint halts", async |rig| rig.status().await.halted.is_some()).await;
    assert!(rig.status().await.halted.unwrap().contains("epoch 1 holds 50 ehash of work"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_of_a_thousand_payments_is_followed_by_a_further_one() {
    let mut rig = Rig::new(1).await;
    let alice = Person::new(1).await;
    let owner = alice.owner();
    rig.share(&owner, 50).await;
    rig.until_amounts(&owner, 1, 50, 50).await;
    rig.stop();
    let place = Place::credit(EpochId::new(1), &owner);
    let credit: Credit = rig.books(&place).await.unwrap();
    assert_eq!((credit.quotes, credit.payments), (1, 1));
    rig.tamper(&place, &Credit { payments: 1000, ..credit }).await;
    rig.start().await;

    rig.share(&owner, 7).await;
    rig.until("a second quote is paid", async |rig| rig.quotes(&owner).await.len() == 2).await;
    let quotes = rig.quotes(&owner).await;
    let paid: Vec<u64> = quotes.iter().map(|quote| quote.paid.ehash()).collect();
    let credited: Vec<u64> = quotes.iter().map(|quote| quote.credited.ehash()).collect();
    assert_eq!((paid, credited), (vec![50, 7], vec![50, 7]));
    assert_eq!(alice.mint(&rig, &owner, 1).await.unwrap(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_far_behind_pays_an_owner_once_for_many_entries() {
    let mut rig = Rig::new(1).await;
    rig.stop();
    for _ in 0..5 {
        rig.queue_a_share_of_each(300, 2).await;
    }
    rig.start().await;
    rig.until("all is credited", async |rig| rig.status().await.ehash.credited.ehash() == 3000).await;
    rig.stop();
    let place = |n| Place::credit(EpochId::new(1), &Owner::Household(format!("room-{n}")));
    for n in [0, 150, 299] {
        let credit: Credit = rig.books(&place(n)).await.unwrap();
        assert_eq!((credit.paid.ehash(), credit.payments), (10, 1));
    }

    // More owners than one transaction pays.
    for _ in 0..2 {
        rig.queue_a_share_of_each(4100, 1).await;
    }
    rig.start().await;
    rig.until("all is credited", async |rig| rig.status().await.ehash.credited.ehash() == 11_200).await;
    assert_eq!(rig.status().await.queue.cursor, 5 * 300 + 2 * 4100);
    rig.stop();
    for (n, paid) in [(0, 12), (299, 12), (300, 2), (3999, 2), (4000, 2), (4099, 2)] {
        let credit: Credit = rig.books(&place(n)).await.unwrap();
        assert_eq!(credit.paid.ehash(), paid, "room-{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_end_with_status_two_and_change_nothing() {
    let mut rig = Rig::new(1).await;
    rig.stop();
    let seed = std::fs::read(rig.path("mint/seed")).unwrap();
    let settings = std::fs::read_to_string(rig.path("mint.toml")).unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let cases = [
        (settings.replace("network = 'regtest'", "network = 'signet'"), "regtest"),
        (settings.replace("cookie_file", "cookies"), "cookies"),
        (
            settings
                .lines()
                .map(|line| match line.starts_with("listen") {
                    true => format!("listen = '{}'\n", taken.local_addr().unwrap()),
                    false => format!("{line}\n"),
                })
                .collect(),
            "listen",
        ),
    ];
    for (number, (text, word)) in cases.into_iter().enumerate() {
        let file = rig.path(&format!("bad-{number}.toml"));
        let log = rig.path(&format!("bad-{number}.log"));
        std::fs::write(&file, text).unwrap();
        let status = mint_command(&file, &log).status().unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(std::fs::read(rig.path("mint/seed")).unwrap(), seed);
    assert!(rig.run("init").success(), "init again changes nothing");
    assert_eq!(std::fs::read(rig.path("mint/seed")).unwrap(), seed);
}
