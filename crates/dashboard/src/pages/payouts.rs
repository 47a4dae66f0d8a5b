//! Payout rules: where an owner's sats go by themselves, what the next payout waits for, and what was paid. The
//! mint decides; its refusals are shown at the form.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use poolbox_accounting::Sats;
use poolbox_api::ClientError;
use poolbox_api::mint::payouts::{self as api, Kind, OwnerPayout, RuleRequest, Stage};
use serde::Deserialize;

use crate::admin::Visitor;
use crate::app::{App, Shared};
use crate::link::encoded;
use crate::pages::claims::{self, Named, spoken};
use crate::words;

/// What an owner's page tells of payouts.
#[derive(Template)]
#[template(path = "owner_payouts.html")]
pub struct Payouts {
    owner: String,
    /// Of the admin's forms.
    token: Option<String>,
    rule: Option<Rule>,
    /// Whether the owner's own text says where its sats go.
    is_own: bool,
    balance: String,
    waits_for: String,
    retry: Option<String>,
    rows: Vec<Row>,
    trouble: Option<String>,
    entered: Entered,
}

struct Rule {
    target: String,
    kind: &'static str,
    threshold: String,
    max_fee: String,
}

/// A payout as it is listed.
pub struct Row {
    /// Whose.
    pub owner: String,
    /// Whom it pays.
    pub target: String,
    /// Where it is in its life.
    pub state: &'static str,
    /// Its class in the style sheet.
    pub class: &'static str,
    /// What keeps it, or why it failed.
    pub trouble: String,
    /// What the owner receives.
    pub amount: String,
    /// What it cost.
    pub fee: String,
    /// The transaction's output, or the payment hash.
    pub proof: String,
    /// When it ended, or began.
    pub ago: String,
    /// The same, for machines.
    pub stamp: String,
}

/// What stands in the form.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Entered {
    #[serde(default)]
    target: String,
    #[serde(default)]
    threshold: String,
    /// In per cent.
    #[serde(default)]
    max_fee: String,
}

/// A rule to be set.
#[derive(Deserialize)]
pub struct Wish {
    token: String,
    owner: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    threshold: String,
    #[serde(default)]
    max_fee: String,
}

/// A form that was not taken.
pub struct Refused {
    trouble: String,
    entered: Option<Entered>,
}

/// `POST /owner/payout`
pub async fn set(State(app): State<Shared>, visitor: Visitor, Form(wish): Form<Wish>) -> Response {
    if let Err(turned) = visitor.changes(&wish.token) {
        return turned.into_response();
    }
    let Some(mint) = &app.mint else { return claims::no_mint(&app, &visitor) };
    let Wish { owner, target, threshold, max_fee, .. } = wish;
    let entered = Entered { target, threshold, max_fee };
    let set = match entered.request() {
        Ok(request) => {
            let set = mint.put::<_, OwnerPayout>(&api::of_owner(&encoded(&owner)), &request).await;
            set.map_err(|error| spoken(&error))
        }
        Err(trouble) => Err(trouble),
    };
    answer(&app, &visitor, &owner, set, Some(entered)).await
}

/// `POST /owner/payout/remove`
pub async fn remove(State(app): State<Shared>, visitor: Visitor, Form(named): Form<Named>) -> Response {
    if let Err(turned) = visitor.changes(&named.token) {
        return turned.into_response();
    }
    let Some(mint) = &app.mint else { return claims::no_mint(&app, &visitor) };
    let removed = mint.delete::<OwnerPayout>(&api::of_owner(&encoded(&named.owner))).await;
    answer(&app, &visitor, &named.owner, removed.map_err(|error| spoken(&error)), None).await
}

/// `POST /owner/payout/now`
pub async fn now(State(app): State<Shared>, visitor: Visitor, Form(named): Form<Named>) -> Response {
    if let Err(turned) = visitor.changes(&named.token) {
        return turned.into_response();
    }
    let Some(mint) = &app.mint else { return claims::no_mint(&app, &visitor) };
    let asked = mint.post::<_, OwnerPayout>(&api::now(&encoded(&named.owner)), &()).await;
    answer(&app, &visitor, &named.owner, asked.map_err(|error| spoken(&error)), None).await
}

/// Back to the owner's page, or the form again with what is wrong.
async fn answer(
    app: &App,
    visitor: &Visitor,
    owner: &str,
    done: Result<OwnerPayout, String>,
    entered: Option<Entered>,
) -> Response {
    match done {
        Ok(_) => Redirect::to(&format!("/owner?owner={}", encoded(owner))).into_response(),
        Err(trouble) => {
            let refused = Refused { trouble, entered };
            claims::account(app, visitor, owner, None, Some(refused)).await
        }
    }
}

/// An owner's payouts; none for a public key, whose ecash only its holder can move.
pub async fn of_owner(
    app: &App,
    visitor: &Visitor,
    owner: &str,
    held_by_box: bool,
    refused: Option<Refused>,
) -> Option<Payouts> {
    let mint = app.mint.as_ref().filter(|_| held_by_box)?;
    let told: Result<OwnerPayout, ClientError> = mint.get(&api::of_owner(&encoded(owner))).await;
    let token = visitor.session.as_ref().map(|session| session.token().to_owned());
    Some(match told {
        Ok(told) => Payouts::new(told, token, refused, app.now().at),
        Err(error) => Payouts::unknown(owner, &error),
    })
}

impl Payouts {
    fn new(told: OwnerPayout, token: Option<String>, refused: Option<Refused>, now: u64) -> Self {
        let OwnerPayout { owner, rule, balance, waits_for, retry_at, under_way, last } = told;
        let is_own = rule.as_ref().is_some_and(|rule| rule.target.eq_ignore_ascii_case(&owner));
        let (trouble, entered) = match refused {
            Some(Refused { trouble, entered }) => (Some(trouble), entered),
            None => (None, None),
        };
        Self {
            entered: entered.unwrap_or_else(|| Entered::of(rule.as_ref(), is_own)),
            rule: rule.map(Rule::new),
            is_own,
            token,
            balance: words::sats(balance),
            waits_for,
            retry: retry_at.map(|at| words::duration(at.saturating_sub(now))),
            rows: under_way.iter().chain(&last).map(|payout| Row::new(payout, now)).collect(),
            trouble,
            owner,
        }
    }

    /// The page is drawn without.
    fn unknown(owner: &str, error: &ClientError) -> Self {
        Self {
            owner: owner.to_owned(),
            token: None,
            rule: None,
            is_own: false,
            balance: String::new(),
            waits_for: String::new(),
            retry: None,
            rows: Vec::new(),
            trouble: Some(spoken(error)),
            entered: Entered::default(),
        }
    }
}

impl Rule {
    fn new(rule: api::Rule) -> Self {
        Self {
            kind: match rule.kind {
                Kind::Onchain => "on-chain",
                Kind::Lightning => "over Lightning",
                Kind::Bolt12 => "over Lightning, by its offer",
            },
            threshold: words::sats(rule.threshold),
            max_fee: words::millionths(rule.max_fee_ppm),
            target: rule.target,
        }
    }
}

impl Row {
    /// As it is at `now`.
    pub fn new(payout: &api::Payout, now: u64) -> Self {
        let (state, class) = match payout.stage {
            Stage::Planned if payout.trouble.is_some() => ("waits", "warning"),
            Stage::Planned => ("planned", "idle"),
            Stage::Quoted | Stage::Sent => ("under way", "idle"),
            Stage::Confirmed => ("paid", "well"),
            Stage::Failed => ("not paid", "alarm"),
        };
        let at = payout.ended_at.or(payout.sent_at).unwrap_or(payout.planned_at);
        // Amount and highest fee are not known before.
        let known = payout.stage != Stage::Planned && payout.amount > Sats::ZERO;
        Self {
            owner: payout.owner.clone(),
            target: payout.target.clone(),
            state,
            class,
            trouble: payout.trouble.clone().unwrap_or_default(),
            amount: if known { words::sats(payout.amount) } else { String::new() },
            fee: match payout.fee {
                Some(fee) => words::sats(fee),
                None if known && payout.stage != Stage::Failed => {
                    format!("up to {}", words::sats(payout.max_fee))
                }
                None => String::new(),
            },
            proof: payout.proof.clone().unwrap_or_default(),
            ago: words::ago(at, now),
            stamp: words::stamp(at),
        }
    }
}

impl Entered {
    fn of(rule: Option<&api::Rule>, is_own: bool) -> Self {
        rule.map_or_else(Self::default, |rule| Self {
            target: if is_own { String::new() } else { rule.target.clone() },
            threshold: rule.threshold.get().to_string(),
            max_fee: words::millionths(rule.max_fee_ppm).replace("\u{a0}%", ""),
        })
    }

    /// What is left empty keeps the box's default.
    fn request(&self) -> Result<RuleRequest, String> {
        let filled = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let threshold = filled(&self.threshold).map(|text| {
            let digits: String = text.chars().filter(|c| !",_ \u{a0}".contains(*c)).collect();
            digits.parse().map(Sats::new).map_err(|_| "The amount must be a whole number of sats.".to_owned())
        });
        let max_fee = filled(&self.max_fee).map(|text| {
            millionths(&text).ok_or_else(|| "The highest fee must be per cent, such as 2.5.".to_owned())
        });
        Ok(RuleRequest {
            target: filled(&self.target),
            threshold: threshold.transpose()?,
            max_fee_ppm: max_fee.transpose()?,
        })
    }
}

/// Per cent with up to four digits behind the point, as parts per million.
fn millionths(text: &str) -> Option<u32> {
    let text = text.trim_end_matches('%').trim_end();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 4 {
        return None;
    }
    let part: u32 = format!("{part:0<4}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(10_000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cent_are_read_exactly() {
        let read = ["2", "2.5", "0.01 %", "100%", "2.00005", "", ".5", "-1", "2,5", "999999"].map(millionths);
        assert_eq!(
            read,
            [Some(20_000), Some(25_000), Some(100), Some(1_000_000), None, None, None, None, None, None]
        );
        for ppm in [0, 100, 20_000, 25_000, 1_000_000] {
            let shown = words::millionths(ppm);
            assert_eq!(millionths(&shown.replace('\u{a0}', " ")), Some(ppm), "{shown}");
        }
    }

    #[test]
    fn what_is_left_empty_keeps_the_default() {
        let entered = Entered { target: " bob@example.com ".into(), ..Entered::default() };
        let asked = entered.request().unwrap();
        assert_eq!(
            asked,
            RuleRequest { target: Some("bob@example.com".into()), threshold: None, max_fee_ppm: None }
        );
        let entered = Entered { threshold: "20,000".into(), ..Entered::default() };
        assert_eq!(entered.request().unwrap().threshold, Some(Sats::new(20_000)));
        for (threshold, max_fee) in [("many", ""), ("", "cheap"), ("1.5", "")] {
            let entered =
                Entered { threshold: threshold.into(), max_fee: max_fee.into(), ..Entered::default() };
            assert!(entered.request().is_err(), "{threshold} {max_fee}");
        }
    }
}
