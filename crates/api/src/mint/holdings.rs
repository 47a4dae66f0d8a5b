//! Whether anybody would lose something if this mint were replaced by another.

use poolbox_accounting::{Sats, Work};

use super::Status;

impl Status {
    /// What people have of this mint, in a sentence without its full stop; none while it is as good as new. Work that
    /// was credited and never signed for does not count.
    pub fn held(&self) -> Option<String> {
        let sats = &self.sats;
        let coins = [sats.reserve, sats.immature, sats.channel_reserve].map(Sats::get);
        let coins = coins.into_iter().fold(0, u64::saturating_add);
        let mut held = Vec::new();
        if coins > 0 {
            held.push(format!("its treasury has {coins} sat"));
        }
        if sats.outstanding > Sats::ZERO {
            held.push(format!("{} of its ecash are out", sats.outstanding));
        }
        if self.ehash.issued > Work::ZERO {
            held.push(format!("it has signed {} ehash", self.ehash.issued.ehash()));
        }
        (!held.is_empty()).then(|| held.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(sats: &str, amount: u64, issued: u64) -> Status {
        let mut totals = serde_json::Map::new();
        for name in [
            "reserve",
            "onchain",
            "lightning",
            "channel_reserve",
            "in_flight",
            "immature",
            "outstanding",
            "promised",
            "pending_out",
            "claims",
            "surplus",
            "redeemed",
            "received",
            "melted",
            "fees_paid",
        ] {
            totals.insert(name.to_owned(), if name == sats { amount } else { 0 }.into());
        }
        let status = serde_json::json!({
            "network": "devnet", "version": "0", "started_at": 1, "url": "", "ehash_url": "", "halted": null,
            "chain": { "height": 1, "hash": "", "connected": true }, "queue": { "cursor": 0, "waiting": 0 },
            "epoch": 1, "ehash": { "credited": 7, "issued": issued, "redeemed": 0 }, "sats": totals,
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn coins_and_ecash_are_held_and_credited_work_alone_is_not() {
        assert_eq!(status("reserve", 0, 0).held(), None);
        assert_eq!(status("immature", 5, 0).held().unwrap(), "its treasury has 5 sat");
        assert_eq!(status("channel_reserve", 5, 0).held().unwrap(), "its treasury has 5 sat");
        let both = status("outstanding", 5, 3).held().unwrap();
        assert_eq!(both, "5 sat of its ecash are out, it has signed 3 ehash");
    }
}
