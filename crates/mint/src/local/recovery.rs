//! The seed and a restored state at the local API.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use cdk::mint::Mint;
use poolbox_api::{Problem, mint as api};
use poolbox_service::Answer;

use super::{Reply, broken};
use crate::crediting::unix_time;
use crate::health::Health;
use crate::restored;
use crate::seed::{self, Renewal};

/// What these routes need.
pub struct Recovery {
    /// Where the seed is.
    pub data_dir: PathBuf,
    /// cdk's mint.
    pub mint: Arc<Mint>,
    /// Held while a restored state is not accepted.
    pub health: Arc<Health>,
}

struct Shared {
    recovery: Recovery,
    /// The words that were asked for when the seed was shown last.
    asked: Mutex<Vec<usize>>,
}

/// The routes.
pub fn router(recovery: Recovery) -> Router {
    Router::new()
        .route(api::SEED, get(state))
        .route(api::SEED_SHOW, post(show))
        .route(api::SEED_CONFIRM, post(confirm))
        .route(api::RESTORED, get(restored_state))
        .route(api::RESTORED_ACCEPT, post(accept))
        .with_state(Arc::new(Shared { recovery, asked: Mutex::default() }))
}

async fn state(State(shared): State<Arc<Shared>>) -> Reply<api::Seed> {
    shared.seed().map(Json).map_err(broken)
}

async fn show(State(shared): State<Arc<Shared>>) -> Reply<api::SeedWords> {
    let data_dir = &shared.recovery.data_dir;
    if seed::confirmed_at(data_dir).map_err(broken)?.is_some() {
        return Err(Answer::bad_request(
            Problem::new("the seed was written down and is not shown again")
                .remedy("take the paper, or make an encrypted backup with `poolbox backup`"),
        ));
    }
    let words = seed::words(data_dir).map_err(broken)?;
    let ask = seed::question(words.len());
    shared.asked().clone_from(&ask);
    tracing::info!("the seed was shown");
    Ok(Json(api::SeedWords { words, ask }))
}

async fn confirm(
    State(shared): State<Arc<Shared>>,
    Json(confirmation): Json<api::SeedConfirmation>,
) -> Reply<api::Seed> {
    let asked = shared.asked().clone();
    if asked.is_empty() {
        return Err(Answer::bad_request(
            Problem::new("no word was asked for").remedy("have the seed shown first"),
        ));
    }
    let words = seed::words(&shared.recovery.data_dir).map_err(broken)?;
    for place in asked {
        let entered = confirmation.words.iter().find(|word| word.position == place);
        let right = words.get(place - 1);
        if entered.map(|word| word.word.trim().to_lowercase()).as_ref() != right {
            return Err(Answer::bad_request(
                Problem::new(format!("word {place} is not the one of the seed"))
                    .remedy("compare with what you wrote down, and have the seed shown again if need be"),
            ));
        }
    }
    seed::confirm(&shared.recovery.data_dir, unix_time()).map_err(broken)?;
    shared.asked().clear();
    tracing::info!("the owner has the seed in writing; it is not shown again");
    shared.seed().map(Json).map_err(broken)
}

async fn restored_state(State(shared): State<Arc<Shared>>) -> Reply<Option<api::Restored>> {
    restored::read(&shared.recovery.data_dir).map(Json).map_err(broken)
}

async fn accept(State(shared): State<Arc<Shared>>) -> Reply<api::Restored> {
    let Recovery { data_dir, mint, health } = &shared.recovery;
    match restored::accept(data_dir, mint, health, unix_time()).await.map_err(broken)? {
        Some(restored) => Ok(Json(restored)),
        None => Err(Answer::bad_request(Problem::new("this mint was not restored from a backup"))),
    }
}

impl Shared {
    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seed(&self) -> anyhow::Result<api::Seed> {
        let data_dir = &self.recovery.data_dir;
        Ok(api::Seed {
            fingerprint: poolbox_wallet::fingerprint(&seed::words(data_dir)?.join(" "))?,
            confirmed_at: seed::confirmed_at(data_dir)?,
            renewed_at: Renewal::read(&data_dir.join(seed::FILE))?.map(|renewal| renewal.at),
        })
    }
}
