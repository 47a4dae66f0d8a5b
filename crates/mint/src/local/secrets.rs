//! Claim secrets: whoever holds the one of an owner may claim without the admin. The box derives them
//! from its seed and a number that grows with each renewal; only the number is stored.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use bitcoin::hashes::{Hash, sha256};
use poolbox_accounting::Owner;
use poolbox_api::{Problem, mint as api};
use poolbox_service::{Answer, Input};

use super::claims::to_its_end;
use super::{Local, Reply, broken};
use crate::crediting::unix_time;
use crate::ledger::{self, Place};

/// Wrong secrets for one owner that are looked at in one window.
const TRIES: u32 = 10;
/// Wrong secrets for all owners together.
const ALL_TRIES: u32 = 100;
/// Length of a window, seconds.
const WINDOW_S: u64 = 60;

/// The routes of this room.
pub fn routes() -> Router<Arc<Local>> {
    Router::new()
        .route(&api::owner_path("{owner}", "claim-secret"), post(renew))
        .route(api::CLAIMS, post(claim))
        .route(api::CLAIMS_ACCOUNT, post(account))
        .route(api::CLAIMS_TOKENS, post(tokens))
        .route(api::CLAIMS_TAKE_BACK, post(take_back))
}

async fn renew(State(local): State<Arc<Local>>, Path(owner): Path<String>) -> Reply<api::ClaimSecret> {
    let owner = local.owner(&owner)?;
    to_its_end(async move { local.renew_secret(&owner).await }).await
}

async fn claim(
    State(local): State<Arc<Local>>,
    Input(request): Input<api::SecretClaim>,
) -> Reply<api::Claimed> {
    let owner = local.admit(&request.owner, &request.secret).await?;
    to_its_end(async move { local.claim(&owner, Some(&request.claim)).await }).await
}

async fn account(
    State(local): State<Arc<Local>>,
    Input(request): Input<api::SecretHolder>,
) -> Reply<api::OwnerAccount> {
    let owner = local.admit(&request.owner, &request.secret).await?;
    local.account(&owner).await.map(Json).map_err(broken)
}

async fn tokens(
    State(local): State<Arc<Local>>,
    Input(request): Input<api::SecretHolder>,
) -> Reply<Vec<api::Token>> {
    let owner = local.admit(&request.owner, &request.secret).await?;
    to_its_end(async move { local.tokens(&owner).await }).await
}

async fn take_back(
    State(local): State<Arc<Local>>,
    Input(request): Input<api::SecretTakeBack>,
) -> Reply<api::TakenBack> {
    let owner = local.admit(&request.owner, &request.secret).await?;
    to_its_end(async move { local.take_back(&owner, &request.token).await }).await
}

impl Local {
    /// Which of an owner's secrets is good; none when none was made.
    pub(super) async fn secret_number(&self, owner: &Owner) -> anyhow::Result<Option<u32>> {
        Ok(ledger::read(&self.mint.localstore(), &Place::claim_secret(owner)).await?)
    }

    async fn renew_secret(&self, owner: &Owner) -> Result<api::ClaimSecret, Answer> {
        // Only for those who can claim here.
        drop(self.wallet(owner).await?);
        let number = self.secret_number(owner).await.map_err(broken)?.unwrap_or(0) + 1;
        let secret = self.keys.claim_secret(owner, number);
        let store = async {
            let mut tx = self.mint.localstore().begin_transaction().await?;
            ledger::write(&mut tx, &Place::claim_secret(owner), &number).await?;
            anyhow::Ok(tx.commit().await?)
        };
        store.await.map_err(broken)?;
        tracing::info!(%owner, number, "claim secret made; earlier ones are void");
        Ok(api::ClaimSecret { owner: owner.to_string(), number, secret: spaced(&secret) })
    }

    /// The owner, when `secret` is the one that is good. A name that nobody has and a wrong secret
    /// are told apart by nobody.
    async fn admit(&self, owner: &str, secret: &str) -> Result<Owner, Answer> {
        let owner = self.owner(owner)?;
        let wait = || {
            let problem = Problem::new("too many wrong secrets");
            Answer::too_many(problem.remedy("wait a minute, then copy the secret again"))
        };
        if self.guard.is_closed(&owner.to_string(), unix_time()) {
            return Err(wait());
        }
        let number = self.secret_number(&owner).await.map_err(broken)?;
        let right = self.keys.claim_secret(&owner, number.unwrap_or_default());
        if same(&right, &plain(secret)) && number.is_some() {
            return Ok(owner);
        }
        self.guard.wrong(&owner.to_string(), unix_time());
        tracing::warn!(%owner, "a wrong claim secret");
        let problem = Problem::new("the name or the secret is wrong");
        Err(Answer::forbidden(problem.remedy("copy the secret again, or let the admin make a new one")))
    }
}

/// Compares in a time that does not depend on where the two differ.
fn same(a: &str, b: &str) -> bool {
    let digest = |text: &str| sha256::Hash::hash(text.as_bytes()).to_byte_array();
    let difference = digest(a).iter().zip(digest(b)).fold(0, |sum, (a, b)| sum | (a ^ b));
    difference == 0
}

/// As a person writes it down: in groups of four.
fn spaced(secret: &str) -> String {
    let letters: Vec<char> = secret.chars().collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

/// As it is derived, from how a person wrote it down.
fn plain(text: &str) -> String {
    let letters = text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-');
    let meant = letters.map(|letter| match letter.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    });
    meant.take(100).collect()
}

/// Counts wrong secrets, so that nobody can try many.
#[derive(Debug, Default)]
pub struct Guard(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: u64,
    wrong: HashMap<String, u32>,
    all: u32,
}

impl Guard {
    /// Whether no more secrets are looked at for now.
    fn is_closed(&self, owner: &str, now: u64) -> bool {
        let window = self.window(now);
        window.all >= ALL_TRIES || window.wrong.get(owner).is_some_and(|wrong| *wrong >= TRIES)
    }

    fn wrong(&self, owner: &str, now: u64) {
        let mut window = self.window(now);
        window.all += 1;
        *window.wrong.entry(owner.to_owned()).or_default() += 1;
    }

    fn window(&self, now: u64) -> std::sync::MutexGuard<'_, Window> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.abs_diff(window.began) >= WINDOW_S {
            *window = Window { began: now, ..Window::default() };
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_however_a_person_wrote_it_down() {
        assert_eq!(spaced("0123456789abcdefghjk"), "0123-4567-89ab-cdef-ghjk");
        assert_eq!(plain(" 0123-4567 89AB\ncdef-GHJK"), "0123456789abcdefghjk");
        assert_eq!(plain("OIL"), "011");
        assert!(same("a", "a") && !same("a", "b") && !same("a", ""));
    }

    #[test]
    fn too_many_wrong_secrets_close_the_door_for_that_owner_until_the_window_is_over() {
        let guard = Guard::default();
        for _ in 0..TRIES {
            assert!(!guard.is_closed("garage", 1000));
            guard.wrong("garage", 1000);
        }
        assert!(guard.is_closed("garage", 1059) && !guard.is_closed("attic", 1059));
        assert!(!guard.is_closed("garage", 1060));
    }

    #[test]
    fn guessing_at_many_names_closes_the_door_for_all() {
        let guard = Guard::default();
        (0..ALL_TRIES).for_each(|n| guard.wrong(&n.to_string(), 1000));
        assert!(guard.is_closed("garage", 1000));
        assert!(guard.0.lock().unwrap().wrong.len() <= ALL_TRIES as usize);
    }
}
