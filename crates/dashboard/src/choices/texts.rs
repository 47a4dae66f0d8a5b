//! The settings files of pool and mint as text: what they choose, and the same files with another choice.
//! Whatever is not chosen here stays as it is written; of a file that changes, comments are lost.

use poolbox_accounting::Network;
use poolbox_api::pool::Mode;
use toml::{Table, Value};

use super::choice::{Choice, Terms, USUAL_PASSWORD, Upstream};
use super::switches::Switches;

/// File of the pool.
pub const POOL: &str = "pool.toml";
/// File of the mint.
pub const MINT: &str = "mint.toml";

/// First line of a file that is the image's with a choice, and nobody's own.
const OURS: &str =
    "# The image's settings, with what was chosen in the browser. Made anew with each version.\n";
/// Key in `pool.toml` that mode pool needs and the others refuse.
const DESCRIPTOR: &str = "coinbase_descriptor_file";
/// What gives jobs where they are the box's own, which mode proxy refuses.
const SOURCES: [&[&str]; 2] = [&["node", "ipc_socket"], &["template_provider"]];

/// Both files of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// `pool.toml`.
    pub pool: String,
    /// `mint.toml`; none on a box without a mint.
    pub mint: Option<String>,
}

/// A file that cannot be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} {reason}")]
pub struct Unfit {
    file: &'static str,
    reason: String,
}

/// A file being changed.
struct Sheet<'a> {
    file: &'static str,
    text: &'a str,
    table: Table,
    changed: bool,
    /// Whether it is the image's with choices, or else has what a person wrote.
    ours: bool,
}

impl Texts {
    /// What is chosen in them, and by the switches beside them.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn choice(&self, switches: Switches) -> Result<Choice, Unfit> {
        let pool = Sheet::read(POOL, &self.pool)?;
        let network = pool.string("network")?.unwrap_or_default();
        let network = network.parse::<Network>().map_err(|error| pool.unfit(error.to_string()))?;
        let mode = pool.string("mode")?.unwrap_or(Mode::Pool.name());
        let unknown = || pool.unfit(format!("has the mode \"{mode}\", which is unknown here"));
        let mode = Mode::named(mode).ok_or_else(unknown)?;
        let mint = self.mint.as_deref().map(|text| Sheet::read(MINT, text)?.terms()).transpose()?;
        let upstream = if mode == Mode::Proxy { Some(pool.upstream()?) } else { None };
        Ok(Choice { network, mode, upstream, mint, switches })
    }

    /// The same with another choice. `image` has what a box without any choice has.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn with(&self, choice: &Choice, image: &Self) -> Result<Self, Unfit> {
        let present = self.choice(choice.switches)?;
        let mut pool = Sheet::read(POOL, &self.pool)?;
        pool.ours |= self.pool == image.pool;
        if present.mode != choice.mode {
            pool.change_mode(choice.mode, &Sheet::read(POOL, &image.pool)?)?;
        }
        if let Some(upstream) = choice.upstream.as_ref().filter(|_| present.upstream != choice.upstream) {
            let Upstream { url, user, password } = upstream;
            for (key, value) in [("url", url), ("user", user), ("password", password)] {
                pool.set(&["upstream", key], Some(value.as_str().into()))?;
            }
        }
        let mint = match (&self.mint, &present.mint, &choice.mint) {
            (Some(text), Some(before), Some(after)) => {
                let mut mint = Sheet::read(MINT, text)?;
                mint.ours |= image.mint.as_ref() == Some(text);
                if before.fee_ppm != after.fee_ppm {
                    mint.set(&["fee_ppm"], Some(i64::from(after.fee_ppm).into()))?;
                }
                for (key, before, after) in [
                    ("onchain_threshold_sat", before.onchain_sat, after.onchain_sat),
                    ("lightning_threshold_sat", before.lightning_sat, after.lightning_sat),
                ] {
                    if before != after {
                        let number = after.map(|sats| Value::from(i64::try_from(sats).unwrap_or(i64::MAX)));
                        mint.set(&["payouts", key], number)?;
                    }
                }
                Some(mint.written()?)
            }
            (text, ..) => text.clone(),
        };
        Ok(Self { pool: pool.written()?, mint })
    }
}

/// Whether a file is the image's with a choice, and has nothing that a person wrote.
pub fn is_ours(text: &str) -> bool {
    text.starts_with(OURS)
}

/// Whether two files say the same, however they are written.
pub fn same(one: &str, other: &str) -> bool {
    one == other
        || matches!((one.parse::<Table>(), other.parse::<Table>()), (Ok(one), Ok(other)) if one == other)
}

impl<'a> Sheet<'a> {
    fn read(file: &'static str, text: &'a str) -> Result<Self, Unfit> {
        let table = text.parse::<Table>().map_err(|error| {
            let reason = error.message().replace('\n', " ");
            Unfit { file, reason: format!("cannot be read: {reason}") }
        })?;
        Ok(Self { file, text, table, changed: false, ours: is_ours(text) })
    }

    fn unfit(&self, reason: String) -> Unfit {
        Unfit { file: self.file, reason }
    }

    fn string(&self, key: &str) -> Result<Option<&str>, Unfit> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.unfit(format!("has something else than text for {key}"))),
        }
    }

    fn number(&self, table: &Table, key: &str) -> Result<Option<u64>, Unfit> {
        match table.get(key) {
            None => Ok(None),
            Some(Value::Integer(number)) if *number >= 0 => Ok(Some(number.unsigned_abs())),
            Some(_) => Err(self.unfit(format!("has something else than a number for {key}"))),
        }
    }

    fn section(&self, name: &str) -> Result<Option<&Table>, Unfit> {
        match self.table.get(name) {
            None => Ok(None),
            Some(Value::Table(section)) => Ok(Some(section)),
            Some(_) => Err(self.unfit(format!("has something else than a section [{name}]"))),
        }
    }

    fn upstream(&self) -> Result<Upstream, Unfit> {
        let section = self.section("upstream")?;
        let text = |key: &str| match section.and_then(|section| section.get(key)) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.unfit(format!("has something else than text for upstream.{key}"))),
        };
        Ok(Upstream {
            url: text("url")?.unwrap_or_default(),
            user: text("user")?.unwrap_or_default(),
            password: text("password")?.unwrap_or_else(|| USUAL_PASSWORD.to_owned()),
        })
    }

    /// Takes out what a mode refuses, and brings back what it needs as `usual` has it.
    fn change_mode(&mut self, mode: Mode, usual: &Sheet<'_>) -> Result<(), Unfit> {
        self.set(&["mode"], Some(mode.name().into()))?;
        match mode {
            Mode::Pool => {
                let Some(descriptor) = usual.string(DESCRIPTOR)? else {
                    return Err(usual.unfit("of this box has no coinbase_descriptor_file".to_owned()));
                };
                self.set(&[DESCRIPTOR], Some(descriptor.into()))?;
            }
            Mode::Proxy | Mode::Solo => self.set(&[DESCRIPTOR], None)?,
        }
        for source in SOURCES {
            let from = usual.at(source).cloned();
            match mode {
                Mode::Proxy => self.set(source, None)?,
                // A source that somebody wrote here stays.
                Mode::Pool | Mode::Solo if SOURCES.iter().all(|source| self.at(source).is_none()) => {
                    self.set(source, from)?;
                }
                Mode::Pool | Mode::Solo => {}
            }
        }
        if mode != Mode::Proxy {
            self.set(&["upstream"], None)?;
        }
        Ok(())
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        let (key, sections) = path.split_last()?;
        let mut table = &self.table;
        for section in sections {
            table = table.get(*section)?.as_table()?;
        }
        table.get(*key)
    }

    fn terms(&self) -> Result<Terms, Unfit> {
        let none = Table::new();
        let payouts = self.section("payouts")?.unwrap_or(&none);
        let fee = self.number(&self.table, "fee_ppm")?.unwrap_or_default();
        Ok(Terms {
            fee_ppm: u32::try_from(fee).map_err(|_| self.unfit("has a fee_ppm above all".to_owned()))?,
            onchain_sat: self.number(payouts, "onchain_threshold_sat")?,
            lightning_sat: self.number(payouts, "lightning_threshold_sat")?,
        })
    }

    /// Sets what `path` leads to, or takes it out; a section that is empty then goes too.
    fn set(&mut self, path: &[&str], value: Option<Value>) -> Result<(), Unfit> {
        if value.is_none() && self.at(path).is_none() {
            return Ok(());
        }
        let (file, changed) = (self.file, &mut self.changed);
        let Some((key, sections)) = path.split_last() else { return Ok(()) };
        let mut table = &mut self.table;
        for section in sections {
            let entry = table.entry(*section).or_insert_with(|| Table::new().into());
            let Value::Table(inner) = entry else {
                return Err(Unfit { file, reason: format!("has something else than a section [{section}]") });
            };
            table = inner;
        }
        *changed = true;
        match value {
            Some(value) => table.insert((*key).to_owned(), value),
            None => table.remove(*key),
        };
        if let [section] = sections
            && self.table.get(*section).and_then(Value::as_table).is_some_and(Table::is_empty)
        {
            self.table.remove(*section);
        }
        Ok(())
    }

    fn written(self) -> Result<String, Unfit> {
        if !self.changed {
            return Ok(self.text.to_owned());
        }
        let text = toml::to_string(&self.table)
            .map_err(|error| Unfit { file: self.file, reason: format!("cannot be written: {error}") })?;
        Ok(if self.ours { format!("{OURS}{text}") } else { text })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POOL_TEXT: &str = "# Made with the image.\nnetwork = \"devnet\"\nmode = \"pool\"\ndata_dir = \"/p\"\n\
        coinbase_descriptor_file = \"/c\"\nstale_after_s = 120\n[node]\nrpc_port = 8332\n[difficulty]\nmin = 0.5\n";
    const MINT_TEXT: &str = "network = \"devnet\"\ndata_dir = \"/m\"\njournal = \"/p/j\"\n[node]\nrpc_port = 1\n\
        cookie_file = \"/n\"\n[payouts]\nonchain_max_fee_ppm = 7\n[lightning]\npeers = [\"a@b:1\"]\n";

    fn texts() -> Texts {
        Texts { pool: POOL_TEXT.to_owned(), mint: Some(MINT_TEXT.to_owned()) }
    }

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn a_choice_that_changes_nothing_leaves_every_letter() {
        let texts = texts();
        assert_eq!(texts.with(&texts.choice(Switches::default()).unwrap(), &texts).unwrap(), texts);
    }

    #[test]
    fn solo_takes_the_descriptor_out_and_pool_brings_the_images_back() {
        let texts = texts();
        let pool = texts.choice(Switches::default()).unwrap();
        let solo = texts.with(&Choice { mode: Mode::Solo, ..pool.clone() }, &texts).unwrap();
        assert_eq!(solo.mint, texts.mint);
        assert_eq!(table(&solo.pool)["mode"].as_str(), Some("solo"));
        assert!(!table(&solo.pool).contains_key(DESCRIPTOR));
        let back = solo.with(&pool, &texts).unwrap();
        assert!(same(&back.pool, &texts.pool), "{}", back.pool);
        let for_solo = Texts { pool: solo.pool.clone(), mint: texts.mint.clone() };
        let error = solo.with(&pool, &for_solo).unwrap_err();
        assert!(error.to_string().contains("has no coinbase_descriptor_file"), "{error}");
    }

    #[test]
    fn proxy_takes_out_what_gives_jobs_and_the_other_modes_bring_it_back() {
        let sources = ["ipc_socket = \"/n\"\n", "[template_provider]\naddress = \"127.0.0.1:8442\"\n"];
        for (before, source) in [("rpc_port", sources[0]), ("[difficulty]", sources[1])] {
            let pool = POOL_TEXT.replace(before, &format!("{source}{before}"));
            let image = Texts { pool, ..texts() };
            let pool = image.choice(Switches::default()).unwrap();
            let upstream = Upstream {
                url: "stratum+tcp://pool.example:3333".to_owned(),
                user: "me".to_owned(),
                password: "x".to_owned(),
            };
            let choice = Choice { mode: Mode::Proxy, upstream: Some(upstream), ..pool.clone() };
            let proxy = image.with(&choice, &image).unwrap();
            assert_eq!(proxy.choice(Switches::default()).unwrap(), choice);
            let written = table(&proxy.pool);
            assert!(!written.contains_key(DESCRIPTOR) && !written.contains_key("template_provider"));
            assert_eq!(written["node"].as_table().unwrap().keys().collect::<Vec<_>>(), ["rpc_port"]);
            for mode in [Mode::Pool, Mode::Solo] {
                let back = proxy.with(&Choice { mode, ..pool.clone() }, &image).unwrap();
                let straight = image.with(&Choice { mode, ..pool.clone() }, &image).unwrap();
                assert!(same(&back.pool, &straight.pool), "{}", back.pool);
            }
        }
    }

    #[test]
    fn a_section_that_was_made_for_one_key_goes_with_it() {
        let bare = MINT_TEXT.replace("[payouts]\nonchain_max_fee_ppm = 7\n", "");
        let texts = Texts { mint: Some(bare.clone()), ..texts() };
        let usual = texts.choice(Switches::default()).unwrap();
        let mut chosen = usual.clone();
        chosen.mint.as_mut().unwrap().lightning_sat = Some(1);
        let with = texts.with(&chosen, &texts).unwrap();
        assert_eq!(
            table(with.mint.as_ref().unwrap())["payouts"]["lightning_threshold_sat"].as_integer(),
            Some(1)
        );
        let back = with.with(&usual, &texts).unwrap();
        assert!(same(&back.mint.unwrap(), &bare));
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        for (pool, mint, file) in [
            ("network =", MINT_TEXT, POOL),
            ("network = \"mars\"", MINT_TEXT, POOL),
            ("network = 1", MINT_TEXT, POOL),
            ("network = \"devnet\"\nmode = \"both\"", MINT_TEXT, POOL),
            ("network = \"devnet\"\nmode = \"proxy\"\nupstream = 3", MINT_TEXT, POOL),
            (POOL_TEXT, "fee_ppm = -1", MINT),
            (POOL_TEXT, "payouts = 3", MINT),
        ] {
            let error = Texts { pool: pool.to_owned(), mint: Some(mint.to_owned()) }
                .choice(Switches::default())
                .unwrap_err();
            assert!(error.to_string().starts_with(file), "{error}");
        }
    }

    /// Any value that a settings file may hold, without sections.
    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
            prop::collection::vec("[a-z\"\\\\]{0,5}", 0..3).prop_map(Value::from),
        ]
    }

    fn section() -> impl Strategy<Value = Table> {
        prop::collection::btree_map("[a-z_]{1,8}", value(), 0..5).prop_map(|map| map.into_iter().collect())
    }

    prop_compose! {
        fn choices()(mode in prop::sample::select(vec![Mode::Pool, Mode::Proxy, Mode::Solo]),
            fee_ppm in 0..=1_000_000_u32, user in "[a-z\"]{1,4}",
            onchain_sat in prop::option::of(0..u64::from(u32::MAX)),
            lightning_sat in prop::option::of(0..u64::from(u32::MAX))) -> Choice {
            let (url, password) = ("stratum+tcp://pool.example:1".to_owned(), user.clone());
            let upstream = (mode == Mode::Proxy).then_some(Upstream { url, user, password });
            let terms = Terms { fee_ppm, onchain_sat, lightning_sat };
            Choice {
                network: Network::Devnet,
                mode,
                upstream,
                mint: Some(terms),
                switches: Switches::default(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_not_chosen_stays_and_what_is_chosen_is_read_back(
            top in section(), node in section(), payouts in section(), steps in prop::collection::vec(choices(), 1..4)
        ) {
            let mut pool = table(POOL_TEXT);
            let mut mint = table(MINT_TEXT);
            for (key, value) in top {
                pool.insert(format!("x_{key}"), value.clone());
                mint.insert(format!("x_{key}"), value);
            }
            pool.insert("node".to_owned(), node.clone().into());
            mint.insert("node".to_owned(), node.into());
            let payouts = payouts.into_iter().map(|(key, value)| (format!("x_{key}"), value)).collect::<Table>();
            mint.insert("payouts".to_owned(), payouts.into());
            let image = Texts { pool: toml::to_string(&pool).unwrap(), mint: Some(toml::to_string(&mint).unwrap()) };
            let mut texts = image.clone();
            for choice in steps {
                texts = texts.with(&choice, &image).unwrap();
                prop_assert_eq!(texts.choice(Switches::default()).unwrap(), choice);
            }
            let untouched = |text: &str| {
                let mut table = table(text);
                for key in ["mode", DESCRIPTOR, "upstream", "fee_ppm"] {
                    table.remove(key);
                }
                let mut payouts = table.remove("payouts").and_then(|value| value.try_into::<Table>().ok()).unwrap_or_default();
                payouts.remove("onchain_threshold_sat");
                payouts.remove("lightning_threshold_sat");
                (table, payouts)
            };
            prop_assert_eq!(untouched(&texts.pool), untouched(&image.pool));
            prop_assert_eq!(untouched(&texts.mint.unwrap()), untouched(&image.mint.unwrap()));
        }
    }
}
