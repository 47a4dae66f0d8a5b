//! Whether anybody would lose something if this mint were replaced by another.

use poolbox_accounting::{Sats, Work};

use super::{Ehash, SatTotals, Status};

impl Status {
    /// What people have of this mint, in a sentence without its full stop; none while it is as good as new. Work that
    /// was credited and never signed for does not count.
    pub fn held(&self) -> Option<String> {
        held(&self.sats, &self.ehash)
    }
}

fn held(sats: &SatTotals, ehash: &Ehash) -> Option<String> {
    let coins = [sats.reserve, sats.immature, sats.channel_reserve].map(Sats::get);
    let coins = coins.into_iter().fold(0, u64::saturating_add);
    let mut held = Vec::new();
    if coins > 0 {
        held.push(format!("its treasury has {coins} sat"));
    }
    if sats.outstanding > Sats::ZERO {
        held.push(format!("{} of its ecash are out", sats.outstanding));
    }
    if ehash.issued > Work::ZERO {
        held.push(format!("it has signed {} ehash", ehash.issued.ehash()));
    }
    (!held.is_empty()).then(|| held.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_and_ecash_are_held_and_credited_work_alone_is_not() {
        let five = Sats::new(5);
        let ehash = |issued| Ehash {
            credited: Work::from_ehash(7),
            issued: Work::from_ehash(issued),
            ..Ehash::default()
        };
        assert_eq!(held(&SatTotals::default(), &ehash(0)), None);
        for coins in [
            SatTotals { reserve: five, ..SatTotals::default() },
            SatTotals { immature: five, ..SatTotals::default() },
            SatTotals { channel_reserve: five, ..SatTotals::default() },
        ] {
            assert_eq!(held(&coins, &ehash(0)).unwrap(), "its treasury has 5 sat");
        }
        let out = SatTotals { outstanding: five, ..SatTotals::default() };
        assert_eq!(held(&out, &ehash(3)).unwrap(), "5 sat of its ecash are out, it has signed 3 ehash");
    }
}
