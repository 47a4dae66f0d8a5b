//! A job: a template made ready for any number of miners.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bitcoin::Target;
use poolbox_work_source::Template;
use tokio::sync::watch;

use crate::coinbase::{Coinbase, CoinbaseError};
use crate::payout::PayoutOutput;

/// Number of a job. It starts at the time of the start, so that a firmware that remembers the last
/// job ids never takes a new job for an old one; 24 bits keep the ids short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobNumber(u32);

impl JobNumber {
    const MASK: u32 = 0x00ff_ffff;

    /// The first number of a process that started at `unix` seconds.
    pub const fn starting_at(unix: u64) -> Self {
        Self(unix as u32 & Self::MASK)
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self((self.0 + 1) & Self::MASK)
    }

    /// The number, below 2^24.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::LowerHex for JobNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// Coinbases that a job keeps. In mode solo, each user name that somebody makes up may want one.
const MAX_COINBASES: usize = 10_000;

/// Work for every miner: only whom the coinbase pays and the extranonces differ between them.
#[derive(Debug)]
pub struct Job {
    /// Its number.
    pub number: JobNumber,
    /// What it was made from.
    pub template: Arc<Template>,
    /// No share is harder than this. A hash at or below it is of use beyond the box: it solves the block or, in
    /// a job of an upstream pool, is a share there.
    pub hardest: Target,
    /// Version bits beyond these are the upstream's; all ones in a job of our own.
    pub version_mask: u32,
    /// When it was made, to tell how long it took to reach the miners.
    pub made: Instant,
    /// Built when first asked for: one in mode pool, one a miner in mode solo.
    coinbases: Mutex<HashMap<(PayoutOutput, usize), Arc<Coinbase>>>,
}

/// The newest job; `None` while there is nothing to mine.
pub type JobFeed = watch::Receiver<Option<Arc<Job>>>;

impl Job {
    /// The job of a template.
    pub fn new(number: JobNumber, template: Arc<Template>) -> Self {
        let (hardest, version_mask) = match &template.upstream {
            Some(upstream) => (upstream.target, upstream.version_mask),
            None => (Target::from_compact(template.bits), u32::MAX),
        };
        Self { number, template, hardest, version_mask, made: Instant::now(), coinbases: Mutex::default() }
    }

    /// The coinbase that pays `payout`, with room for so many bytes of extranonces. Every coinbase that
    /// is ever sent comes from here, read back and checked.
    ///
    /// # Errors
    /// [`CoinbaseError`]: nothing may be sent.
    pub fn coinbase(
        &self,
        payout: &PayoutOutput,
        extranonce_bytes: usize,
    ) -> Result<Arc<Coinbase>, CoinbaseError> {
        let mut coinbases = self.coinbases.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (payout.clone(), extranonce_bytes);
        if let Some(coinbase) = coinbases.get(&key) {
            return Ok(Arc::clone(coinbase));
        }
        let coinbase = Arc::new(Coinbase::build(&self.template, payout, extranonce_bytes)?);
        if coinbases.len() < MAX_COINBASES {
            coinbases.insert(key, Arc::clone(&coinbase));
        }
        Ok(coinbase)
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    //! A template like the ones a node gives, for the tests of this crate.

    use bitcoin::hashes::Hash;
    use bitcoin::{Amount, BlockHash, CompactTarget, ScriptBuf, TxMerkleNode, TxOut};
    use poolbox_accounting::Sats;
    use poolbox_work_source::upstream::UpstreamJob;
    use poolbox_work_source::{CoinbaseTemplate, TemplateId};

    use super::*;

    /// Network target of the tests: unreachable, so that shares are never blocks by accident.
    pub const HARD_BITS: u32 = 0x1703_4219;

    pub fn payout() -> PayoutOutput {
        PayoutOutput::new(ScriptBuf::from_bytes(vec![0x51]))
    }

    pub fn template() -> Template {
        Template {
            id: TemplateId::fresh(),
            version: 0x2000_0000,
            prev_hash: BlockHash::from_byte_array([0x11; 32]),
            bits: CompactTarget::from_consensus(HARD_BITS),
            time: 1_700_000_000,
            height: 840_000,
            coinbase: CoinbaseTemplate {
                tx_version: 2,
                script_prefix: vec![0x03, 0x40, 0xd1, 0x0c],
                sequence: 0xffff_fffe,
                value: Sats::new(312_500_000),
                outputs: vec![TxOut {
                    value: Amount::ZERO,
                    script_pubkey: ScriptBuf::from_bytes(
                        [vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed], vec![0x44; 32]].concat(),
                    ),
                }],
                lock_time: 839_999,
            },
            merkle_path: [[0x22; 32], [0x33; 32]].map(TxMerkleNode::from_byte_array).to_vec(),
            upstream: None,
        }
    }

    /// A template of an upstream pool that leaves so many bytes for extranonces, and whose shares are as hard
    /// as blocks.
    pub fn upstream_template(extranonce_bytes: usize, version_mask: u32) -> Template {
        let own = template();
        let coinbase = own.coinbase.transaction(&vec![0; 4 + extranonce_bytes], &[]);
        let mut coinbase = bitcoin::consensus::serialize(&bitcoin::Transaction {
            input: vec![bitcoin::TxIn { witness: bitcoin::Witness::new(), ..coinbase.input[0].clone() }],
            ..coinbase
        });
        let extranonce1 = 42 + own.coinbase.script_prefix.len();
        coinbase[extranonce1..extranonce1 + 4].copy_from_slice(&[0xe1; 4]);
        let upstream = UpstreamJob {
            id: "upstream-job".into(),
            coinbase_prefix: coinbase[..extranonce1 + 4].to_vec(),
            coinbase_suffix: coinbase[extranonce1 + 4 + extranonce_bytes..].to_vec(),
            extranonce_bytes,
            target: Target::from_compact(own.bits),
            version_mask,
            session: 1,
            era: 1,
        };
        Template { upstream: Some(Arc::new(upstream)), ..own }
    }

    pub fn job(template: Template) -> Arc<Job> {
        Arc::new(Job::new(JobNumber::starting_at(1), Arc::new(template)))
    }
}
