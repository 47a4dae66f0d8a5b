//! Add a miner: what to type into one, and, for AxeOS, doing it from here.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use poolbox_accounting::Identity;
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::{App, Refusal, Shared};
use crate::axeos::{self, Address, Change, Device, Goal, Pointing, Stage};
use crate::endpoints::{self, Endpoint};
use crate::frame::{Frame, Section, page, page_with};
use crate::{qr, words};

/// Firmware cuts longer user names, or worse.
const MAX_USER: usize = 63;

#[derive(Template)]
#[template(path = "add.html")]
struct Page {
    frame: Frame,
    ways: Vec<Way>,
    only_here: bool,
    found: Option<Vec<(String, Device)>>,
    trouble: Option<String>,
    pointings: Vec<Pointing>,
}

struct Way {
    endpoint: Endpoint,
    qr: String,
    id: usize,
}

#[derive(Template)]
#[template(path = "add_device.html")]
struct Preview {
    frame: Frame,
    address: String,
    device: Device,
    user: String,
    preview: Vec<(&'static str, String, String)>,
    trouble: Option<String>,
}

#[derive(Template)]
#[template(path = "add_progress.html")]
struct Progress {
    frame: Frame,
    pointing: Pointing,
    rows: Vec<(&'static str, &'static str)>,
    failed: Option<String>,
}

/// A form that looks for miners.
#[derive(Deserialize)]
pub struct Find {
    token: String,
    #[serde(default)]
    whole: bool,
}

/// Which miner.
#[derive(Deserialize)]
pub struct Which {
    #[serde(default)]
    address: String,
    #[serde(default)]
    user: String,
}

/// A form that points a miner at the box.
#[derive(Deserialize)]
pub struct Point {
    token: String,
    address: String,
    user: String,
}

/// Which pointing.
#[derive(Deserialize)]
pub struct Number {
    id: u64,
}

/// A form that undoes one.
#[derive(Deserialize)]
pub struct Undo {
    token: String,
    id: u64,
}

/// `GET /add`
pub async fn show(State(app): State<Shared>, visitor: Visitor) -> Response {
    drawn(&app, &visitor, None, None)
}

/// `POST /add/find`
pub async fn find(State(app): State<Shared>, visitor: Visitor, Form(find): Form<Find>) -> Response {
    if let Err(refusal) = visitor.changes(&find.token) {
        return refusal.into_response();
    }
    let axeos = app.pointings.axeos();
    let found = if find.whole {
        match endpoints::own_address() {
            Some(own) => Ok(axeos::probed(axeos, own).await),
            None => Err(anyhow::anyhow!("this box has no address in a network")),
        }
    } else {
        axeos::announced(axeos).await
    };
    match found {
        Ok(found) => {
            let found = found.into_iter().map(|(address, device)| (address.to_string(), device)).collect();
            drawn(&app, &visitor, Some(found), None)
        }
        Err(error) => drawn(&app, &visitor, None, Some(format!("The network cannot be searched: {error}."))),
    }
}

/// `GET /add/device?address=…&user=…`: what would be changed, with nothing changed yet.
pub async fn device(State(app): State<Shared>, visitor: Visitor, Query(which): Query<Which>) -> Response {
    if let Err(door) = visitor.admin() {
        return door.into_response();
    }
    preview(&app, &visitor, &which.address, &which.user).await
}

/// `POST /add/point`
pub async fn point(State(app): State<Shared>, visitor: Visitor, Form(point): Form<Point>) -> Response {
    if let Err(refusal) = visitor.changes(&point.token) {
        return refusal.into_response();
    }
    let begun = async {
        let address = Address::parse(&point.address, app.settings.loopback_miners)?;
        let device =
            app.pointings.axeos().read(address).await.map_err(|error| format!("{address}: {error}."))?;
        let goal = goal(&app, address, &point.user)?;
        app.pointings.begin(address, &device, goal, app.feed.clone()).map_err(|error| format!("{error:#}."))
    };
    match begun.await {
        Ok(id) => Redirect::to(&format!("/add/progress?id={id}")).into_response(),
        Err(trouble) => drawn(&app, &visitor, None, Some(trouble)),
    }
}

/// `GET /add/progress?id=…`
pub async fn progress(State(app): State<Shared>, visitor: Visitor, Query(number): Query<Number>) -> Response {
    if let Err(door) = visitor.admin() {
        return door.into_response();
    }
    let Some(pointing) = app.pointings.get(number.id) else { return Redirect::to("/add").into_response() };
    let (rows, failed) = rows(&pointing.stage);
    let frame = Frame::new(&app, &visitor, Section::Add, &pointing.name);
    page(&Progress { frame, pointing, rows, failed })
}

/// `POST /add/undo`
pub async fn undo(State(app): State<Shared>, visitor: Visitor, Form(undo): Form<Undo>) -> Response {
    if let Err(refusal) = visitor.changes(&undo.token) {
        return refusal.into_response();
    }
    match app.pointings.undo(undo.id).await {
        Ok(()) => Redirect::to(&format!("/add/progress?id={}", undo.id)).into_response(),
        Err(error) => Refusal::new(StatusCode::NOT_FOUND, format!("{error}.")).into_response(),
    }
}

fn drawn(
    app: &App,
    visitor: &Visitor,
    found: Option<Vec<(String, Device)>>,
    trouble: Option<String>,
) -> Response {
    let now = app.now();
    let host = host_for(app, visitor.address());
    let ways = now.pool.as_ref().map(|pool| endpoints::endpoints(pool, &host)).unwrap_or_default();
    let only_here = ways.iter().any(|way| way.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()));
    let ways = ways.into_iter().enumerate().map(|(id, endpoint)| Way {
        qr: qr::svg(&endpoint.url).unwrap_or_default(),
        endpoint,
        id,
    });
    let status = if trouble.is_some() { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
    let page = Page {
        frame: Frame::of(&now, visitor, Section::Add, "Add a miner"),
        ways: ways.collect(),
        only_here,
        found,
        trouble,
        // What was changed at whose miner is the admin's business.
        pointings: if visitor.session.is_some() { app.pointings.all() } else { Vec::new() },
    };
    page_with(status, &page)
}

async fn preview(app: &Arc<App>, visitor: &Visitor, address: &str, user: &str) -> Response {
    let read = async {
        let address = Address::parse(address, app.settings.loopback_miners)?;
        let device =
            app.pointings.axeos().read(address).await.map_err(|error| format!("{address}: {error}."))?;
        Ok::<_, String>((address, device))
    };
    let (address, device) = match read.await {
        Ok(read) => read,
        Err(trouble) => return drawn(app, visitor, None, Some(trouble)),
    };
    let user = if user.is_empty() { suggested(&device) } else { user.to_owned() };
    let (preview, trouble) = match goal(app, address, &user) {
        Ok(goal) => (Change::new(&device, &goal).preview, None),
        Err(trouble) => (Vec::new(), Some(trouble)),
    };
    let frame = Frame::new(app, visitor, Section::Add, device.name());
    page(&Preview { frame, address: address.to_string(), device, user, preview, trouble })
}

/// `home` and the machine's own name, as far as that fits into a user name.
fn suggested(device: &Device) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
    let name: String = device.host_name.chars().filter(fits).take(20).collect();
    if name.is_empty() { "home.miner".to_owned() } else { format!("home.{name}") }
}

/// Where the miner at `address` is to mine.
fn goal(app: &App, address: Address, user: &str) -> Result<Goal, String> {
    let now = app.now();
    let pool = now.pool.as_ref().ok_or("The pool does not answer; try again in a minute.")?;
    let user = user.trim();
    if user.len() > MAX_USER {
        return Err(format!(
            "The user name is longer than {MAX_USER} characters, which miners cut. Shorten it."
        ));
    }
    Identity::parse(user, pool.network)
        .map_err(|error| format!("The user name cannot be taken: {error}."))?;
    let host = host_for(app, address.ip.into());
    let ways = endpoints::endpoints(pool, &host);
    let way = ways.into_iter().find(|way| way.certificate.is_none() && way.authority_key.is_none());
    let way = way.ok_or("The pool does not say where Stratum V1 miners connect.")?;
    Ok(Goal { host: way.host, port: way.port, user: user.to_owned() })
}

fn host_for(app: &App, peer: IpAddr) -> String {
    let set = app.settings.miner_host.clone();
    set.or_else(|| endpoints::address_towards(peer).map(|ip| ip.to_string()))
        .unwrap_or_else(|| "poolbox.local".to_owned())
}

type Rows = Vec<(&'static str, &'static str)>;

/// The steps with their class, and what went wrong.
fn rows(stage: &Stage) -> (Rows, Option<String>) {
    const STEPS: [&str; 3] = ["Change written and read back", "Miner restarted", "First share accepted"];
    let done = match stage {
        Stage::Writing => 0,
        Stage::Restarting => 1,
        Stage::Waiting => 2,
        Stage::Mining => 3,
        Stage::Failed(reason) => return (Vec::new(), Some(format!("It did not get there: {reason}."))),
        Stage::UndoFailed(reason) => {
            return (Vec::new(), Some(format!("It could not be taken back: {reason}. Is the miner on?")));
        }
        Stage::Undone => return (vec![("Taken back to its old pool", "well")], None),
    };
    let class = |nth: usize| match nth {
        nth if nth < done => "well",
        nth if nth == done => "warning",
        _ => "idle",
    };
    (STEPS.into_iter().enumerate().map(|(nth, step)| (step, class(nth))).collect(), None)
}
