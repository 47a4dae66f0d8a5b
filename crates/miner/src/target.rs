//! The number that a share's hash must not exceed.

/// A 256-bit target, most significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target([u8; 32]);

/// The difficulty-1 target is this number times 2^208.
const DIFFICULTY_ONE: u128 = 0xffff;

impl Target {
    /// Met by no hash that anybody will find.
    pub const UNREACHABLE: Self = Self([0; 32]);

    /// The target of a pool's difficulty: difficulty 1's, divided by it. Rounded down, so that no
    /// share is sent which the pool might find too easy; exact for powers of two. `None` unless
    /// the difficulty is a positive number.
    pub fn of_difficulty(difficulty: f64) -> Option<Self> {
        if !difficulty.is_normal() || difficulty < 0.0 {
            return None;
        }
        // difficulty = mantissa × 2^exponent, the mantissa having 53 bits.
        let bits = difficulty.to_bits();
        let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
        let exponent = (bits >> 52) as i32 - 1075;
        // target = 0xffff × 2^112 / mantissa × 2^(96 − exponent).
        let quotient = (DIFFICULTY_ONE << 112) / u128::from(mantissa);
        Some(Self::shifted(quotient, 96 - exponent))
    }

    /// The target of a header's compact form, which is positive (Bitcoin's `nBits`).
    pub fn of_bits(bits: u32) -> Self {
        // Mantissa times 256 to the power of the first byte, less 3.
        let exponent = 8 * ((bits >> 24) as i32 - 3);
        Self::shifted(u128::from(bits & 0x007f_ffff), exponent)
    }

    /// A target whose bytes come least significant first.
    pub fn from_le_bytes(mut bytes: [u8; 32]) -> Self {
        bytes.reverse();
        Self(bytes)
    }

    /// Its difficulty, for people: how many times harder than the target of difficulty 1.
    pub fn difficulty(&self) -> f64 {
        let target = self.0.iter().fold(0.0, |number, &byte| number * 256.0 + f64::from(byte));
        (DIFFICULTY_ONE as f64) * 208f64.exp2() / target
    }

    /// Whether a hash is a share under this target. `hash` as it comes out of SHA-256: least
    /// significant byte first.
    pub fn is_met_by(&self, hash: &[u8; 32]) -> bool {
        hash.iter().rev().le(self.0.iter())
    }

    /// The 32 most significant bits, to sort out nearly every hash at once.
    pub fn top(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// `number × 2^shift`, rounded down, or the largest target where it does not fit.
    fn shifted(number: u128, shift: i32) -> Self {
        let mut bytes = [0; 32];
        for bit in (0..128).filter(|bit| number >> bit & 1 == 1) {
            match usize::try_from(bit + shift) {
                Ok(place) if place < 256 => bytes[31 - place / 8] |= 1 << (place % 8),
                Ok(_) => return Self([0xff; 32]),
                Err(_) => {}
            }
        }
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Target as BitcoinTarget;

    use super::*;

    fn target(difficulty: f64) -> BitcoinTarget {
        BitcoinTarget::from_be_bytes(Target::of_difficulty(difficulty).unwrap().0)
    }

    #[test]
    fn powers_of_two_are_exact() {
        assert_eq!(target(1.0), BitcoinTarget::MAX);
        for exponent in 0..40 {
            let mut halved = BitcoinTarget::MAX.to_be_bytes();
            for _ in 0..exponent {
                let mut carry = 0;
                for byte in &mut halved {
                    (*byte, carry) = (*byte >> 1 | carry << 7, *byte & 1);
                }
            }
            assert_eq!(target(f64::from(exponent).exp2()), BitcoinTarget::from_be_bytes(halved));
        }
        // 2^-12: the target is twelve bits longer.
        assert_eq!(hex::encode(&target(0.000244140625).to_be_bytes()[..8]), "00000ffff0000000");
    }

    #[test]
    fn a_target_knows_its_difficulty() {
        for difficulty in [1.0, 0.000244140625, 4096.0] {
            assert_eq!(Target::of_difficulty(difficulty).unwrap().difficulty(), difficulty);
        }
        assert_eq!(Target::UNREACHABLE.difficulty(), f64::INFINITY);
    }

    #[test]
    fn the_compact_form_is_read_as_the_network_reads_it() {
        for bits in [0x1d00_ffff, 0x1e03_77ae, 0x207f_ffff, 0x1702_0000, 0x0300_0001] {
            let expected = BitcoinTarget::from_compact(bitcoin::CompactTarget::from_consensus(bits));
            assert_eq!(Target::of_bits(bits), Target::from_le_bytes(expected.to_le_bytes()));
        }
    }

    #[test]
    fn fractions_are_never_easier_than_asked() {
        for difficulty in [0.00015, 0.001, 0.3, 3.0, 1000.0, 123_456.789, 1e12] {
            assert!(target(difficulty).difficulty_float() >= difficulty * (1.0 - 1e-12), "{difficulty}");
            assert!(target(difficulty).difficulty_float() <= difficulty * (1.0 + 1e-12), "{difficulty}");
        }
    }

    #[test]
    fn extremes_are_bounded_and_nonsense_is_refused() {
        assert_eq!(Target::of_difficulty(1e-300), Some(Target([0xff; 32])));
        assert_eq!(Target::of_difficulty(1e300), Some(Target::UNREACHABLE));
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Target::of_difficulty(nonsense), None);
        }
    }

    #[test]
    fn a_hash_equal_to_the_target_meets_it() {
        let target = Target::of_difficulty(1.0).unwrap();
        let mut hash = target.0;
        hash.reverse();
        assert!(target.is_met_by(&hash));
        hash[0] += 1;
        assert!(!target.is_met_by(&hash));
    }
}
