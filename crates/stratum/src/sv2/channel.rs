//! One mining channel: whose it is, what it was sent, what its shares are worth.

use std::sync::Arc;

use bitcoin::{BlockHash, Target, TxMerkleNode};
use poolbox_accounting::{Difficulty, Identity};

use crate::coinbase::{Coinbase, CoinbaseError};
use crate::extranonce::{Extranonce, Layout, MAX_MINER_BYTES};
use crate::job::Job;
use crate::payout::PayoutOutput;
use crate::sent::{SentJob, SentJobs};
use crate::session::Now;
use crate::share::{RejectReason, Submission};
use crate::sink::AcceptedShare;
use crate::vardiff::{Vardiff, VardiffLimits};

/// The version bits that Sv2 miners may roll: the general purpose bits of BIP 323.
pub(super) const VERSION_BITS: u32 = 0x1fff_ffe0;

const ZEROS: &[u8] = &[0; MAX_MINER_BYTES];

/// The two kinds of channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The miner rolls nothing of the coinbase: its jobs are headers.
    Standard,
    /// The miner rolls so many bytes of the coinbase.
    Extended(usize),
}

impl Kind {
    /// Bytes of both extranonces. A standard channel's are all the server's.
    pub const fn extranonce_bytes(self, layout: Layout) -> usize {
        match self {
            Self::Standard => layout.bytes(),
            Self::Extended(bytes) => layout.server_bytes() + bytes,
        }
    }
}

/// What a channel is opened with.
#[derive(Debug)]
pub(super) struct Terms {
    pub kind: Kind,
    pub identity: Arc<Identity>,
    pub payout: PayoutOutput,
    /// Chosen by the server; unique among all channels of the box.
    pub extranonce: Extranonce,
    pub vardiff: Vardiff,
    pub limits: VardiffLimits,
    /// What the miner says of itself, hashes a second.
    pub nominal: f32,
}

/// An open channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub id: u32,
    pub group: u32,
    pub kind: Kind,
    pub identity: Arc<Identity>,
    payout: PayoutOutput,
    extranonce: Extranonce,
    pub vardiff: Vardiff,
    limits: VardiffLimits,
    /// What it was told last.
    pub told: Difficulty,
    nominal: f32,
    pub sent: SentJobs,
    pub opened_ms: u64,
    /// When it was sent its last job …
    pub notified_ms: u64,
    /// … with which header time …
    notified_time: u32,
    /// … on which block.
    notified_tip: Option<BlockHash>,
    /// It was reported: it is a miner and no probe.
    pub known: bool,
    /// What was reported last as found to fit it.
    pub reported: Option<Difficulty>,
}

/// SubmitSharesStandard or SubmitSharesExtended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submitted<'a> {
    pub channel_id: u32,
    pub sequence_number: u32,
    pub job_id: u32,
    pub share: Submission,
    /// None on a standard channel.
    pub extranonce: Option<&'a [u8]>,
}

impl<'a> Submitted<'a> {
    /// Reads either message: six numbers, and on an extended channel a B0_32. By hand, because nearly
    /// every message that ever arrives is one of these.
    pub fn read(payload: &'a [u8], extended: bool) -> Option<Self> {
        let (numbers, rest) = payload.split_first_chunk::<24>()?;
        let number = |at: usize| {
            let bytes = numbers.get(at * 4..).and_then(|bytes| bytes.first_chunk());
            bytes.map(|bytes| u32::from_le_bytes(*bytes))
        };
        let extranonce = match rest.split_first() {
            // A later version of the protocol may add fields.
            Some((length, rest)) if extended && *length <= 32 => Some(rest.get(..usize::from(*length))?),
            _ if extended => return None,
            _ => None,
        };
        Some(Self {
            channel_id: number(0)?,
            sequence_number: number(1)?,
            job_id: number(2)?,
            share: Submission { nonce: number(3)?, time: number(4)?, version: number(5)? },
            extranonce,
        })
    }
}

impl Channel {
    /// A channel that is opened now, in this group.
    pub fn open(id: u32, group: u32, terms: Terms, now: Now) -> Self {
        let Terms { kind, identity, payout, extranonce, vardiff, limits, nominal } = terms;
        Self {
            id,
            group,
            kind,
            identity,
            payout,
            extranonce,
            told: vardiff.difficulty(),
            vardiff,
            limits,
            nominal,
            sent: SentJobs::default(),
            opened_ms: now.ms,
            notified_ms: now.ms,
            notified_time: 0,
            notified_tip: None,
            known: false,
            reported: None,
        }
    }

    /// The miner says that its hash rate changed, or what it can take.
    pub fn update(&mut self, nominal: f32, limits: VardiffLimits, now: Now) {
        self.limits = limits;
        // Measured shares know better than a repeated claim; a changed claim is news.
        if nominal > 0.0 && is_another_rate(self.nominal, nominal) {
            self.nominal = nominal;
            self.vardiff = Vardiff::new(Difficulty::for_hashrate(f64::from(nominal)), limits, now.ms);
        } else {
            self.vardiff.set_min(limits.min);
        }
    }

    /// Whether another difficulty was found to fit it than was reported.
    pub fn has_news(&self) -> bool {
        self.known && self.reported != self.vardiff.measured()
    }

    /// This channel's coinbase for a job.
    pub fn coinbase(&self, job: &Job) -> Result<Arc<Coinbase>, CoinbaseError> {
        job.coinbase(&self.payout, self.extranonce_bytes())
    }

    const fn extranonce_bytes(&self) -> usize {
        self.kind.extranonce_bytes(self.extranonce.layout())
    }

    /// What the server's part of the extranonce is, on the wire.
    pub fn extranonce_prefix(&self) -> Vec<u8> {
        let mut prefix = self.extranonce.server().to_vec();
        if self.kind == Kind::Standard {
            prefix.resize(self.extranonce_bytes(), 0);
        }
        prefix
    }

    /// What stands in a standard channel's coinbases where others have the miner's part.
    fn zeros(&self) -> &'static [u8] {
        ZEROS.get(..self.extranonce.layout().miner_bytes()).unwrap_or_default()
    }

    /// The merkle root of a standard channel's headers.
    pub fn root(&self, job: &Job, coinbase: &Coinbase) -> TxMerkleNode {
        job.template.merkle_root(coinbase.txid(self.extranonce.server(), self.zeros()))
    }

    /// The header time that a job begins with. On the same block never one that an earlier job began with:
    /// the miner begins its other counters anew, and another template may say the same.
    pub fn job_time(&self, job: &Job, now: Now) -> u32 {
        let fresh = now.unix.max(job.template.time);
        if self.notified_tip == Some(job.template.prev_hash) {
            fresh.max(self.notified_time.saturating_add(1))
        } else {
            fresh
        }
    }

    /// Notes a job as sent under `id`, at the channel's present difficulty.
    pub fn note_job(&mut self, id: u32, job: &Arc<Job>, coinbase: &Arc<Coinbase>, time: u32, now: Now) {
        self.notified_ms = now.ms;
        self.notified_time = time;
        self.notified_tip = Some(job.template.prev_hash);
        let mut sent = SentJob::new(id, Arc::clone(job), Arc::clone(coinbase), self.told);
        if self.kind == Kind::Standard {
            sent.root = Some(self.root(job, coinbase));
        }
        self.sent.add(sent);
    }

    /// What the vardiff wants, and never a share that is harder than a block; whether that is news to the
    /// miner.
    pub fn settle_difficulty(&mut self, hardest: Difficulty) -> bool {
        self.vardiff.set_max(self.limits.max.min(hardest));
        let news = self.told != self.vardiff.difficulty();
        self.told = self.vardiff.difficulty();
        news
    }

    /// Judges a share. The difficulty is that of its job.
    pub fn judge(
        &mut self,
        submitted: Submitted<'_>,
        now: Now,
    ) -> Result<(AcceptedShare, Difficulty), RejectReason> {
        let (sent, late) = self.sent.find(submitted.job_id, now.ms)?;
        let server = self.extranonce.server();
        let (root, miner) = match (self.kind, submitted.extranonce, sent.root) {
            (Kind::Standard, None, Some(root)) => (root, self.zeros()),
            (Kind::Extended(bytes), Some(miner), _) if miner.len() == bytes => {
                (sent.job.template.merkle_root(sent.coinbase.txid(server, miner)), miner)
            }
            (Kind::Extended(_), Some(_), _) => return Err(RejectReason::BadExtranonce),
            _ => return Err(RejectReason::Malformed),
        };
        let difficulty = sent.difficulty;
        let mask = VERSION_BITS & sent.job.version_mask;
        let solved = submitted.share.judge(&sent.job, root, difficulty.target(), mask, now.unix)?;
        let share = AcceptedShare::new(&self.identity, sent, &solved, late, (server, miner));
        let prev_hash = sent.job.template.prev_hash;
        if !self.sent.note_share(prev_hash, &solved) {
            return Err(RejectReason::Duplicate);
        }
        Ok((share, difficulty))
    }
}

/// Whether a hash rate is another: by half or more.
fn is_another_rate(before: f32, after: f32) -> bool {
    after > before * 1.5 || after < before / 1.5
}

/// Limits under which a miner is never sent an easier target than it can take.
pub(super) fn within(limits: VardiffLimits, max_target: Target) -> Option<VardiffLimits> {
    let mut min = limits.min;
    while min.target() > max_target {
        if min >= limits.max {
            return None;
        }
        min = min.harder();
    }
    Some(VardiffLimits { min, ..limits })
}
