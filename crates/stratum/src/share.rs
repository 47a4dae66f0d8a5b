//! Validation of one submitted header: from the fields a miner sends to a verdict.

use std::fmt;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use poolbox_accounting::Difficulty;

use crate::coinbase::{EXTRANONCE1_BYTES, EXTRANONCE2_BYTES};
use crate::job::Job;

/// The version bits that miners may roll (BIP 320).
pub const VERSION_ROLLING_MASK: u32 = 0x1fff_e000;
/// How far in the future a header may be dated: Bitcoin Core's limit, in seconds.
const MAX_FUTURE_S: u32 = 2 * 60 * 60;

/// The server's and the miner's part, as they stand in the coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extranonce {
    /// Chosen by the server for the connection.
    pub server: [u8; EXTRANONCE1_BYTES],
    /// Rolled by the miner.
    pub miner: [u8; EXTRANONCE2_BYTES],
}

impl Extranonce {
    /// Both parts, as one run of bytes.
    pub fn bytes(self) -> [u8; EXTRANONCE1_BYTES + EXTRANONCE2_BYTES] {
        let mut bytes = [0; EXTRANONCE1_BYTES + EXTRANONCE2_BYTES];
        let (server, miner) = bytes.split_at_mut(EXTRANONCE1_BYTES);
        server.copy_from_slice(&self.server);
        miner.copy_from_slice(&self.miner);
        bytes
    }
}

/// The fields of a submitted share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Both extranonces.
    pub extranonce: Extranonce,
    /// Header time, Unix seconds.
    pub time: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Version bits that the miner rolled, within its mask; none when it rolls none.
    pub version_bits: Option<u32>,
}

/// Why a share is not accepted; counted per worker under its [`RejectReason::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// The job is of an earlier block, or unknown.
    Stale,
    /// The same header was accepted before.
    Duplicate,
    /// The hash is above the target that the job was sent with.
    AboveTarget,
    /// Header time before the template's minimum or too far in the future.
    BadTime,
    /// Version bits outside the negotiated mask.
    BadVersion,
    /// A field is missing or has the wrong form.
    Malformed,
    /// The user name was not authorised on this connection.
    Unauthorized,
    /// The share is fine but cannot be kept right now.
    NotKept,
}

impl RejectReason {
    /// Short name for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Duplicate => "duplicate",
            Self::AboveTarget => "above-target",
            Self::BadTime => "bad-time",
            Self::BadVersion => "bad-version",
            Self::Malformed => "malformed",
            Self::Unauthorized => "unauthorized",
            Self::NotKept => "not-kept",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "Stale share: its job is no longer valid",
            Self::Duplicate => "Duplicate share",
            Self::AboveTarget => "Low difficulty share: its hash is above the target of its job",
            Self::BadTime => "ntime out of range",
            Self::BadVersion => "Version bits outside the negotiated mask",
            Self::Malformed => "Malformed share",
            Self::Unauthorized => "Unauthorized worker: send mining.authorize first",
            Self::NotKept => "The share journal is not writable; the share was not counted",
        })
    }
}

/// A header that meets its share target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solved {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: BlockHash,
    /// Whether it also meets the network's target.
    pub block: bool,
}

impl Submission {
    /// Builds the header this stands for and judges it by the `difficulty` its job was sent with.
    /// `now` is Unix seconds, `mask` the version bits negotiated with this miner.
    ///
    /// # Errors
    /// [`RejectReason`]; duplicates are for the caller, who knows what was accepted before.
    pub fn judge(
        self,
        job: &Job,
        difficulty: Difficulty,
        mask: u32,
        now: u32,
    ) -> Result<Solved, RejectReason> {
        let template = &job.template;
        if self.time < template.time || self.time > now.saturating_add(MAX_FUTURE_S) {
            return Err(RejectReason::BadTime);
        }
        let bits = self.version_bits.unwrap_or(0);
        if bits & !mask != 0 {
            return Err(RejectReason::BadVersion);
        }
        let version = match self.version_bits {
            Some(bits) => (template.version & !mask) | bits,
            None => template.version,
        };
        let header =
            template.header(job.coinbase.txid(&self.extranonce.bytes()), version, self.time, self.nonce);
        let hash = header.block_hash();
        if !difficulty.target().is_met_by(hash) {
            return Err(RejectReason::AboveTarget);
        }
        Ok(Solved { header, hash, block: job.network_target.is_met_by(hash) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::fixture;

    const NOW: u32 = 1_700_000_500;

    fn submission(nonce: u32) -> Submission {
        let extranonce = Extranonce { server: [1, 2, 3, 4], miner: [0; 8] };
        Submission { extranonce, time: NOW, nonce, version_bits: None }
    }

    /// The easiest advertised target takes about a million hashes.
    fn find(job: &Job) -> Submission {
        let header = |nonce| submission(nonce).judge(job, Difficulty::MIN, 0, NOW);
        submission((0..).find(|&nonce| header(nonce).is_ok()).unwrap())
    }

    #[test]
    fn a_found_share_is_judged_by_the_hash_of_the_block_it_would_be() {
        let job = fixture::job(fixture::template());
        let share = find(&job);
        let solved = share.judge(&job, Difficulty::MIN, 0, NOW).unwrap();
        assert_eq!(solved.hash, solved.header.block_hash());
        assert!(!solved.block);
        // The header of the block that would be submitted.
        let full = job.coinbase.for_block(&share.extranonce.bytes()).unwrap();
        let coinbase: bitcoin::Transaction = bitcoin::consensus::deserialize(&full).unwrap();
        let header = job.template.header(coinbase.compute_txid(), job.template.version, NOW, share.nonce);
        assert_eq!(solved.header, header);

        let harder = Difficulty::ONE.harder().harder();
        assert_eq!(share.judge(&job, harder, 0, NOW), Err(RejectReason::AboveTarget));
    }

    #[test]
    fn a_hash_below_the_network_target_is_a_block() {
        let mut template = fixture::template();
        template.bits = Difficulty::MIN.target().to_compact_lossy();
        let job = fixture::job(template);
        assert!(find(&job).judge(&job, Difficulty::MIN, 0, NOW).unwrap().block);
    }

    #[test]
    fn time_and_version_bits_are_checked_exactly() {
        let job = fixture::job(fixture::template());
        let judge = |change: &dyn Fn(&mut Submission), mask| {
            let mut share = submission(0);
            change(&mut share);
            share.judge(&job, Difficulty::MIN, mask, NOW)
        };
        let at = |time| judge(&|share| share.time = time, 0);
        assert_eq!(at(job.template.time - 1), Err(RejectReason::BadTime));
        assert_ne!(at(job.template.time), Err(RejectReason::BadTime));
        assert_ne!(at(NOW + MAX_FUTURE_S), Err(RejectReason::BadTime));
        assert_eq!(at(NOW + MAX_FUTURE_S + 1), Err(RejectReason::BadTime));
        let rolled = |bits, mask| judge(&|share| share.version_bits = Some(bits), mask);
        assert_eq!(rolled(0x0000_2000, 0), Err(RejectReason::BadVersion));
        assert_eq!(rolled(0x2000_0000, VERSION_ROLLING_MASK), Err(RejectReason::BadVersion));
        assert_ne!(rolled(VERSION_ROLLING_MASK, VERSION_ROLLING_MASK), Err(RejectReason::BadVersion));
    }
}
