//! What one owner has, and claiming it as a Cashu token: by the admin, or by whoever holds the name's claim
//! secret. Tokens and secrets are money: they are shown in answers to forms only, never in an address.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use poolbox_accounting::{EpochId, Sats, Work};
use poolbox_api::mint::{
    self, ClaimRequest, ClaimSecret, Claimed, OwnerAccount, OwnerEpoch, SecretClaim, SecretHolder, TakenBack,
    Token, owner_path,
};
use poolbox_api::{Client, ClientError};
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::{App, Shared};
use crate::frame::{Frame, Section, page, page_with};
use crate::link::encoded;
use crate::pages::payouts::{self, Payouts, Refused};
use crate::{qr, words};

#[derive(Template)]
#[template(path = "owner.html")]
struct OwnerPage {
    frame: Frame,
    owner: String,
    held_by_box: bool,
    pubkey: String,
    sats: String,
    epochs: Vec<Epoch>,
    /// Number, work and what was paid, the newest first.
    rounds: Vec<(u64, String, String)>,
    /// Not spent by anybody, for the admin's eyes.
    tokens: Vec<(String, String, String)>,
    has_secret: bool,
    said: Option<String>,
    payouts: Option<Payouts>,
}

struct Epoch {
    number: u64,
    credited: String,
    claimable: String,
    is_claimable: bool,
    waits: String,
    worth: String,
}

#[derive(Template)]
#[template(path = "token.html")]
struct TokenPage {
    frame: Frame,
    owner: String,
    said: Vec<String>,
    token: Option<Shown>,
}

struct Shown {
    amount: String,
    text: String,
    lock: Option<String>,
    /// One code, or the frames of one in motion.
    codes: Vec<String>,
}

#[derive(Template)]
#[template(path = "secret.html")]
struct SecretPage {
    frame: Frame,
    secret: String,
}

#[derive(Template)]
#[template(path = "claim.html")]
struct ClaimPage {
    frame: Frame,
    owner: String,
    trouble: Option<String>,
}

#[derive(Template)]
#[template(path = "owner_missing.html")]
struct Missing {
    frame: Frame,
    trouble: String,
}

/// Whose earnings.
#[derive(Deserialize)]
pub struct Whose {
    #[serde(default)]
    owner: String,
}

/// A claim by the admin.
#[derive(Deserialize)]
pub struct Claim {
    token: String,
    owner: String,
    /// Empty for sats.
    #[serde(default)]
    epoch: String,
    /// Empty for all.
    #[serde(default)]
    amount: String,
    /// Empty for whoever holds the token.
    #[serde(default)]
    lock: String,
}

/// Something about one owner, or one of its tokens.
#[derive(Deserialize)]
pub struct Named {
    /// Of the session.
    pub token: String,
    /// Whose.
    pub owner: String,
    /// Of a token.
    #[serde(default)]
    id: String,
}

/// A claim by secret.
#[derive(Deserialize)]
pub struct Held {
    owner: String,
    secret: String,
    /// Whether to look at earlier tokens instead of making one.
    #[serde(default)]
    earlier: bool,
}

/// `GET /owner?owner=…`
pub async fn owner(State(app): State<Shared>, visitor: Visitor, Query(whose): Query<Whose>) -> Response {
    account(&app, &visitor, &whose.owner, None, None).await
}

/// `POST /owner/claim`
pub async fn claim(State(app): State<Shared>, visitor: Visitor, Form(claim): Form<Claim>) -> Response {
    if let Err(turned) = visitor.changes(&claim.token) {
        return turned.into_response();
    }
    let Some(mint) = &app.mint else { return no_mint(&app, &visitor) };
    let request = match claim.request() {
        Ok(request) => request,
        Err(trouble) => return account(&app, &visitor, &claim.owner, Some(trouble), None).await,
    };
    let path = owner_path(&encoded(&claim.owner), "claim");
    match mint.post_patiently::<_, Claimed>(&path, &request).await {
        Ok(claimed) => page(&shown(&app, &visitor, claimed)),
        Err(error) => account(&app, &visitor, &claim.owner, Some(spoken(&error)), None).await,
    }
}

/// `POST /owner/token`: the text of an earlier one again.
pub async fn token(State(app): State<Shared>, visitor: Visitor, Form(named): Form<Named>) -> Response {
    if let Err(turned) = visitor.changes(&named.token) {
        return turned.into_response();
    }
    let Some(mint) = &app.mint else { return no_mint(&app, &visitor) };
    let found = tokens(mint, &named.owner).await.into_iter().find(|token| token.id == named.id);
    match found {
        Some(token) => {
            let frame = Frame::new(&app, &visitor, Section::Earnings, "Token");
            page(&TokenPage { frame, owner: named.owner, said: Vec::new(), token: Some(Shown::new(token)) })
        }
        None => {
            let said = "That token was spent or taken back.".to_owned();
            account(&app, &visitor, &named.owner, Some(said), None).await
        }
    }
}

/// `POST /owner/take-back`
pub async fn take_back(State(app): State<Shared>, visitor: Visitor, Form(named): Form<Named>) -> Response {
    if let Err(turned) = visitor.changes(&named.token) {
        return turned.into_response();
    }
    let Some(mint) = &app.mint else { return no_mint(&app, &visitor) };
    let path = owner_path(&encoded(&named.owner), &format!("tokens/{}/take-back", encoded(&named.id)));
    let said = match mint.post_patiently::<_, TakenBack>(&path, &serde_json::json!({})).await {
        Ok(back) => {
            format!("Taken back: {}. The token is worth nothing any more.", amount(back.amount, &back.unit))
        }
        Err(error) => spoken(&error),
    };
    account(&app, &visitor, &named.owner, Some(said), None).await
}

/// `POST /owner/secret`: a new claim secret, shown once.
pub async fn secret(State(app): State<Shared>, visitor: Visitor, Form(named): Form<Named>) -> Response {
    if let Err(turned) = visitor.changes(&named.token) {
        return turned.into_response();
    }
    let Some(mint) = &app.mint else { return no_mint(&app, &visitor) };
    let path = owner_path(&encoded(&named.owner), "claim-secret");
    match mint.post::<_, ClaimSecret>(&path, &serde_json::json!({})).await {
        Ok(made) => {
            let frame = Frame::new(&app, &visitor, Section::Earnings, &made.owner);
            page(&SecretPage { frame, secret: made.secret })
        }
        Err(error) => account(&app, &visitor, &named.owner, Some(spoken(&error)), None).await,
    }
}

/// `GET /claim`: for whoever holds a name's secret.
pub async fn by_secret(State(app): State<Shared>, visitor: Visitor, Query(whose): Query<Whose>) -> Response {
    asked(&app, &visitor, StatusCode::OK, whose.owner, None)
}

/// `POST /claim`
pub async fn with_secret(State(app): State<Shared>, visitor: Visitor, Form(held): Form<Held>) -> Response {
    let Some(mint) = &app.mint else { return no_mint(&app, &visitor) };
    let Held { owner, secret, earlier } = held;
    let owner = owner.trim().to_owned();
    let answer = if earlier {
        let holder = SecretHolder { owner: owner.clone(), secret };
        mint.post_patiently::<_, Vec<Token>>(mint::CLAIMS_TOKENS, &holder).await.map(|tokens| {
            let said = match tokens.len() {
                0 => vec!["There is no token that was made and not spent.".to_owned()],
                1 => Vec::new(),
                count => vec![format!("{count} tokens are not spent; this is the newest.")],
            };
            let newest = tokens.into_iter().max_by_key(|token| token.made_at);
            let frame = Frame::new(&app, &visitor, Section::Earnings, "Token");
            TokenPage { frame, owner: owner.clone(), said, token: newest.map(Shown::new) }
        })
    } else {
        let claim = SecretClaim { owner: owner.clone(), secret, claim: ClaimRequest::default() };
        mint.post_patiently::<_, Claimed>(mint::CLAIMS, &claim)
            .await
            .map(|claimed| shown(&app, &visitor, claimed))
    };
    match answer {
        Ok(token) => page(&token),
        Err(error) => asked(&app, &visitor, StatusCode::FORBIDDEN, owner, Some(spoken(&error))),
    }
}

impl Claim {
    fn request(&self) -> Result<ClaimRequest, String> {
        let number = |text: &str, what: &str| match text.trim() {
            "" => Ok(None),
            text => text.parse::<u64>().map(Some).map_err(|_| format!("{what} must be a whole number.")),
        };
        let lock = self.lock.trim();
        Ok(ClaimRequest {
            epoch: number(&self.epoch, "The epoch")?.map(EpochId::new),
            amount: number(&self.amount, "The amount")?,
            lock: Some(lock.to_owned()).filter(|lock| !lock.is_empty()),
        })
    }
}

/// The page of an owner, with what is to be said on top of it, or at the form for payouts.
pub async fn account(
    app: &App,
    visitor: &Visitor,
    owner: &str,
    said: Option<String>,
    refused: Option<Refused>,
) -> Response {
    let Some(mint) = &app.mint else { return no_mint(app, visitor) };
    match mint.get::<OwnerAccount>(&owner_path(&encoded(owner), "")).await {
        Ok(told) => {
            let tokens = if visitor.session.is_some() { tokens(mint, &told.owner).await } else { Vec::new() };
            let now = app.now().at;
            let listed = tokens
                .into_iter()
                .map(|token| (token.id, amount(token.amount, &token.unit), words::ago(token.made_at, now)));
            let status = if refused.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
            let payouts = payouts::of_owner(app, visitor, &told.owner, told.held_by_box, refused).await;
            let page = OwnerPage {
                frame: Frame::new(app, visitor, Section::Earnings, &told.owner),
                held_by_box: told.held_by_box,
                pubkey: told.pubkey,
                sats: words::sats(told.sats),
                epochs: told.epochs.iter().rev().map(Epoch::new).collect(),
                rounds: told.rounds.iter().rev().map(round).collect(),
                tokens: listed.collect(),
                has_secret: told.claim_secret.is_some(),
                owner: told.owner,
                said,
                payouts,
            };
            page_with(status, &page)
        }
        Err(error) => {
            let status = match error {
                ClientError::Refused(_) => StatusCode::NOT_FOUND,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            let frame = Frame::new(app, visitor, Section::Earnings, "Earnings");
            page_with(status, &Missing { frame, trouble: spoken(&error) })
        }
    }
}

fn round(round: &mint::OwnerRound) -> (u64, String, String) {
    let paid = round.paid.map_or_else(|| "not yet".to_owned(), words::sats);
    (round.round.get(), words::ehash(round.work), paid)
}

/// Not spent; none while the mint does not say.
async fn tokens(mint: &Client, owner: &str) -> Vec<Token> {
    mint.get(&owner_path(&encoded(owner), "tokens")).await.unwrap_or_default()
}

fn asked(
    app: &App,
    visitor: &Visitor,
    status: StatusCode,
    owner: String,
    trouble: Option<String>,
) -> Response {
    let frame = Frame::new(app, visitor, Section::Earnings, "Claim");
    page_with(status, &ClaimPage { frame, owner, trouble })
}

/// The page where there is no mint.
pub fn no_mint(app: &App, visitor: &Visitor) -> Response {
    let frame = Frame::new(app, visitor, Section::Earnings, "Earnings");
    page_with(StatusCode::NOT_FOUND, &Missing { frame, trouble: "This box has no mint.".to_owned() })
}

fn shown(app: &App, visitor: &Visitor, claimed: Claimed) -> TokenPage {
    let mut said = Vec::new();
    if claimed.redeemed > Work::ZERO {
        said.push(format!("{} became {}.", words::ehash(claimed.redeemed), words::sats(claimed.sats)));
    }
    said.extend(claimed.waiting.iter().map(|waiting| {
        format!("{} of epoch {} {}.", words::ehash(waiting.ehash), waiting.epoch, waiting.waits)
    }));
    said.extend(
        claimed.trouble.map(|trouble| format!("Not everything worked: {trouble}. Claim again later.")),
    );
    let frame = Frame::new(app, visitor, Section::Earnings, "Token");
    TokenPage { frame, owner: claimed.owner, said, token: claimed.token.map(Shown::new) }
}

impl Shown {
    fn new(token: Token) -> Self {
        let frames =
            if token.fragments.is_empty() { std::slice::from_ref(&token.text) } else { &token.fragments };
        // Letters of one case make a smaller code; fragments are the same in capitals.
        let drawn = frames.iter().filter_map(|frame| {
            qr::svg(&if token.fragments.is_empty() { frame.clone() } else { frame.to_uppercase() })
        });
        Self {
            amount: amount(token.amount, &token.unit),
            codes: drawn.collect(),
            text: token.text,
            lock: token.lock,
        }
    }
}

impl Epoch {
    fn new(epoch: &OwnerEpoch) -> Self {
        Self {
            number: epoch.epoch.get(),
            credited: words::ehash(epoch.credited),
            claimable: words::ehash(epoch.claimable),
            is_claimable: epoch.claimable > Work::ZERO,
            waits: epoch.waits.map_or_else(String::new, |waits| waits.to_string()),
            worth: epoch.worth.map(words::sats).unwrap_or_default(),
        }
    }
}

fn amount(amount: u64, unit: &str) -> String {
    if unit == "sat" {
        words::sats(Sats::new(amount))
    } else {
        format!("{}\u{a0}{unit}", words::grouped(amount))
    }
}

/// Without paths of this machine.
pub fn spoken(error: &ClientError) -> String {
    match error {
        ClientError::Refused(problem) => format!("{problem}."),
        ClientError::Unreachable { .. } => "The mint does not answer. Nothing is lost; try again.".to_owned(),
        ClientError::Malformed { .. } => "The mint's answer cannot be read. See its log.".to_owned(),
    }
}
