//! The difficulty of an upstream pool as a target. The only place of a floating-point number: the protocol
//! has no other way to say it.

use bitcoin::Target;

/// Bits of a double's fraction.
const FRACTION_BITS: u32 = 52;
/// Below the exact target by 2^-40 of it: whoever compares with rounded numbers comes to the same verdict.
const MARGIN_BITS: u32 = 40;

/// The largest hash that surely is a share at `difficulty`: the target of difficulty 1, 0xffff × 2^208,
/// divided by it and rounded down, less a margin of 2^-40 of itself (a share in a million million is not
/// handed on) for pools that compare difficulties as floating-point numbers. The largest number there is
/// where it would be beyond. None for what is no positive number, or so hard that no hash is low enough.
pub fn target_of(difficulty: f64) -> Option<Target> {
    if !difficulty.is_finite() || difficulty <= 0.0 {
        return None;
    }
    // difficulty = odd × 2^exponent, exactly.
    let bits = difficulty.to_bits();
    let biased = (bits >> FRACTION_BITS) & 0x7ff;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    let (mantissa, biased) =
        if biased == 0 { (fraction, 1) } else { (fraction | 1 << FRACTION_BITS, biased) };
    let exponent = i32::try_from(biased).ok()? - 1023 - FRACTION_BITS.cast_signed();
    // 0xffff × 2^shift / mantissa, bit by bit.
    let shift = u32::try_from(208 - exponent).ok()?;
    let divisor = u128::from(mantissa);
    let (mut rest, mut quotient) = (u128::from(0xffff_u32), Wide::ZERO);
    quotient.low = rest / divisor;
    rest %= divisor;
    for _ in 0..shift {
        rest <<= 1;
        let bit = rest >= divisor;
        if bit {
            rest -= divisor;
        }
        let Some(doubled) = quotient.doubled(bit) else { return Some(Target::from_be_bytes([0xff; 32])) };
        quotient = doubled;
    }
    let target = quotient.less_margin();
    (target != Wide::ZERO).then(|| Target::from_be_bytes(target.to_be_bytes()))
}

/// A number of 256 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Wide {
    high: u128,
    low: u128,
}

impl Wide {
    const ZERO: Self = Self { high: 0, low: 0 };

    /// Twice this, and a bit; none beyond 256 bits.
    fn doubled(self, bit: bool) -> Option<Self> {
        (self.high >> 127 == 0)
            .then(|| Self { high: self.high << 1 | self.low >> 127, low: self.low << 1 | u128::from(bit) })
    }

    fn less_margin(self) -> Self {
        let margin = Self {
            high: self.high >> MARGIN_BITS,
            low: self.low >> MARGIN_BITS | self.high << (128 - MARGIN_BITS),
        };
        let (low, borrowed) = self.low.overflowing_sub(margin.low);
        Self { high: self.high - margin.high - u128::from(borrowed), low }
    }

    fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (high, low) = bytes.split_at_mut(16);
        high.copy_from_slice(&self.high.to_be_bytes());
        low.copy_from_slice(&self.low.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use poolbox_accounting::Difficulty;
    use proptest::prelude::*;

    use super::*;

    /// How a target stands to difficulty 1, as pools reckon it.
    fn difficulty_of(target: Target) -> f64 {
        let number = |bytes: &[u8]| bytes.iter().fold(0.0, |number, &byte| number * 256.0 + f64::from(byte));
        number(&Target::MAX.to_be_bytes()) / number(&target.to_be_bytes())
    }

    #[test]
    fn powers_of_two_lose_only_the_margin() {
        for log2 in -12..=48 {
            let difficulty = Difficulty::from_log2(log2).unwrap();
            let target = target_of(difficulty.as_f64()).unwrap();
            assert!(target < difficulty.target());
            assert_eq!(Difficulty::not_above(target), difficulty, "the miners may work as hard");
            let ratio = difficulty_of(target) / difficulty.as_f64();
            assert!((1.0..1.0 + 1e-11).contains(&ratio), "{difficulty}: {ratio}");
        }
    }

    #[test]
    fn what_is_no_difficulty_has_no_target() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 1e80] {
            assert_eq!(target_of(wrong), None, "{wrong}");
        }
        for free in [f64::MIN_POSITIVE, 5e-324, 1e-20] {
            assert_eq!(target_of(free).map(|target| target.to_be_bytes()), Some([0xff; 32]), "{free}");
        }
    }

    proptest! {
        /// Whatever the difficulty, a hash at the target is a share there, and little is lost.
        #[test]
        fn a_target_is_never_too_easy(difficulty in prop::num::f64::POSITIVE | prop::num::f64::NORMAL) {
            match target_of(difficulty) {
                Some(target) if target.to_be_bytes() != [0xff; 32] => {
                    prop_assert!(difficulty_of(target) >= difficulty);
                    // Where the target is so small that a step of it matters, more is lost.
                    if target.to_be_bytes()[..16] != [0; 16] {
                        prop_assert!(difficulty_of(target) <= difficulty * (1.0 + 1e-11));
                    }
                }
                Some(_) => prop_assert!(difficulty < 1e-9),
                None => prop_assert!(difficulty <= 0.0 || difficulty > 1e60),
            }
        }
    }
}
