//! Claiming at the box for owners whose key it holds: from accepted work to a token that a wallet of
//! somebody else takes in.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

use cdk::nuts::SecretKey;
use cdk::wallet::ReceiveOptions;
use poolbox_accounting::{EpochId, EpochState, Network, Owner, Sats, Work};
use poolbox_api::mint::{
    CLAIMS, CLAIMS_TOKENS, ClaimRequest, ClaimSecret, Claimed, OwnerAccount, OwnerPage, SecretClaim,
    SecretHolder, TakenBack, Token, Waits, owner_path,
};
use poolbox_api::{Client, ClientError};
use poolbox_wallet::{Pocket, Purse, Standing};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rig::{Person, Rig};

fn garage() -> Owner {
    Owner::Household("garage".to_owned())
}

async fn post<T: DeserializeOwned>(rig: &Rig, path: &str, body: impl Serialize) -> Result<T, ClientError> {
    Client::new(rig.path("mint/mint.sock")).unwrap().post_patiently(path, &body).await
}

async fn claim(rig: &Rig, request: ClaimRequest) -> Result<Claimed, ClientError> {
    post(rig, &owner_path("garage", "claim"), request).await
}

async fn tokens(rig: &Rig) -> Vec<Token> {
    rig.get(&owner_path("garage", "tokens")).await.unwrap()
}

fn ehash(epoch: u64, amount: Option<u64>) -> ClaimRequest {
    ClaimRequest { epoch: Some(EpochId::new(epoch)), amount, lock: None }
}

/// A mint where the garage earned 900 of the first epoch's 1,000 ehash, not settled yet.
async fn mined() -> Rig {
    let mut rig = Rig::new(1).await;
    rig.share(&garage(), 900).await;
    rig.until_amounts(&garage(), 1, 900, 900).await;
    rig
}

async fn settled(rig: &mut Rig) {
    let other = Owner::Household("attic".to_owned());
    rig.block(&other, 100).await;
    rig.node.mine(99);
    rig.until("the epoch settles", async |rig| {
        rig.epoch(1).await.is_some_and(|epoch| epoch.state == EpochState::Settled)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_claims_ehash_and_later_sats_as_tokens_that_any_wallet_takes() {
    let mut rig = mined().await;
    let bob = Person::new(2).await;

    let claimed = claim(&rig, ehash(1, Some(300))).await.unwrap();
    let token = claimed.token.expect("a token of ehash");
    assert_eq!((claimed.minted, token.amount, token.unit.as_str()), (Work::from_ehash(900), 300, "ehash-1"));
    assert_eq!(claimed.waiting.len(), 1);
    assert_eq!((claimed.waiting[0].ehash, claimed.waiting[0].waits), (Work::from_ehash(600), Waits::Block));
    let bobs = bob.wallet(&rig.url("/ehash"), "ehash-1");
    assert_eq!(bobs.receive(&token.text, ReceiveOptions::default()).await.unwrap().to_u64(), 300);

    settled(&mut rig).await;
    let reward = rig.epoch(1).await.unwrap().reward.get();
    let account: OwnerAccount = rig.get(&owner_path("garage", "")).await.unwrap();
    assert_eq!((account.epochs[0].claimable, account.epochs[0].waits), (Work::from_ehash(600), None));
    assert_eq!(account.epochs[0].worth, Some(Sats::new(reward * 600 / 1000)));

    let claimed = claim(&rig, ClaimRequest::default()).await.unwrap();
    let token = claimed.token.expect("a token of sats");
    assert_eq!((claimed.sats.get(), token.amount), (reward * 600 / 1000, reward * 600 / 1000));
    assert!(token.text.starts_with("cashuB") && token.text.len() < 4000, "{} bytes", token.text.len());
    assert_eq!(tokens(&rig).await, std::slice::from_ref(&token));
    let bobs = bob.wallet(&rig.url(""), "sat");
    assert_eq!(bobs.receive(&token.text, ReceiveOptions::default()).await.unwrap().to_u64(), token.amount);
    assert!(tokens(&rig).await.is_empty(), "a spent token is still listed");
    assert!(claim(&rig, ClaimRequest::default()).await.unwrap().token.is_none());
    assert_eq!(rig.status().await.halted, None);
    assert!(!rig.log().contains("cashuB"), "a token is in the log");

    let page: OwnerPage = rig.get("/owners?limit=1").await.unwrap();
    let next = page.next.expect("a second page");
    let rest: OwnerPage = rig.get(&format!("/owners?after={next}")).await.unwrap();
    assert!(rest.next.is_none());
    let mut owners: Vec<_> = page.owners.into_iter().chain(rest.owners).collect();
    owners.sort_by(|a, b| a.owner.cmp(&b.owner));
    let totals: Vec<_> = owners.iter().map(|owner| (owner.owner.as_str(), owner.credited.ehash())).collect();
    assert_eq!(totals, [("attic", 100), ("garage", 900)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_can_be_taken_back_and_its_text_is_worth_nothing_then() {
    let rig = mined().await;
    let token = claim(&rig, ehash(1, Some(500))).await.unwrap().token.unwrap();
    let path = owner_path("garage", &format!("tokens/{}/take-back", token.id));
    let back: TakenBack = post(&rig, &path, ()).await.unwrap();
    assert_eq!((back.amount, back.unit.as_str()), (500, "ehash-1"));
    assert!(tokens(&rig).await.is_empty());
    let bobs = Person::new(2).await.wallet(&rig.url("/ehash"), "ehash-1");
    assert!(bobs.receive(&token.text, ReceiveOptions::default()).await.is_err());
    assert_eq!(claim(&rig, ehash(1, None)).await.unwrap().token.unwrap().amount, 900);
    let again = post::<TakenBack>(&rig, &path, ()).await.unwrap_err().to_string();
    assert!(again.contains("no token"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_token_is_spent_by_its_key_alone_and_is_never_taken_back() {
    let rig = mined().await;
    let key = SecretKey::generate();
    let lock = Some(key.public_key().to_hex());
    let request = ClaimRequest { lock: lock.clone(), ..ehash(1, Some(333)) };
    let token = claim(&rig, request).await.unwrap().token.unwrap();
    assert_eq!((token.amount, &token.lock), (333, &lock));

    let bobs = Person::new(2).await.wallet(&rig.url("/ehash"), "ehash-1");
    let without = bobs.receive(&token.text, ReceiveOptions::default()).await;
    assert!(without.is_err(), "a locked token was spent without the key");
    let path = owner_path("garage", &format!("tokens/{}/take-back", token.id));
    let refused = post::<TakenBack>(&rig, &path, ()).await.unwrap_err().to_string();
    assert!(refused.contains("locked"), "{refused}");
    let with = ReceiveOptions { p2pk_signing_keys: vec![key], ..ReceiveOptions::default() };
    assert_eq!(bobs.receive(&token.text, with).await.unwrap().to_u64(), 333);
    assert!(tokens(&rig).await.is_empty());

    let wrong = ClaimRequest { lock: Some("02ab".to_owned()), ..ehash(1, None) };
    let refused = claim(&rig, wrong).await.unwrap_err().to_string();
    assert!(refused.contains("lock is no public key"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_claim_secret_claims_and_nobody_else() {
    let rig = mined().await;
    let account: OwnerAccount = rig.get(&owner_path("garage", "")).await.unwrap();
    assert_eq!(account.claim_secret, None);
    let attempt = async |secret: &str| {
        let (owner, secret) = ("Garage".to_owned(), secret.to_owned());
        post::<Claimed>(&rig, CLAIMS, SecretClaim { owner, secret, claim: ehash(1, Some(1)) }).await
    };
    let before = attempt("0000-0000-0000-0000-0000").await.unwrap_err().to_string();
    assert!(before.contains("name or the secret is wrong"), "{before}");

    let renew = async || post::<ClaimSecret>(&rig, &owner_path("garage", "claim-secret"), ()).await.unwrap();
    let first = renew().await;
    assert_eq!(first.number, 1);
    assert_eq!(attempt(&first.secret).await.unwrap().token.unwrap().amount, 1);
    assert_eq!(attempt(&first.secret.to_uppercase().replace('-', " ")).await.unwrap().minted, Work::ZERO);
    let second = renew().await;
    assert!(attempt(&first.secret).await.is_err(), "a renewed secret still opens");
    assert!(attempt(&second.secret).await.is_ok());
    let holder = SecretHolder { owner: "garage".to_owned(), secret: second.secret.clone() };
    let listed: Vec<Token> = post(&rig, CLAIMS_TOKENS, &holder).await.unwrap();
    assert_eq!(listed, tokens(&rig).await);

    for _ in 0..10 {
        let _ = attempt("wrong").await;
    }
    let closed = attempt(&second.secret).await.unwrap_err().to_string();
    assert!(closed.contains("too many wrong secrets"), "{closed}");
    let log = rig.whole_log();
    assert!(!log.contains(&second.secret) && !log.contains(&second.secret.replace('-', "")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_cut_off_anywhere_loses_nothing() {
    let mut rig = mined().await;
    let lock = Some(SecretKey::generate().public_key().to_hex());
    let mut given = 0;
    for round in 0..8u32 {
        // Locked and not, by turns; every claim also mints what was earned before it.
        rig.share(&garage(), 11).await;
        let credited = 900 + 11 * (u64::from(round) + 1);
        rig.until_amounts(&garage(), 1, credited, credited).await;
        let request = ClaimRequest { lock: lock.clone().filter(|_| round % 2 == 1), ..ehash(1, Some(50)) };
        let client = Client::new(rig.path("mint/mint.sock")).unwrap();
        let claiming = tokio::spawn(async move {
            client.post_patiently::<_, Claimed>(&owner_path("garage", "claim"), &request).await
        });
        // In the end so late that the claim has got through, however fast the machine is.
        let killed = rig.kill9_at_write(1 << round);
        tokio::task::spawn_blocking(move || killed.join().unwrap()).await.unwrap();
        let answered = claiming.await.unwrap();
        rig.start().await;

        // All that was minted is in the wallet or in tokens, each made once at most.
        let tokens = tokens(&rig).await;
        let in_tokens: u64 = tokens.iter().map(|token| token.amount).sum();
        assert!(in_tokens == given || in_tokens == given + 50, "{in_tokens} in tokens after {given}");
        if let Ok(claimed) = answered {
            assert!(tokens.contains(&claimed.token.unwrap()), "a token that was given is not listed");
        }
        given = in_tokens;
        let account: OwnerAccount = rig.get(&owner_path("garage", "")).await.unwrap();
        let collected: Claimed = post(&rig, &owner_path("garage", "collect"), ()).await.unwrap();
        assert_eq!(collected.trouble, None);
        let waiting: u64 = collected.waiting.iter().map(|waiting| waiting.ehash.ehash()).sum();
        assert_eq!(waiting + in_tokens, credited, "round {round}: {account:?}");
    }
    // Every token is money.
    let bobs = Person::new(2).await.wallet(&rig.url("/ehash"), "ehash-1");
    for token in tokens(&rig).await.iter().filter(|token| token.lock.is_none()) {
        assert_eq!(bobs.receive(&token.text, ReceiveOptions::default()).await.unwrap().to_u64(), 50);
    }
    assert!(given > 0, "no claim got through");
    let rest = claim(&rig, ehash(1, None)).await.unwrap().token.unwrap();
    assert_eq!(rest.amount + given, 900 + 88);
    bobs.receive(&rest.text, ReceiveOptions::default()).await.unwrap();
    assert_eq!(rig.status().await.halted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_wallet_is_found_again_from_the_seed() {
    let mut rig = mined().await;
    let token = claim(&rig, ehash(1, Some(100))).await.unwrap().token.unwrap();
    rig.stop();
    std::fs::remove_dir_all(rig.path("mint/purses")).unwrap();
    rig.start().await;
    assert_eq!(tokens(&rig).await, std::slice::from_ref(&token));
    let rest = claim(&rig, ehash(1, None)).await.unwrap().token.unwrap();
    assert_eq!(rest.amount, 800, "what is in a token was spent, or the rest was not found");
    let bobs = Person::new(2).await.wallet(&rig.url("/ehash"), "ehash-1");
    for token in [token, rest] {
        bobs.receive(&token.text, ReceiveOptions::default()).await.unwrap();
    }
    assert_eq!(bobs.total_balance().await.unwrap().to_u64(), 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_mean_harm_are_only_names() {
    let rig = mined().await;
    let hostile = [
        ("%2e%2e%2f%2e%2e%2fseed", "user name"),
        ("garage%00", "user name"),
        ("%3Cscript%3E", "user name"),
        ("garage'%20or%20'1'='1", "user name"),
        ("nobody-mined-for-this", "nobody has mined for"),
    ];
    for (name, expected) in hostile {
        for what in ["claim", "claim-secret", "collect"] {
            let path = owner_path(name, what);
            let refused = post::<Claimed>(&rig, &path, serde_json::json!({})).await.unwrap_err();
            assert!(refused.to_string().contains(expected), "{path}: {refused}");
        }
        let refused = rig.get::<Vec<Token>>(&owner_path(name, "tokens")).await.unwrap_err();
        assert!(refused.to_string().contains(expected), "{name}: {refused}");
    }
    let own = Person::new(1).await.owner().to_string();
    let refused = post::<Claimed>(&rig, &owner_path(&own, "claim"), ClaimRequest::default()).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("does not hold") && refused.contains("--key-file"), "{refused}");
    let wallets = std::fs::read_dir(rig.path("mint/purses")).unwrap().count();
    assert_eq!(wallets, 1, "a wallet was made for nobody");

    let too_much = claim(&rig, ehash(1, Some(901))).await.unwrap_err().to_string();
    assert!(too_much.contains("900 ehash-1 can be claimed now"), "{too_much}");
    let unheard = claim(&rig, ehash(77, Some(1))).await.unwrap_err().to_string();
    assert!(unheard.contains("ehash-77"), "{unheard}");
    let huge = claim(&rig, ehash(1, Some(u64::MAX))).await.unwrap_err().to_string();
    assert!(huge.contains("can be claimed now"), "{huge}");
    let cents = serde_json::json!({ "amount": -1 });
    let malformed = post::<Claimed>(&rig, &owner_path("garage", "claim"), cents).await.unwrap_err();
    assert!(malformed.to_string().contains("amount"), "{malformed}");
}

/// What `poolbox claim --key-file` does: the owner is a public key, and the wallet is not the box's.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_with_a_key_makes_tokens_with_a_wallet_of_its_own() {
    let mut rig = Rig::new(1).await;
    let key = SecretKey::generate();
    let owner = Owner::parse(&key.public_key().to_hex(), Network::Regtest).unwrap();
    rig.share(&owner, 700).await;
    rig.until_amounts(&owner, 1, 700, 700).await;
    let quote = rig.quotes(&owner).await.remove(0).id;
    let (url, unit) = (rig.url("/ehash"), Pocket::ehash_unit(EpochId::new(1)).unwrap());
    let purse = Purse::open(&rig.path("wallet")).await.unwrap();
    let pocket = purse.pocket(&url, unit.clone()).await.unwrap();
    let thief = Purse::open(&rig.path("thief")).await.unwrap().pocket(&url, unit.clone()).await.unwrap();
    assert!(thief.mint_locked(&quote, SecretKey::generate()).await.is_err());
    assert_eq!(pocket.mint_locked(&quote, key).await.unwrap(), Work::from_ehash(700));

    let to = SecretKey::generate();
    let locked = purse.make_token(&pocket, 300, Some(to.public_key()), 1).await.unwrap();
    let open = purse.make_token(&pocket, 200, None, 2).await.unwrap();
    assert!(purse.make_token(&pocket, 201, None, 3).await.is_err(), "what is in a token was spent");
    drop((pocket, purse));

    // Opened again: the tokens are there, and what is in them is not the wallet's.
    let purse = Purse::open(&rig.path("wallet")).await.unwrap();
    let pocket = purse.pocket(&url, unit).await.unwrap();
    assert_eq!(pocket.balance().await.unwrap(), 200);
    let slips = purse.slips().unwrap();
    assert_eq!(slips.iter().map(|slip| slip.id).collect::<Vec<_>>(), [locked.id, open.id]);
    let text = slips[0].token(&url).unwrap();
    assert!(thief.receive(&text, None).await.is_err(), "a locked token was spent without the key");
    assert_eq!(thief.receive(&text, Some(to)).await.unwrap(), 300);
    assert_eq!(pocket.standing(&slips[0]).await.unwrap(), Standing::Spent);

    assert_eq!(pocket.take_back(&slips[1]).await.unwrap(), 200);
    purse.throw_away(&slips[1]).unwrap();
    assert!(thief.receive(&slips[1].token(&url).unwrap(), None).await.is_err());
    assert_eq!(pocket.balance().await.unwrap(), 400);
}
