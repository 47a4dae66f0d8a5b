//! Validation of one submitted header: from the fields a miner sends to a verdict.

use std::fmt;

use bitcoin::block::Header;
use bitcoin::{BlockHash, Target, TxMerkleNode};

use crate::job::Job;

/// The version bits that miners may roll (BIP 320).
pub const VERSION_ROLLING_MASK: u32 = 0x1fff_e000;
/// How far in the future a header may be dated: Bitcoin Core's limit, in seconds.
const MAX_FUTURE_S: u32 = 2 * 60 * 60;

/// The fields of a submitted share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Header time, Unix seconds.
    pub time: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header version, with the bits that the miner rolled.
    pub version: u32,
}

/// Why a share is not accepted; counted per worker under its [`RejectReason::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// The job is of an earlier block, or long past.
    Stale,
    /// No job by that id was sent.
    UnknownJob,
    /// The same header was accepted before.
    Duplicate,
    /// The hash is above the target that the job was sent with.
    AboveTarget,
    /// Header time before the template's minimum or too far in the future.
    BadTime,
    /// Version bits outside the negotiated mask.
    BadVersion,
    /// The extranonce does not have the size that was agreed on.
    BadExtranonce,
    /// A field is missing or has the wrong form.
    Malformed,
    /// The user name was not authorised on this connection, or no such channel is open.
    Unauthorized,
    /// The share is fine but cannot be kept right now.
    NotKept,
}

impl RejectReason {
    /// Short name for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::UnknownJob => "unknown-job",
            Self::Duplicate => "duplicate",
            Self::AboveTarget => "above-target",
            Self::BadTime => "bad-time",
            Self::BadVersion => "bad-version",
            Self::BadExtranonce => "bad-extranonce",
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
            Self::UnknownJob => "Unknown job: no job by that id was sent on this connection",
            Self::Duplicate => "Duplicate share",
            Self::AboveTarget => "Low difficulty share: its hash is above the target of its job",
            Self::BadTime => "ntime out of range",
            Self::BadVersion => "Version bits outside the negotiated mask",
            Self::BadExtranonce => "Extranonce2 of the wrong size",
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
    /// Whether it also meets the hardest target of its job, and so is of use beyond the box.
    pub outgoing: bool,
}

impl Submission {
    /// Builds the header this stands for and judges it by the `target` its job was sent with. `root` is
    /// the merkle root with the coinbase of this share; `mask` the version bits negotiated with this
    /// miner; `now` Unix seconds.
    ///
    /// # Errors
    /// [`RejectReason`]; duplicates are for the caller, who knows what was accepted before.
    pub fn judge(
        self,
        job: &Job,
        root: TxMerkleNode,
        target: Target,
        mask: u32,
        now: u32,
    ) -> Result<Solved, RejectReason> {
        let template = &job.template;
        if self.time < template.time || self.time > now.saturating_add(MAX_FUTURE_S) {
            return Err(RejectReason::BadTime);
        }
        if (self.version ^ template.version) & !mask != 0 {
            return Err(RejectReason::BadVersion);
        }
        let header = template.header_with_root(root, self.version, self.time, self.nonce);
        let hash = header.block_hash();
        if !target.is_met_by(hash) {
            return Err(RejectReason::AboveTarget);
        }
        Ok(Solved { header, hash, outgoing: job.hardest.is_met_by(hash) })
    }
}

#[cfg(test)]
mod tests {
    use poolbox_accounting::Difficulty;

    use super::*;
    use crate::job::fixture;

    const NOW: u32 = 1_700_000_500;
    const SERVER: [u8; 4] = [1, 2, 3, 4];
    const MINER: [u8; 8] = [0; 8];

    fn submission(nonce: u32) -> Submission {
        Submission { time: NOW, nonce, version: 0x2000_0000 }
    }

    fn root(job: &Job) -> TxMerkleNode {
        let coinbase = job.coinbase(&fixture::payout(), 12).unwrap();
        job.template.merkle_root(coinbase.txid(&SERVER, &MINER))
    }

    fn judge(
        job: &Job,
        share: Submission,
        difficulty: Difficulty,
        mask: u32,
    ) -> Result<Solved, RejectReason> {
        share.judge(job, root(job), difficulty.target(), mask, NOW)
    }

    /// The easiest advertised target takes about a million hashes.
    fn find(job: &Job) -> Submission {
        let (root, target) = (root(job), Difficulty::MIN.target());
        submission((0..).find(|&nonce| submission(nonce).judge(job, root, target, 0, NOW).is_ok()).unwrap())
    }

    #[test]
    fn a_found_share_is_judged_by_the_hash_of_the_block_it_would_be() {
        let job = fixture::job(fixture::template());
        let share = find(&job);
        let solved = judge(&job, share, Difficulty::MIN, 0).unwrap();
        assert_eq!(solved.hash, solved.header.block_hash());
        assert!(!solved.outgoing);
        // The header of the block that would be submitted.
        let full = job.coinbase(&fixture::payout(), 12).unwrap().for_block(&SERVER, &MINER).unwrap();
        let coinbase: bitcoin::Transaction = bitcoin::consensus::deserialize(&full).unwrap();
        let header = job.template.header(coinbase.compute_txid(), job.template.version, NOW, share.nonce);
        assert_eq!(solved.header, header);

        let harder = Difficulty::ONE.harder().harder();
        assert_eq!(judge(&job, share, harder, 0), Err(RejectReason::AboveTarget));
    }

    #[test]
    fn a_hash_below_the_network_target_is_a_block() {
        let mut template = fixture::template();
        template.bits = Difficulty::MIN.target().to_compact_lossy();
        let job = fixture::job(template);
        assert!(judge(&job, find(&job), Difficulty::MIN, 0).unwrap().outgoing);
    }

    #[test]
    fn time_and_version_bits_are_checked_exactly() {
        let job = fixture::job(fixture::template());
        let at = |time| judge(&job, Submission { time, ..submission(0) }, Difficulty::MIN, 0);
        assert_eq!(at(job.template.time - 1), Err(RejectReason::BadTime));
        assert_ne!(at(job.template.time), Err(RejectReason::BadTime));
        assert_ne!(at(NOW + MAX_FUTURE_S), Err(RejectReason::BadTime));
        assert_eq!(at(NOW + MAX_FUTURE_S + 1), Err(RejectReason::BadTime));
        let rolled = |bits, mask| {
            let version = job.template.version ^ bits;
            judge(&job, Submission { version, ..submission(0) }, Difficulty::MIN, mask)
        };
        assert_eq!(rolled(0x0000_2000, 0), Err(RejectReason::BadVersion));
        assert_eq!(rolled(0x2000_0000, VERSION_ROLLING_MASK), Err(RejectReason::BadVersion));
        assert_ne!(rolled(VERSION_ROLLING_MASK, VERSION_ROLLING_MASK), Err(RejectReason::BadVersion));
    }
}
