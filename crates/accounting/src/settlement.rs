//! Turning a closed epoch's ehash into sats, pro rata and rounded down.

use serde::{Deserialize, Serialize};

use crate::{Sats, Work};

/// Parts per million in a whole.
const MILLION: u32 = 1_000_000;

/// The pool's fee in parts per million of the reward (10,000 is 1 %).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct FeePpm(u32);

/// Why a rate cannot be formed or applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// The fee is more than the whole reward.
    #[error("fee_ppm = {0} is more than 1000000 (100 %)")]
    FeeAboveAll(u32),
    /// No work was credited in the epoch, so nothing can be redeemed from it.
    #[error("the epoch holds no work")]
    NoWork,
    /// More ehash is presented than the epoch's whole work.
    #[error("{amount} is more than the epoch's whole work of {work}")]
    MoreThanWork {
        /// What was presented.
        amount: Work,
        /// What the epoch holds.
        work: Work,
    },
}

impl FeePpm {
    /// A fee of `ppm` parts per million.
    ///
    /// # Errors
    /// [`SettlementError::FeeAboveAll`] above 1,000,000.
    pub const fn new(ppm: u32) -> Result<Self, SettlementError> {
        if ppm > MILLION { Err(SettlementError::FeeAboveAll(ppm)) } else { Ok(Self(ppm)) }
    }

    /// Parts per million.
    pub const fn ppm(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for FeePpm {
    type Error = SettlementError;

    fn try_from(ppm: u32) -> Result<Self, SettlementError> {
        Self::new(ppm)
    }
}

impl From<FeePpm> for u32 {
    fn from(fee: FeePpm) -> Self {
        fee.0
    }
}

/// What one epoch pays: its whole reward for its whole work, less the fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    reward: Sats,
    work: Work,
    fee: FeePpm,
}

impl Rate {
    /// The rate of an epoch with `reward` R and total `work` W.
    ///
    /// # Errors
    /// [`SettlementError::NoWork`] when W is zero.
    pub fn new(reward: Sats, work: Work, fee: FeePpm) -> Result<Self, SettlementError> {
        if work == Work::ZERO { Err(SettlementError::NoWork) } else { Ok(Self { reward, work, fee }) }
    }

    /// What a holder of `amount` receives: `floor(a × R × (1 − fee) / W)`, the fee taken first and
    /// rounded in the reserve's favour, so that payments never sum to more than [`Self::payable`].
    ///
    /// # Errors
    /// [`SettlementError::MoreThanWork`] when `amount` exceeds W.
    pub fn redeem(self, amount: Work) -> Result<Sats, SettlementError> {
        if amount > self.work {
            return Err(SettlementError::MoreThanWork { amount, work: self.work });
        }
        let product = u128::from(amount.ehash()) * u128::from(self.payable().get());
        let sats = product / u128::from(self.work.ehash());
        // amount ≤ W, so the quotient is at most the payable reward and fits.
        Ok(Sats::new(u64::try_from(sats).unwrap_or(u64::MAX)))
    }

    /// The part of the reward that holders share: `floor(R × (1 − fee))`.
    pub fn payable(self) -> Sats {
        let kept = u128::from(MILLION - self.fee.0);
        let sats = u128::from(self.reward.get()) * kept / u128::from(MILLION);
        Sats::new(u64::try_from(sats).unwrap_or(u64::MAX))
    }

    /// R: everything the epoch's payouts brought.
    pub const fn reward(self) -> Sats {
        self.reward
    }

    /// W: everything credited in the epoch.
    pub const fn work(self) -> Work {
        self.work
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any split of W into holdings, as cut points.
    fn holdings(work: u64, mut cuts: Vec<u64>) -> Vec<u64> {
        cuts.iter_mut().for_each(|cut| *cut %= work + 1);
        cuts.sort_unstable();
        let mut from = 0;
        let mut parts: Vec<u64> = cuts
            .into_iter()
            .map(|cut| {
                let part = cut - from;
                from = cut;
                part
            })
            .collect();
        parts.push(work - from);
        parts
    }

    proptest! {
        #[test]
        fn payments_never_exceed_the_reward_and_dust_is_less_than_a_sat_a_holder(
            reward in 0u64..=2_100_000_000_000_000,
            work in 1u64..=u64::MAX,
            fee in 0u32..=1_000_000,
            cuts in prop::collection::vec(any::<u64>(), 0..40),
        ) {
            let rate = Rate::new(Sats::new(reward), Work::from_ehash(work), FeePpm::new(fee).unwrap()).unwrap();
            let parts = holdings(work, cuts);
            let paid: u64 = parts.iter().map(|&part| rate.redeem(Work::from_ehash(part)).unwrap().get()).sum();
            let payable = rate.payable().get();
            prop_assert!(payable <= reward);
            prop_assert!(paid <= payable);
            prop_assert!(payable - paid < parts.len() as u64, "dust {} of {} holders", payable - paid, parts.len());
        }

        #[test]
        fn one_holder_of_everything_gets_everything(reward in 0u64..=2_100_000_000_000_000, work in 1u64..=u64::MAX) {
            let rate = Rate::new(Sats::new(reward), Work::from_ehash(work), FeePpm::default()).unwrap();
            prop_assert_eq!(rate.redeem(Work::from_ehash(work)), Ok(Sats::new(reward)));
        }

        #[test]
        fn splitting_a_holding_never_gains(
            reward in 0u64..=2_100_000_000_000_000, work in 1u64..=u64::MAX, a in any::<u64>(), b in any::<u64>(),
        ) {
            let rate = Rate::new(Sats::new(reward), Work::from_ehash(work), FeePpm::default()).unwrap();
            let a = a % work;
            let b = b % (work - a);
            let redeem = |ehash| rate.redeem(Work::from_ehash(ehash)).unwrap().get();
            prop_assert!(redeem(a) + redeem(b) <= redeem(a + b));
        }

        /// Nothing but the amount decides: neither who comes first, nor what was redeemed before.
        #[test]
        fn the_order_of_redeeming_changes_nothing(
            reward in any::<u64>(),
            work in 1u64..=u64::MAX,
            fee in 0u32..=1_000_000,
            cuts in prop::collection::vec(any::<u64>(), 0..40),
            turn in any::<prop::sample::Index>(),
        ) {
            let rate = Rate::new(Sats::new(reward), Work::from_ehash(work), FeePpm::new(fee).unwrap()).unwrap();
            let mut parts = holdings(work, cuts);
            let redeem = |parts: &[u64]| -> Vec<u64> {
                parts.iter().map(|&part| rate.redeem(Work::from_ehash(part)).unwrap().get()).collect()
            };
            let mut paid = redeem(&parts);
            let turn = turn.index(parts.len());
            parts.rotate_left(turn);
            paid.rotate_left(turn);
            prop_assert_eq!(redeem(&parts), paid.clone());
            // As the mint sums them: no sum on the way is above what can be paid, nor overflows.
            let mut sum = Some(0u64);
            for part in paid {
                sum = sum.and_then(|sum| sum.checked_add(part));
                prop_assert!(sum.is_some_and(|sum| sum <= rate.payable().get()));
            }
        }
    }

    #[test]
    fn more_than_the_epoch_holds_is_refused() {
        let rate = Rate::new(Sats::new(1000), Work::from_ehash(10), FeePpm::default()).unwrap();
        assert!(matches!(rate.redeem(Work::from_ehash(11)), Err(SettlementError::MoreThanWork { .. })));
        assert_eq!(Rate::new(Sats::new(1), Work::ZERO, FeePpm::default()), Err(SettlementError::NoWork));
        assert!(FeePpm::new(1_000_001).is_err());
    }
}
