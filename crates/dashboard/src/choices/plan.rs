//! What a choice would change: which lines, which files, which services. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use poolbox_accounting::{Network, Owner};
use poolbox_api::pool::{self, Mode};
use serde::{Deserialize, Serialize};

use super::choice::{Choice, percent, threshold};
use super::folder::{Held, Shelf, Swap, path_of};
use super::switches::{self, NODE_SIZE, Switches, UPDATES};
use super::texts::{MINT, POOL, Texts, Unfit, same};
use super::{Place, Service};

/// From how many sats on the mint pays an address, unless it is told otherwise.
pub const USUAL_ONCHAIN_SAT: u64 = 200_000;
/// The same for Lightning.
pub const USUAL_LIGHTNING_SAT: u64 = 2_000;

/// Something that is set, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What it is.
    pub what: String,
    /// As it was.
    pub before: String,
    /// As it is then.
    pub after: String,
}

/// What would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// As it is.
    pub from: Choice,
    /// As it would be.
    pub to: Choice,
    /// What a person would see change.
    pub lines: Vec<Line>,
    /// Which files.
    pub swaps: Vec<Swap>,
    /// Who is restarted for it.
    pub services: Vec<Service>,
    /// The new files whole, for their programs to check.
    pub texts: Texts,
    /// Stands for everything that this was made of: a plan for something else has another.
    pub basis: String,
}

impl Plan {
    /// From what is in force on the present network to `to`, whose network's files are on `shelf`. `held` is what
    /// the files with one word hold.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn new(
        place: &Place,
        held: &Held,
        present: &Shelf,
        shelf: &Shelf,
        to: Choice,
    ) -> Result<Self, Unfit> {
        let from = present.texts().choice(held.switches())?;
        let before = shelf.texts();
        let texts = before.with(&to, &shelf.image)?;
        let own = |text: &str, image: &str| (!same(text, image)).then(|| text.to_owned());
        let moved = present.network != shelf.network;
        let network = if moved { Swap::of_network(held.network.clone(), to.network) } else { None };
        let pool = if texts.pool == before.pool {
            None
        } else {
            let after = own(&texts.pool, &shelf.image.pool);
            Swap::of(path_of(to.network, POOL), shelf.own.pool.clone(), after)
        };
        let mint = match (&texts.mint, &shelf.image.mint) {
            (Some(text), Some(image)) if texts.mint != before.mint => {
                Swap::of(path_of(to.network, MINT), shelf.own.mint.clone(), own(text, image))
            }
            _ => None,
        };
        let node_size = Swap::of_word(NODE_SIZE, held.node_size.as_ref(), to.switches);
        let updates = Swap::of_word(UPDATES, held.updates.as_ref(), to.switches);
        let restarts = |service: Service| match service {
            _ if moved => true,
            Service::Pool => pool.is_some(),
            Service::Mint => mint.is_some(),
            // Chains of other networks are kept whole.
            Service::Node => node_size.is_some() && to.network == Network::Mainnet,
            Service::TemplateProvider | Service::Dashboard => false,
        };
        let services = place.services.iter().copied().filter(|service| restarts(*service)).collect();
        let mut hasher = DefaultHasher::new();
        (held, &present.texts().pool, &before.pool, &before.mint, &texts.pool, &texts.mint, to.switches)
            .hash(&mut hasher);
        Ok(Self {
            lines: lines(&from, &to),
            from,
            to,
            swaps: [network, pool, mint, node_size, updates].into_iter().flatten().collect(),
            services,
            texts,
            basis: format!("{:016x}", hasher.finish()),
        })
    }

    /// Whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        self.swaps.is_empty()
    }

    /// What it means for the house, beyond the restarts. `pool` is what the pool says now.
    pub fn notes(&self, pool: Option<&pool::Status>) -> Vec<String> {
        let mut notes = Vec::new();
        if self.from.network != self.to.network {
            notes.push(format!(
                "Mining stops until the node has read the chain of {}: {}. Miners go to their fallback pools \
                 until then.",
                self.to.network,
                reading(self.to.network)
            ));
            notes.push(format!(
                "Everything on {} stays as it is and is there again when you come back: chain, shares, ecash. \
                 Tokens of one network are worth nothing on another.",
                self.from.network
            ));
        }
        match (self.from.mode, self.to.mode) {
            (Mode::Pool, Mode::Solo) => notes.extend(solo(pool, self.to.network)),
            // Another network has a journal of its own.
            (Mode::Solo, Mode::Pool) if self.from.network == self.to.network => notes.push(
                "A block then pays this box's mint, and everybody's work shares in it. Shares made \
                 in mode solo earn none of it."
                    .to_owned(),
            ),
            (Mode::Pool | Mode::Solo, Mode::Proxy) => notes.extend(proxy()),
            (Mode::Proxy, Mode::Pool) if self.from.network == self.to.network => notes.push(
                "A block then pays this box's mint, and everybody's work shares in it. Work that was done for \
                 the other pool is paid as before, when its payments arrive."
                    .to_owned(),
            ),
            (Mode::Proxy, Mode::Solo) => notes.extend(solo(pool, self.to.network)),
            _ => {}
        }
        notes.extend(switches::notes(&self.from, &self.to));
        notes
    }
}

fn proxy() -> Vec<String> {
    vec![
        "The miners then work for the other pool, which decides whom a block pays. What it pays this box is \
         shared out in sats among all who worked since its payment before, as soon as the payment is final. \
         Ehash that was earned stays good."
            .to_owned(),
        "Tell that pool to pay this box: its address and offer are on the page Earnings.".to_owned(),
    ]
}

fn solo(pool: Option<&pool::Status>, network: Network) -> Vec<String> {
    let mut notes = vec![
        "A block then pays the miner that finds it, at the bitcoin address that is its user name. Whoever has \
         earned ehash or sats keeps them."
            .to_owned(),
    ];
    let at_work = pool.into_iter().flat_map(|pool| &pool.workers).filter(|worker| worker.connected);
    let named: Vec<String> = at_work
        .filter(|worker| !matches!(Owner::parse(&worker.owner, network), Ok(Owner::Address(_))))
        .map(|worker| format!("{}.{}", worker.owner, worker.name))
        .collect();
    if let Some(first) = named.first() {
        let who = match named.len() {
            1 => format!("{first} has"),
            more => format!("{first} and {} more have", more - 1),
        };
        notes.push(format!(
            "{who} a user name that is no bitcoin address, and would be turned away: change it in the miner first."
        ));
    }
    notes
}

/// How long a node reads a chain.
const fn reading(network: Network) -> &'static str {
    match network {
        Network::Mainnet => "a day or two the first time, minutes when it was there before",
        Network::Testnet4 | Network::Signet => "some hours the first time, minutes when it was there before",
        Network::Regtest | Network::Devnet => "some seconds, as it is a chain of this box alone",
    }
}

/// Whom blocks pay, in a word and a sentence.
pub const fn mode_spoken(mode: Mode) -> &'static str {
    match mode {
        Mode::Pool => "pool: a block pays the mint, and everybody's work shares in it",
        Mode::Proxy => "proxy: the miners work for another pool, whose payments everybody's work shares in",
        Mode::Solo => "solo: a block pays the miner that finds it",
    }
}

fn lines(from: &Choice, to: &Choice) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |what: &str, before: String, after: String| {
        if before != after {
            lines.push(Line { what: what.to_owned(), before, after });
        }
    };
    add("Network", from.network.to_string(), to.network.to_string());
    add("Mode", mode_spoken(from.mode).to_owned(), mode_spoken(to.mode).to_owned());
    let named = |choice: &Choice| match &choice.upstream {
        Some(upstream) => format!("{} as {}", upstream.url, upstream.user),
        None => "none".to_owned(),
    };
    add("Pool upstream", named(from), named(to));
    let password = |choice: &Choice| choice.upstream.as_ref().map(|upstream| upstream.password.clone());
    if from.mode == to.mode && password(from) != password(to) {
        add("Password there", "the one before".to_owned(), "another".to_owned());
    }
    let (before, after) = (from.switches, to.switches);
    add("Blocks kept", before.node.title().to_owned(), after.node.title().to_owned());
    let updates = |switches: Switches| if switches.updates { "by themselves" } else { "off" }.to_owned();
    add("Updates", updates(before), updates(after));
    if let (Some(from), Some(to)) = (&from.mint, &to.mint) {
        let fee = |ppm: u32| format!("{}\u{a0}%", percent(ppm));
        add("The box's fee", fee(from.fee_ppm), fee(to.fee_ppm));
        let onchain = |sats| threshold(sats, USUAL_ONCHAIN_SAT);
        add("Bitcoin addresses are paid from", onchain(from.onchain_sat), onchain(to.onchain_sat));
        let lightning = |sats| threshold(sats, USUAL_LIGHTNING_SAT);
        add("Lightning addresses are paid from", lightning(from.lightning_sat), lightning(to.lightning_sat));
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::choice::Wish;
    use super::super::fixture::Fixture;
    use super::*;
    use crate::fixture::{snapshot, worker};

    fn plan(fixture: &Fixture, wish: &Wish) -> Plan {
        let place = &fixture.place;
        let present = place.shelf(place.present_network().unwrap()).unwrap();
        let network = wish.network(place, present.network).unwrap();
        let shelf = place.shelf(network).unwrap();
        let held = place.held().unwrap();
        let to = wish.on(&shelf.texts().choice(held.switches()).unwrap()).unwrap();
        Plan::new(place, &held, &present, &shelf, to).unwrap()
    }

    fn wish(field: &str, value: &str) -> Wish {
        serde_json::from_value(serde_json::json!({ field: value })).unwrap()
    }

    #[test]
    fn a_network_restarts_everybody_and_touches_one_word() {
        let fixture = Fixture::new();
        let plan = plan(&fixture, &wish("network", "devnet"));
        assert_eq!(plan.services, fixture.place.services);
        assert_eq!(plan.swaps.len(), 1);
        assert_eq!(
            (plan.swaps[0].path.as_str(), plan.swaps[0].after.as_deref()),
            ("network", Some("devnet\n"))
        );
        assert!(plan.notes(None)[0].contains("some seconds"));
    }

    #[test]
    fn a_mode_restarts_the_pool_alone_and_a_fee_the_mint_alone() {
        let fixture = Fixture::new();
        let solo = plan(&fixture, &wish("mode", "solo"));
        assert_eq!(solo.services, [Service::Pool]);
        assert_eq!(solo.swaps[0].path, "mainnet/pool.toml");
        let fee = plan(&fixture, &wish("fee", "2"));
        assert_eq!(fee.services, [Service::Mint]);
        assert_eq!(
            fee.lines,
            [Line { what: "The box's fee".into(), before: "0\u{a0}%".into(), after: "2\u{a0}%".into() }]
        );
        assert_ne!(solo.basis, fee.basis);
    }

    #[test]
    fn what_the_node_keeps_restarts_it_where_it_counts_and_updates_restart_nobody() {
        let fixture = Fixture::new();
        let small = plan(&fixture, &wish("node", "small"));
        assert_eq!(small.services, [Service::Node]);
        assert_eq!(
            (small.swaps[0].path.as_str(), small.swaps[0].after.as_deref()),
            ("node-size", Some("small\n"))
        );
        assert!(small.notes(None)[0].contains("removed for good"));
        let off = plan(&fixture, &wish("updates", "off"));
        assert!(off.services.is_empty() && !off.is_empty());
        fixture.place.swap(&off.swaps).unwrap();
        assert_eq!(fixture.chosen()["updates"], "off\n");
        fixture.choose("network", "devnet\n");
        assert!(plan(&fixture, &wish("node", "small")).services.is_empty());
    }

    #[test]
    fn what_is_so_already_is_no_change_and_what_the_image_says_needs_no_file() {
        let fixture = Fixture::new();
        for so in [wish("network", "mainnet"), wish("mode", "pool"), wish("fee", "0"), Wish::default()] {
            let plan = plan(&fixture, &so);
            assert!(plan.is_empty() && plan.services.is_empty() && plan.lines.is_empty());
        }
        let solo = plan(&fixture, &wish("mode", "solo"));
        fixture.place.swap(&solo.swaps).unwrap();
        let back = plan(&fixture, &wish("mode", "pool"));
        assert_eq!((back.swaps.len(), &back.swaps[0].after), (1, &None));
        assert_eq!(back.services, [Service::Pool]);
    }

    #[test]
    fn solo_names_those_who_would_be_turned_away() {
        let fixture = Fixture::new();
        let plan = plan(&fixture, &wish("mode", "solo"));
        let mut now = snapshot(0);
        let pool = now.pool.as_mut().unwrap();
        pool.workers.push(worker("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "axe"));
        assert_eq!(plan.notes(now.pool.as_ref()).len(), 1);
        now.pool.as_mut().unwrap().workers.push(worker("garage", "axe"));
        let notes = plan.notes(now.pool.as_ref());
        assert!(notes[1].starts_with("garage.axe has a user name"), "{notes:?}");
    }

    prop_compose! {
        fn wishes()(network in prop::option::of("mainnet|devnet"), mode in prop::option::of("pool|proxy|solo"),
            host in "a|b", user in "me|you", password in "|x|d=1",
            fee in prop::option::of("0|1|2,5|100"), onchain in prop::option::of("|5000"),
            lightning in prop::option::of("|7"), node in prop::option::of("by-disk|small|all"),
            updates in prop::option::of("on|off")) -> Wish {
            let upstream_url = Some(format!("{host}.example:3333"));
            let (upstream_user, upstream_password) = (Some(user), Some(password));
            Wish {
                network,
                mode,
                upstream_url,
                upstream_user,
                upstream_password,
                fee,
                onchain,
                lightning,
                node,
                updates,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn every_change_is_what_was_chosen_and_undone_in_turn_leaves_no_trace(
            wishes in prop::collection::vec(wishes(), 1..6)
        ) {
            let fixture = Fixture::new();
            let mut made = Vec::new();
            for wish in wishes {
                let plan = plan(&fixture, &wish);
                let before = fixture.chosen();
                fixture.place.swap(&plan.swaps).unwrap();
                let network = fixture.place.present_network().unwrap();
                let switches = fixture.place.held().unwrap().switches();
                let chosen = fixture.place.shelf(network).unwrap().texts().choice(switches).unwrap();
                prop_assert_eq!(chosen, plan.to.clone());
                prop_assert_eq!(plan.is_empty(), plan.lines.is_empty());
                prop_assert!(plan.services.is_empty() || !plan.is_empty());
                made.push((plan.swaps, before));
            }
            for (swaps, before) in made.into_iter().rev() {
                fixture.place.swap_back(&swaps).unwrap();
                prop_assert_eq!(fixture.chosen(), before);
            }
        }
    }
}
