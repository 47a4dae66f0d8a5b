//! What an owner chooses, and what they typed for it: raw, then checked, each mistake with its field.

use poolbox_accounting::Network;
use poolbox_api::pool::Mode;
use serde::Deserialize;

use super::Place;
use super::switches::{NodeSize, Switches};
use crate::words;

/// More sats than there will ever be.
const ALL_BITCOIN_SAT: u64 = 2_100_000_000_000_000;
/// What a pool's address begins with, if nothing else is said.
const USUAL_SCHEME: &str = "stratum+tcp://";
/// What it may begin with.
const SCHEMES: [&str; 2] = [USUAL_SCHEME, "stratum+ssl://"];
/// What miners tell pools that do not look at it.
pub const USUAL_PASSWORD: &str = "x";
/// Longest user name or password.
const MAX_LOGIN: usize = 200;
/// The whole, in parts per million.
const ALL_PPM: u32 = 1_000_000;
/// Digits after the point of a percentage that parts per million can hold.
const PERCENT_DIGITS: usize = 4;

/// Everything that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Of the node.
    pub network: Network,
    /// For whom the miners work.
    pub mode: Mode,
    /// The pool that they work for in mode proxy.
    pub upstream: Option<Upstream>,
    /// What the mint does; none on a box without one.
    pub mint: Option<Terms>,
    /// Of the box, whatever the network.
    pub switches: Switches,
}

/// A pool upstream, and who the box is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// As `stratum+tcp://host:port`.
    pub url: String,
    /// The box's user name.
    pub user: String,
    /// Its password, which most pools do not look at.
    pub password: String,
}

/// What the mint keeps, and when it pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Kept of every reward.
    pub fee_ppm: u32,
    /// A bitcoin address is paid from so many sats on; none: as usual.
    pub onchain_sat: Option<u64>,
    /// A Lightning address or offer is; none: as usual.
    pub lightning_sat: Option<u64>,
}

/// Something in a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// [`Choice::network`]
    Network,
    /// [`Choice::mode`]
    Mode,
    /// [`Upstream::url`]
    UpstreamUrl,
    /// [`Upstream::user`]
    UpstreamUser,
    /// [`Upstream::password`]
    UpstreamPassword,
    /// [`Terms::fee_ppm`]
    Fee,
    /// [`Terms::onchain_sat`]
    Onchain,
    /// [`Terms::lightning_sat`]
    Lightning,
    /// [`Switches::node`]
    Node,
    /// [`Switches::updates`]
    Updates,
}

impl Field {
    /// For people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Network => "Network",
            Self::Mode => "Mode",
            Self::UpstreamUrl => "Pool upstream",
            Self::UpstreamUser => "User name there",
            Self::UpstreamPassword => "Password there",
            Self::Fee => "The box's fee",
            Self::Onchain => "Pay bitcoin addresses from",
            Self::Lightning => "Pay Lightning addresses from",
            Self::Node => "Blocks kept",
            Self::Updates => "Updates",
        }
    }

    /// The field that a program's sentence is about, by the key it names.
    pub fn of_key(sentence: &str) -> Option<Self> {
        let keys = [
            ("onchain_threshold_sat", Self::Onchain),
            ("lightning_threshold_sat", Self::Lightning),
            ("fee_ppm", Self::Fee),
            ("upstream.url", Self::UpstreamUrl),
            ("upstream.user", Self::UpstreamUser),
            ("upstream.password", Self::UpstreamPassword),
            ("coinbase_descriptor_file", Self::Mode),
            ("mode", Self::Mode),
            ("network", Self::Network),
        ];
        keys.into_iter().find(|(key, _)| sentence.contains(key)).map(|(_, field)| field)
    }
}

/// Why a choice cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, if it is in one place.
    pub field: Option<Field>,
    /// What is wrong and what to do, in one sentence.
    pub sentence: String,
}

impl Mistake {
    /// In a field.
    pub fn in_field(field: Field, sentence: impl Into<String>) -> Self {
        Self { field: Some(field), sentence: sentence.into() }
    }

    /// In none.
    pub fn of_box(sentence: impl Into<String>) -> Self {
        Self { field: None, sentence: sentence.into() }
    }

    /// With the field's name before it.
    pub fn spoken(&self) -> String {
        match self.field {
            Some(field) => format!("{}: {}", field.label(), self.sentence),
            None => self.sentence.clone(),
        }
    }
}

/// What was typed; a field that was not in the form stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wish {
    /// [`Choice::network`]
    pub network: Option<String>,
    /// [`Choice::mode`]
    pub mode: Option<String>,
    /// [`Upstream::url`]
    pub upstream_url: Option<String>,
    /// [`Upstream::user`]
    pub upstream_user: Option<String>,
    /// [`Upstream::password`]; empty for the usual.
    pub upstream_password: Option<String>,
    /// [`Terms::fee_ppm`], in per cent.
    pub fee: Option<String>,
    /// [`Terms::onchain_sat`]; empty for as usual.
    pub onchain: Option<String>,
    /// [`Terms::lightning_sat`]; empty for as usual.
    pub lightning: Option<String>,
    /// [`Switches::node`]
    pub node: Option<String>,
    /// [`Switches::updates`], `on` or `off`.
    pub updates: Option<String>,
}

impl Wish {
    /// The network that is wished for, `present` if none is.
    ///
    /// # Errors
    /// [`Mistake`] for one that is not on offer.
    pub fn network(&self, place: &Place, present: Network) -> Result<Network, Mistake> {
        let Some(name) = &self.network else { return Ok(present) };
        let network = name.parse::<Network>().ok().filter(|network| place.networks.contains(network));
        network.ok_or_else(|| Mistake::in_field(Field::Network, "choose one of those in the list."))
    }

    /// What is chosen on top of `present`, which is of the wished network.
    ///
    /// # Errors
    /// [`Mistake`], naming the field.
    pub fn on(&self, present: &Choice) -> Result<Choice, Mistake> {
        let mut choice = present.clone();
        if let Some(name) = &self.mode {
            choice.mode = Mode::named(name)
                .ok_or_else(|| Mistake::in_field(Field::Mode, "choose pool, proxy or solo."))?;
            // Work that earns something is credited by a mint.
            if choice.mode.earns().is_some() && present.mint.is_none() {
                let sentence = format!("this box has no mint, which mode {name} needs.");
                return Err(Mistake::in_field(Field::Mode, sentence));
            }
        }
        choice.upstream = match choice.mode {
            Mode::Proxy => Some(self.upstream(present.upstream.as_ref())?),
            Mode::Pool | Mode::Solo => None,
        };
        if let Some(name) = &self.node {
            choice.switches.node = NodeSize::named(name)
                .ok_or_else(|| Mistake::in_field(Field::Node, "choose one of those in the list."))?;
        }
        match self.updates.as_deref() {
            None => {}
            Some("on") => choice.switches.updates = true,
            Some("off") => choice.switches.updates = false,
            Some(_) => return Err(Mistake::in_field(Field::Updates, "choose on or off.")),
        }
        let Some(terms) = &mut choice.mint else { return Ok(choice) };
        if let Some(text) = &self.fee {
            terms.fee_ppm = ppm(text)
                .ok_or_else(|| Mistake::in_field(Field::Fee, "write per cent from 0 to 100, such as 1.5."))?;
        }
        if let Some(text) = &self.onchain {
            terms.onchain_sat = sats(Field::Onchain, text)?;
        }
        if let Some(text) = &self.lightning {
            terms.lightning_sat = sats(Field::Lightning, text)?;
        }
        Ok(choice)
    }
}

impl Wish {
    /// The pool upstream that is wished for on top of the present one, if there is one.
    fn upstream(&self, present: Option<&Upstream>) -> Result<Upstream, Mistake> {
        let typed = |typed: &Option<String>, is: fn(&Upstream) -> &String| match typed {
            Some(text) => text.trim().to_owned(),
            None => present.map(is).cloned().unwrap_or_default(),
        };
        let (url, user) =
            (typed(&self.upstream_url, |is| &is.url), typed(&self.upstream_user, |is| &is.user));
        let password = typed(&self.upstream_password, |is| &is.password);
        let url = if url.contains("://") { url } else { format!("{USUAL_SCHEME}{url}") };
        if !is_stratum(&url) {
            let sentence = "write it as the pool does, such as stratum+tcp://mine.ocean.xyz:3334.";
            return Err(Mistake::in_field(Field::UpstreamUrl, sentence));
        }
        let plain = |text: &str| text.len() <= MAX_LOGIN && !text.contains(char::is_control);
        if user.is_empty() || !plain(&user) {
            let sentence = "write the user name that the pool knows; often an address with a name behind it.";
            return Err(Mistake::in_field(Field::UpstreamUser, sentence));
        }
        if !plain(&password) {
            return Err(Mistake::in_field(Field::UpstreamPassword, "write it on one line, or nothing."));
        }
        let password = if password.is_empty() { USUAL_PASSWORD.to_owned() } else { password };
        Ok(Upstream { url, user, password })
    }
}

/// `stratum+tcp://host:port` or the same over TLS, as far as this can be seen here: the pool's program looks closer.
fn is_stratum(url: &str) -> bool {
    let Some(place) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)) else { return false };
    let Some((host, port)) = place.rsplit_once(':') else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `1.5 %` in parts per million, exactly; none when it is no percentage.
fn ppm(text: &str) -> Option<u32> {
    let text = text.trim().trim_end_matches('%').trim();
    if text.is_empty() {
        return Some(0);
    }
    let (whole, part) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > PERCENT_DIGITS || !digits(whole) || !digits(part) {
        return None;
    }
    let part = format!("{part:0<PERCENT_DIGITS$}");
    let ppm = whole.parse::<u32>().ok()? * 10_000 + part.parse::<u32>().ok()?;
    (ppm <= ALL_PPM).then_some(ppm)
}

/// Parts per million as per cent, exactly.
pub fn percent(ppm: u32) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whole sats, perhaps in groups of three; none for nothing.
fn sats(field: Field, text: &str) -> Result<Option<u64>, Mistake> {
    let wrong = || Mistake::in_field(field, "write whole sats, such as 200000, or nothing for the usual.");
    let text = text.trim().trim_end_matches("sats").trim_end_matches("sat").trim();
    if text.is_empty() {
        return Ok(None);
    }
    let plain = |c: char| c.is_ascii_digit() || matches!(c, ',' | ' ' | '_' | '\u{a0}');
    if !text.chars().all(plain) {
        return Err(wrong());
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let sats = digits.parse::<u64>().map_err(|_| wrong())?;
    if sats > ALL_BITCOIN_SAT {
        return Err(Mistake::in_field(field, "that is more than all bitcoin there will ever be."));
    }
    Ok(Some(sats))
}

/// A threshold for people.
pub fn threshold(sats: Option<u64>, usual: u64) -> String {
    match sats {
        Some(sats) => format!("{}\u{a0}sat", words::grouped(sats)),
        None => format!("as usual, {}\u{a0}sat", words::grouped(usual)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn present() -> Choice {
        let terms = Terms { fee_ppm: 0, onchain_sat: None, lightning_sat: Some(5) };
        Choice {
            network: Network::Devnet,
            mode: Mode::Pool,
            upstream: None,
            mint: Some(terms),
            switches: Switches::default(),
        }
    }

    #[test]
    fn what_is_not_in_the_form_stays() {
        assert_eq!(Wish::default().on(&present()).unwrap(), present());
        let wish = Wish { fee: Some("1,5 %".into()), onchain: Some("300 000 sat".into()), ..Wish::default() };
        let terms = wish.on(&present()).unwrap().mint.unwrap();
        assert_eq!(terms, Terms { fee_ppm: 15_000, onchain_sat: Some(300_000), lightning_sat: Some(5) });
        let wish = Wish { lightning: Some(" ".into()), mode: Some("solo".into()), ..Wish::default() };
        let choice = wish.on(&present()).unwrap();
        assert_eq!((choice.mode, choice.mint.unwrap().lightning_sat), (Mode::Solo, None));
    }

    #[test]
    fn a_mistake_names_its_field() {
        for fee in ["-1", "101", "1.23456", "x", "1.5.2", ".5", "100.0001", "1e3", "९"] {
            let wish = Wish { fee: Some(fee.into()), ..Wish::default() };
            assert_eq!(wish.on(&present()).unwrap_err().field, Some(Field::Fee), "{fee}");
        }
        for sats in ["-5", "1.000", "2100000000000001", "99999999999999999999", "<b>", ","] {
            let wish = Wish { onchain: Some(sats.into()), ..Wish::default() };
            assert_eq!(wish.on(&present()).unwrap_err().field, Some(Field::Onchain), "{sats}");
        }
        for (node, updates, field) in [("huge", "on", Field::Node), ("all", "maybe", Field::Updates)] {
            let wish = Wish { node: Some(node.into()), updates: Some(updates.into()), ..Wish::default() };
            assert_eq!(wish.on(&present()).unwrap_err().field, Some(field));
        }
        let wish = Wish { mode: Some("both".into()), ..Wish::default() };
        assert_eq!(wish.on(&present()).unwrap_err().field, Some(Field::Mode));
        let without = Choice { mode: Mode::Solo, mint: None, ..present() };
        for mode in ["pool", "proxy"] {
            let wish = Wish { mode: Some(mode.into()), ..Wish::default() };
            assert_eq!(wish.on(&without).unwrap_err().field, Some(Field::Mode));
        }
        for (url, user, password, field) in [
            ("", "me", "x", Field::UpstreamUrl),
            ("https://pool.example", "me", "x", Field::UpstreamUrl),
            ("pool.example:0", "me", "x", Field::UpstreamUrl),
            ("pool example:3333", "me", "x", Field::UpstreamUrl),
            ("pool.example:3333", " ", "x", Field::UpstreamUser),
            ("pool.example:3333", "me\nyou", "x", Field::UpstreamUser),
            ("pool.example:3333", "me", "x\u{7}", Field::UpstreamPassword),
        ] {
            assert_eq!(proxy(url, user, password).on(&present()).unwrap_err().field, Some(field), "{url}");
        }
    }

    fn proxy(url: &str, user: &str, password: &str) -> Wish {
        Wish {
            mode: Some("proxy".into()),
            upstream_url: Some(url.into()),
            upstream_user: Some(user.into()),
            upstream_password: Some(password.into()),
            ..Wish::default()
        }
    }

    #[test]
    fn a_pool_upstream_is_written_as_its_program_reads_it_and_goes_with_the_mode() {
        let choice = proxy(" pool.example:3333 ", "bc1q.box", "").on(&present()).unwrap();
        let upstream = choice.upstream.clone().unwrap();
        assert_eq!(upstream.url, "stratum+tcp://pool.example:3333");
        assert_eq!((upstream.user.as_str(), upstream.password.as_str()), ("bc1q.box", USUAL_PASSWORD));
        assert_eq!(Wish::default().on(&choice).unwrap(), choice, "it stays");
        let back = Wish { mode: Some("pool".into()), ..Wish::default() }.on(&choice).unwrap();
        assert_eq!(back, present());
    }

    #[test]
    fn a_programs_sentence_is_taken_to_its_field() {
        let sentence = "payouts.onchain_threshold_sat = 10 must be 1000 or more";
        assert_eq!(Field::of_key(sentence), Some(Field::Onchain));
        assert_eq!(Field::of_key("data_dir is missing"), None);
    }

    proptest! {
        #[test]
        fn a_fee_is_read_as_it_is_shown(ppm in 0..=ALL_PPM) {
            prop_assert_eq!(super::ppm(&percent(ppm)), Some(ppm));
        }

        #[test]
        fn whatever_is_typed_is_a_number_within_bounds_or_a_mistake(text in "\\PC{0,24}") {
            if let Some(ppm) = super::ppm(&text) {
                prop_assert!(ppm <= ALL_PPM);
            }
            if let Ok(Some(sats)) = sats(Field::Onchain, &text) {
                prop_assert!(sats <= ALL_BITCOIN_SAT);
            }
        }
    }
}
