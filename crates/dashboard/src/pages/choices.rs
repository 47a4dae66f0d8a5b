//! Changing what is set: shown first, then made, then followed until every service is back; and undone.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use poolbox_accounting::Network;
use poolbox_api::pool::Mode;
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::{App, Shared};
use crate::choices::{
    Arrival, Change, Choice, Choices, Field, Mistake, NodeSize, Place, Plan, Service, USUAL_LIGHTNING_SAT,
    USUAL_ONCHAIN_SAT, USUAL_PASSWORD, Wish, percent,
};
use crate::feed::Snapshot;
use crate::frame::{Frame, Section, page};
use crate::pages::{settings, start};
use crate::words;

/// The system takes up what is asked for at once.
const TAKEN_WITHIN_S: u64 = 15;

/// The fields of a choice, as a form shows them.
pub struct Fields {
    /// Those on offer.
    pub networks: Vec<Offer>,
    /// For whom the miners work.
    pub mode: &'static str,
    /// The pool upstream; empty, or what would be right where that is known.
    pub upstream: [String; 3],
    /// Whether the box has a mint.
    pub has_mint: bool,
    /// In per cent.
    pub fee: String,
    /// In sats, or empty.
    pub onchain: String,
    /// In sats, or empty.
    pub lightning: String,
    /// What the node may keep.
    pub nodes: Vec<(NodeSize, bool)>,
    /// Whether the box updates itself; none where it cannot.
    pub updates: Option<bool>,
    mistake: Option<Mistake>,
}

/// A network on offer.
pub struct Offer {
    /// As the form names it.
    pub name: &'static str,
    /// What it is.
    pub note: &'static str,
    /// Whether it is chosen.
    pub chosen: bool,
}

#[derive(Template)]
#[template(path = "choice_preview.html")]
struct Preview {
    frame: Frame,
    plan: Plan,
    notes: Vec<String>,
    /// Whether the notes say all about the restarts.
    all_restart: bool,
    hidden: Vec<(&'static str, String)>,
    guided: bool,
}

#[derive(Template)]
#[template(path = "choice_change.html")]
struct Followed {
    frame: Frame,
    change: Change,
    rows: Vec<(&'static str, &'static str, &'static str)>,
    /// Whether all is as it should be.
    done: bool,
    late: bool,
    undoable: bool,
    when: String,
    guided: bool,
}

/// A form with a choice.
#[derive(Deserialize)]
pub struct Typed {
    token: String,
    #[serde(flatten)]
    wish: Wish,
    /// Of the preview.
    #[serde(default)]
    basis: String,
    /// On the way through the first steps.
    #[serde(default)]
    guided: bool,
    /// The last of the first steps is left as it is.
    #[serde(default)]
    leave: bool,
}

/// Which change.
#[derive(Deserialize)]
pub struct Number {
    id: u64,
    #[serde(default)]
    guided: bool,
}

/// A form that undoes one.
#[derive(Deserialize)]
pub struct Undo {
    token: String,
    id: u64,
}

/// A form that restarts a service.
#[derive(Deserialize)]
pub struct Restart {
    token: String,
    service: String,
}

impl Fields {
    /// With what was typed, else with what is chosen.
    /// `now` says what the box is called upstream, unless something else was chosen.
    pub fn new(
        place: &Place,
        choice: &Choice,
        wish: &Wish,
        mistake: Option<Mistake>,
        now: &Snapshot,
    ) -> Self {
        let network = wish.network.clone().unwrap_or_else(|| choice.network.to_string());
        let offer = |network_on_offer: &Network| Offer {
            name: network_on_offer.name(),
            note: note(*network_on_offer),
            chosen: network_on_offer.name() == network,
        };
        let terms = choice.mint.as_ref();
        let sats = |sats: Option<u64>| sats.map(|sats| sats.to_string()).unwrap_or_default();
        let node = wish.node.as_deref().unwrap_or(choice.switches.node.name());
        let updates = wish.updates.as_deref().map_or(choice.switches.updates, |word| word != "off");
        let typed = |typed: &Option<String>, is: String| typed.clone().unwrap_or(is);
        Self {
            networks: place.networks.iter().map(offer).collect(),
            mode: wish.mode.as_deref().and_then(Mode::named).unwrap_or(choice.mode).name(),
            upstream: upstream(choice, wish, now),
            has_mint: terms.is_some(),
            fee: typed(&wish.fee, terms.map(|terms| percent(terms.fee_ppm)).unwrap_or_default()),
            onchain: typed(&wish.onchain, sats(terms.and_then(|terms| terms.onchain_sat))),
            lightning: typed(&wish.lightning, sats(terms.and_then(|terms| terms.lightning_sat))),
            nodes: NodeSize::ALL.map(|size| (size, size.name() == node)).into(),
            updates: place.updates_from.is_some().then_some(updates),
            mistake,
        }
    }

    /// What is wrong with a field.
    pub fn wrong(&self, field: Field) -> Option<&str> {
        self.mistake
            .as_ref()
            .filter(|mistake| mistake.field == Some(field))
            .map(|mistake| mistake.sentence.as_str())
    }

    /// What is wrong, wherever.
    pub fn trouble(&self) -> Option<String> {
        self.mistake.as_ref().map(Mistake::spoken)
    }

    /// What an empty field stands for.
    pub fn usual_onchain(&self) -> String {
        words::grouped(USUAL_ONCHAIN_SAT)
    }

    /// What an empty field stands for.
    pub fn usual_lightning(&self) -> String {
        words::grouped(USUAL_LIGHTNING_SAT)
    }
}

/// URL, user name and password.
fn upstream(choice: &Choice, wish: &Wish, now: &Snapshot) -> [String; 3] {
    let is_here = now.pool.as_ref().is_some_and(|pool| pool.network == choice.network);
    let ours = now.upstream.as_ref().filter(|_| is_here).map(|account| account.address.clone());
    let (url, user, password) = match &choice.upstream {
        Some(is) => (is.url.clone(), is.user.clone(), is.password.clone()),
        None => (String::new(), ours.unwrap_or_default(), USUAL_PASSWORD.to_owned()),
    };
    [(&wish.upstream_url, url), (&wish.upstream_user, user), (&wish.upstream_password, password)]
        .map(|(typed, is)| typed.clone().unwrap_or(is))
}

const fn note(network: Network) -> &'static str {
    match network {
        Network::Mainnet => "Bitcoin. Blocks are worth money, and one is found rarely.",
        Network::Testnet4 => "A test network with other people in it; its coins are worth nothing.",
        Network::Signet => "A test network whose blocks only its keepers make: nothing can be mined there.",
        Network::Regtest => {
            "A chain of this box alone, on which every second hash is a block. For developers."
        }
        Network::Devnet => "A chain of this box alone, to try everything out: a block every few seconds.",
    }
}

/// `POST /settings/preview`: what would change, with nothing changed yet.
pub async fn preview(State(app): State<Shared>, visitor: Visitor, Form(typed): Form<Typed>) -> Response {
    if let Err(turned) = visitor.changes(&typed.token) {
        return turned.into_response();
    }
    let Some(choices) = &app.choices else { return nothing_to_choose() };
    let Typed { mut wish, guided, leave, .. } = typed;
    if leave {
        wish = Wish { network: wish.network, ..Wish::default() };
    }
    let now = app.now();
    let plan = match choices.plan(&wish, &now).await {
        Ok(plan) => plan,
        Err(mistake) => return refused(&app, &visitor, &wish, mistake, guided),
    };
    if plan.is_empty() {
        return if guided {
            Redirect::to("/start?step=seed").into_response()
        } else {
            let mistake = Mistake::of_box("It is so already; there is nothing to change.");
            refused(&app, &visitor, &wish, mistake, guided)
        };
    }
    let fields = [
        ("network", wish.network),
        ("mode", wish.mode),
        ("upstream_url", wish.upstream_url),
        ("upstream_user", wish.upstream_user),
        ("upstream_password", wish.upstream_password),
        ("fee", wish.fee),
        ("onchain", wish.onchain),
        ("lightning", wish.lightning),
        ("node", wish.node),
        ("updates", wish.updates),
    ];
    page(&Preview {
        frame: Frame::of(&now, &visitor, Section::Settings, "What would change"),
        notes: plan.notes(now.pool.as_ref()),
        all_restart: plan.from.network != plan.to.network,
        hidden: fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        plan,
        guided,
    })
}

/// `POST /settings/apply`
pub async fn apply(State(app): State<Shared>, visitor: Visitor, Form(typed): Form<Typed>) -> Response {
    if let Err(turned) = visitor.changes(&typed.token) {
        return turned.into_response();
    }
    let Some(choices) = &app.choices else { return nothing_to_choose() };
    match choices.apply(&typed.wish, &typed.basis, &app.now()).await {
        Ok(id) => {
            let guided = if typed.guided { "&guided=true" } else { "" };
            Redirect::to(&format!("/settings/change?id={id}{guided}")).into_response()
        }
        Err(mistake) => refused(&app, &visitor, &typed.wish, mistake, typed.guided),
    }
}

/// `GET /settings/change?id=…`: open to the household, as the dashboard's own restart ends the admin's session.
pub async fn change(State(app): State<Shared>, visitor: Visitor, Query(number): Query<Number>) -> Response {
    let change = app.choices.as_ref().and_then(|choices| Some((choices, choices.get(number.id)?)));
    let Some((choices, change)) = change else { return Redirect::to("/settings").into_response() };
    let now = app.now();
    let arrivals = choices.arrivals(&change, &now);
    let rows = rows(choices, &change, &arrivals, &now);
    let is = |arrival: Arrival| rows.iter().filter(|row| row.1 == arrival.class()).count();
    page(&Followed {
        frame: Frame::of(&now, &visitor, Section::Settings, "A change of settings"),
        done: is(Arrival::Back) == rows.len(),
        late: is(Arrival::Late) > 0,
        undoable: choices.undoable().is_some_and(|newest| newest.id == change.id),
        when: words::ago(change.latest().at, now.at),
        rows,
        change,
        guided: number.guided,
    })
}

/// `POST /settings/undo`
pub async fn undo(State(app): State<Shared>, visitor: Visitor, Form(undo): Form<Undo>) -> Response {
    if let Err(turned) = visitor.changes(&undo.token) {
        return turned.into_response();
    }
    let Some(choices) = &app.choices else { return nothing_to_choose() };
    match choices.undo(undo.id, &app.now()).await {
        Ok(()) => Redirect::to(&format!("/settings/change?id={}", undo.id)).into_response(),
        Err(mistake) => refused(&app, &visitor, &Wish::default(), mistake, false),
    }
}

/// `POST /settings/restart`
pub async fn restart(State(app): State<Shared>, visitor: Visitor, Form(restart): Form<Restart>) -> Response {
    if let Err(turned) = visitor.changes(&restart.token) {
        return turned.into_response();
    }
    let Some(choices) = &app.choices else { return nothing_to_choose() };
    let asked = match Service::named(&restart.service) {
        Some(service) => choices.restart(service, &app.now()).await,
        None => Err(Mistake::of_box("This box has no such service.")),
    };
    match asked {
        Ok(id) => Redirect::to(&format!("/settings/change?id={id}")).into_response(),
        Err(mistake) => refused(&app, &visitor, &Wish::default(), mistake, false),
    }
}

fn nothing_to_choose() -> Response {
    Redirect::to("/settings").into_response()
}

/// The form again, with what was typed and what is wrong with it.
fn refused(app: &App, visitor: &Visitor, wish: &Wish, mistake: Mistake, guided: bool) -> Response {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    if guided {
        start::again(app, visitor, wish, mistake)
    } else {
        settings::refused(app, visitor, status, wish, mistake)
    }
}

/// What, its class in the style sheet, and how it is.
fn rows(
    choices: &Choices,
    change: &Change,
    arrivals: &[(Service, Arrival)],
    now: &Snapshot,
) -> Vec<(&'static str, &'static str, &'static str)> {
    if change.failed.is_some() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    let is_newest = choices.all().iter().map(|other| other.latest().at).max() == Some(change.latest().at);
    if is_newest {
        let waited = now.at.saturating_sub(change.latest().at);
        let (arrival, word) = match (choices.place.is_taken(), choices.place.is_in_force()) {
            (true, true) => (Arrival::Back, "are in place"),
            (true, false) if waited <= TAKEN_WITHIN_S => (Arrival::Waiting, "are put into place"),
            (true, false) => (Arrival::Late, "are not in place; the box's log has the reason"),
            (false, _) if waited <= TAKEN_WITHIN_S => (Arrival::Waiting, "wait to be taken up"),
            (false, _) => (Arrival::Late, "were not taken up: poolbox-apply does not run on this box"),
        };
        rows.push(("Settings files", arrival.class(), word));
    }
    rows.extend(arrivals.iter().map(|(service, arrival)| (service.title(), arrival.class(), arrival.word())));
    rows
}
