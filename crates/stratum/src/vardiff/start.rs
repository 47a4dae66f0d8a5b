//! Where a miner starts: from what is known of it before its first share.

use poolbox_accounting::{Difficulty, Network};

use super::Class;

/// Hash rates (hashes a second) that somebody may mean: the others say nothing.
const HASHRATES: std::ops::Range<f64> = 1.0..1e18;
/// Longest difficulty that is read from a password.
const MAX_WISH_CHARS: usize = 16;

/// What is known of a miner before its first share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Introduction<'a> {
    /// Sv1 `mining.subscribe`; Sv2 vendor and hardware version of the connection.
    pub user_agent: &'a str,
    /// What it was remembered at ([`super::Vardiff::measured`]), for the same worker and user agent.
    pub remembered: Option<Difficulty>,
    /// What it asked for: `mining.suggest_difficulty`, or the password.
    pub wish: Option<Difficulty>,
    /// The hash rate it claims, in hashes a second (Sv2 `nominal_hash_rate`).
    pub hashrate: Option<f64>,
}

/// Where a miner starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The first difficulty.
    pub difficulty: Difficulty,
    /// The lowest that silence leads to at first.
    pub floor: Difficulty,
    /// Whether the miner's user agent tells its speed.
    pub known: bool,
}

impl Start {
    /// Chooses by the best there is: what was measured before, then what the miner asks for or
    /// claims, then what its user agent tells, then `otherwise`.
    ///
    /// Difficulties below 1 are for those known to be tiny and those that ask; on devnet and regtest,
    /// where everything is tiny, for all, and no user agent tells a speed.
    pub fn choose(about: &Introduction<'_>, network: Network, otherwise: Difficulty) -> Self {
        let tiny = matches!(network, Network::Devnet | Network::Regtest);
        let class = Class::of(about.user_agent).filter(|_| !tiny);
        let hashrate = about.hashrate.filter(|hashrate| HASHRATES.contains(hashrate));
        let difficulty = about
            .remembered
            .or(about.wish)
            .or(hashrate.map(Difficulty::for_hashrate))
            .or(class.map(|class| class.start))
            .unwrap_or(otherwise);
        let lowest = if tiny { Difficulty::MIN } else { Difficulty::ONE };
        let floor = class.map_or(lowest, |class| class.floor);
        Self { difficulty, floor: floor.min(difficulty), known: class.is_some() }
    }
}

/// The starting difficulty in a password: `d=`, `diff=` or `th=` anywhere, between commas, semicolons
/// or spaces, rounded down to a power of two.
pub fn password_difficulty(password: &str) -> Option<Difficulty> {
    password.split([',', ';', ' ']).find_map(|part| {
        let (key, wish) = part.split_once('=')?;
        let known = ["d", "diff", "th"].iter().any(|name| key.eq_ignore_ascii_case(name));
        let wish = known.then_some(wish).filter(|wish| wish.len() <= MAX_WISH_CHARS)?;
        wish.parse().ok().filter(|wish: &f64| wish.is_finite()).and_then(Difficulty::at_most)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERWISE: Difficulty = Difficulty::ONE;

    fn power(log2: i8) -> Difficulty {
        Difficulty::from_log2(log2).unwrap()
    }

    fn choose(about: Introduction<'_>) -> Start {
        Start::choose(&about, Network::Mainnet, OTHERWISE)
    }

    #[test]
    fn the_best_knowledge_counts() {
        let mut about = Introduction::default();
        assert_eq!(choose(about).difficulty, OTHERWISE);
        about.user_agent = "bitaxe/BM1370/v2.9.0";
        assert_eq!(choose(about).difficulty, power(9));
        about.hashrate = Some(4e12);
        assert_eq!(choose(about).difficulty, power(12));
        about.wish = Some(power(5));
        assert_eq!(choose(about).difficulty, power(5));
        about.remembered = Some(power(10));
        assert_eq!(choose(about).difficulty, power(10));
    }

    #[test]
    fn nonsense_about_the_hash_rate_says_nothing() {
        for hashrate in [0.0, -1.0, 1e30, f64::NAN, f64::INFINITY] {
            let about = Introduction { hashrate: Some(hashrate), ..Introduction::default() };
            assert_eq!(choose(about).difficulty, OTHERWISE, "{hashrate}");
        }
    }

    #[test]
    fn below_one_is_for_the_tiny_and_for_those_who_ask() {
        let floor = |about| choose(about).floor;
        let nobody = Introduction::default();
        assert_eq!(floor(nobody), Difficulty::ONE);
        assert_eq!(floor(Introduction { user_agent: "NerdMinerV2/V1.8.3", ..nobody }), Difficulty::MIN);
        assert_eq!(floor(Introduction { wish: Some(power(-5)), ..nobody }), power(-5));
        assert_eq!(floor(Introduction { hashrate: Some(1e7), ..nobody }), power(-7));
        assert_eq!(floor(Introduction { remembered: Some(power(-9)), ..nobody }), power(-9));
        assert!(floor(Introduction { user_agent: "bitaxe", ..nobody }) > Difficulty::ONE);
        for network in [Network::Devnet, Network::Regtest] {
            assert_eq!(Start::choose(&nobody, network, OTHERWISE).floor, Difficulty::MIN);
        }
    }

    #[test]
    fn a_password_may_carry_a_difficulty() {
        for (password, log2) in [
            ("d=512", 9),
            ("x,d=300", 8),
            ("x d=0.001", -10),
            ("x; diff=1024", 10),
            ("th=64,worker=7", 6),
            ("D=8", 3),
            ("id=5,d=2", 1),
            ("d=,d=4", 2),
            ("d=1e3", 9),
        ] {
            assert_eq!(password_difficulty(password), Some(power(log2)), "{password}");
        }
        for password in [
            "",
            "x",
            "d",
            "d=",
            "d=x",
            "d=-1",
            "d=0",
            "d=nan",
            "d=inf",
            "bad=5",
            "d =5",
            "d=11111111111111111",
        ] {
            assert_eq!(password_difficulty(password), None, "{password}");
        }
    }
}
