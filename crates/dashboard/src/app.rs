//! What every page has at hand, and the routes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use poolbox_api::Client;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, Visitor};
use crate::alerts::Alerts;
use crate::axeos::{AxeOs, Pointings};
use crate::backups::Backups;
use crate::choices::Choices;
use crate::feed::Snapshot;
use crate::history::History;
use crate::settings::Settings;
use crate::wire::Encrypted;
use crate::{assets, guard, json, live, pages};

/// Pages that are kept up to date at the same time.
const MAX_LIVE: usize = 256;

/// The dashboard.
pub struct App {
    /// As set.
    pub settings: Settings,
    /// Where the same pages are encrypted, if they are.
    pub encrypted: Option<Encrypted>,
    /// The pool's local API.
    pub pool: Client,
    /// The mint's local API, where there is one.
    pub mint: Option<Client>,
    /// The latest answers.
    pub feed: watch::Receiver<Arc<Snapshot>>,
    /// Who may change things.
    pub admin: Admin,
    /// Miners that were pointed at the box.
    pub pointings: Arc<Pointings>,
    /// What the owner of an appliance chooses here; none on any other machine.
    pub choices: Option<Choices>,
    /// Backup and restore; none where they are for the command line.
    pub backups: Option<Arc<Backups>>,
    /// What happened, and who is told.
    pub alerts: Arc<Alerts>,
    history: Mutex<History>,
    /// Seats for pages that are kept up to date.
    pub seats: Arc<Semaphore>,
    /// Cancelled when the process is to end.
    pub stop: CancellationToken,
}

/// As handlers get it.
pub type Shared = Arc<App>;

impl App {
    /// A dashboard that follows `feed`.
    ///
    /// # Errors
    /// When its files cannot be read or written.
    pub fn open(
        settings: Settings,
        encrypted: Option<Encrypted>,
        pool: Client,
        mint: Option<Client>,
        feed: watch::Receiver<Arc<Snapshot>>,
        history: History,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let admin = Admin::open(&settings.data_dir)?;
        let pointings = Arc::new(Pointings::open(&settings.data_dir, AxeOs::new()?));
        let choices = settings.place.clone().map(|place| Choices::open(place, &settings.data_dir));
        if let Some(choices) = &choices {
            choices.renew();
        }
        let backup = settings.place.as_ref().and_then(|place| place.backup.clone());
        let backups = backup.map(|place| Arc::new(Backups::open(place, &settings.data_dir)));
        let alerts = Arc::new(Alerts::open(&settings.data_dir, &settings.alerts)?);
        let seats = Arc::new(Semaphore::new(MAX_LIVE));
        let history = Mutex::new(history);
        Ok(Self {
            settings,
            encrypted,
            pool,
            mint,
            feed,
            admin,
            pointings,
            choices,
            backups,
            alerts,
            history,
            seats,
            stop,
        })
    }

    /// The latest answers.
    pub fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.feed.borrow())
    }

    /// What was sampled.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every route, behind the guard.
pub fn router(app: Shared) -> Router {
    Router::new()
        .route("/", get(pages::overview::show))
        .route("/miners", get(pages::miners::show))
        .route("/miner", get(pages::worker::show))
        .route("/add", get(pages::add::show))
        .route("/add/find", post(pages::add::find))
        .route("/add/device", get(pages::add::device))
        .route("/add/point", post(pages::add::point))
        .route("/add/progress", get(pages::add::progress))
        .route("/add/undo", post(pages::add::undo))
        .route("/earnings", get(pages::earnings::show))
        .route("/earnings/offer", post(pages::earnings::offer))
        .route("/owner", get(pages::claims::owner))
        .route("/owner/claim", post(pages::claims::claim))
        .route("/owner/token", post(pages::claims::token))
        .route("/owner/take-back", post(pages::claims::take_back))
        .route("/owner/secret", post(pages::claims::secret))
        .route("/owner/payout", post(pages::payouts::set))
        .route("/owner/payout/remove", post(pages::payouts::remove))
        .route("/owner/payout/now", post(pages::payouts::now))
        .route("/claim", get(pages::claims::by_secret).post(pages::claims::with_secret))
        .route("/alerts", get(pages::alerts::show))
        .route("/alerts/test", post(pages::alerts::test))
        .route("/alerts/settings", post(pages::alerts::choose))
        .route("/alerts/settings/remove", post(pages::alerts::forget))
        .route("/why", get(pages::why::show))
        .route("/logs", get(pages::logs::show))
        .route("/logs/bundle", get(pages::logs::bundle))
        .route("/settings", get(pages::settings::show))
        .route("/settings/password", post(pages::settings::password))
        .route("/settings/preview", post(pages::choices::preview))
        .route("/settings/apply", post(pages::choices::apply))
        .route("/settings/change", get(pages::choices::change))
        .route("/settings/undo", post(pages::choices::undo))
        .route("/settings/restart", post(pages::choices::restart))
        .route("/backup", get(pages::backup::show))
        .route("/backup/make", post(pages::backup::make))
        .route("/backup/file", get(pages::backup::fetch))
        .route("/backup/forget", post(pages::backup::forget))
        .route("/backup/restore", get(pages::restore::show).post(pages::restore::begin))
        .route("/backup/upload", post(pages::restore::upload))
        .route("/backup/accept", post(pages::restore::accept))
        .route("/seed/show", post(pages::seed::show))
        .route("/seed/confirm", post(pages::seed::confirm))
        .route("/start", get(pages::start::show))
        .route("/setup", get(pages::door::setup).post(pages::door::set))
        .route("/login", get(pages::door::login).post(pages::door::enter))
        .route("/logout", post(pages::door::leave))
        .route("/live", get(live::stream))
        .route("/static/{name}", get(assets::serve))
        .route("/favicon.ico", get(assets::icon))
        .merge(json::routes())
        .fallback(|visitor: Visitor| async move { pages::missing::show(&visitor) })
        .method_not_allowed_fallback(|| async { Refusal::method().into_response() })
        .layer(from_fn_with_state(Arc::clone(&app), guard::check))
        .with_state(app)
}

/// An answer that is no page: one sentence in plain text.
#[derive(Debug)]
pub struct Refusal(StatusCode, String);

impl Refusal {
    /// With the reason and what to do.
    pub fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self(status, sentence.into())
    }

    fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "This address is not asked in that way.")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}
