//! The coinbase transaction of a job: built once, cut where the extranonces go, and read back before
//! anybody is sent it.

use std::fmt;
use std::sync::OnceLock;

use bitcoin::consensus::encode;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::script::{PushBytesBuf, ScriptBuf};
use bitcoin::{Amount, Transaction, TxOut, Txid, Witness};
use poolbox_work_source::Template;
use poolbox_work_source::upstream::UpstreamJob;

use crate::extranonce::pad;
use crate::payout::PayoutOutput;

/// The most that a Sv2 miner may ask for: a proxy that shares them out among many.
pub const MAX_MINER_EXTRANONCE_BYTES: usize = 28;
/// What the box writes into the blocks it finds.
pub const POOL_TAG: &[u8] = b"/poolbox/";
/// Consensus limit of a coinbase's script.
const MAX_SCRIPT_BYTES: usize = 100;

/// A coinbase cut around its extranonces, in the serialisation without witness whose hash is the
/// transaction id (BIP 141).
#[derive(Clone)]
pub struct Coinbase {
    prefix: Box<[u8]>,
    suffix: Box<[u8]>,
    witness: Witness,
    extranonce_bytes: usize,
    /// Bytes at the end of the prefix that are a part of the upstream's extranonce2.
    pad_bytes: usize,
    /// SHA-256 after the prefix, where the hash of every share goes on.
    after_prefix: sha256::HashEngine,
    /// See [`Self::sv1_fields`].
    sv1_fields: OnceLock<Box<str>>,
    /// See [`Self::sv2_fields`].
    sv2_fields: OnceLock<Box<[u8]>>,
}

/// Why a template gives no coinbase that may be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoinbaseError {
    /// The template's own script leaves no room.
    #[error("the coinbase script would have {0} bytes, {MAX_SCRIPT_BYTES} are allowed")]
    ScriptTooLong(usize),
    /// The cut would not be where the extranonces are.
    #[error("the coinbase does not hold the extranonces where they were put")]
    Misplaced,
    /// The upstream pool leaves less room for extranonces than this miner was promised.
    #[error("the upstream pool leaves less room for extranonces than this connection was promised")]
    NoRoom,
    /// What was read back is not what was wanted.
    #[error("the coinbase of the next job does not do what the settings say: {0}")]
    Mismatch(&'static str),
}

impl Coinbase {
    /// The coinbase that pays everything `template` yields to `payout`, or the upstream's that `template`
    /// brings, with room for so many bytes of extranonces. It is checked by reading it back.
    ///
    /// # Errors
    /// [`CoinbaseError`].
    pub fn build(
        template: &Template,
        payout: &PayoutOutput,
        extranonce_bytes: usize,
    ) -> Result<Self, CoinbaseError> {
        let hole = vec![0; extranonce_bytes];
        let script = match (payout.script(), &template.upstream) {
            (Some(script), None) => script,
            (None, Some(upstream)) => {
                let coinbase = Self::of_upstream(upstream, extranonce_bytes)?;
                check(&coinbase.with_extranonce(&hole), template, payout)?;
                return Ok(coinbase);
            }
            (Some(_), Some(_)) => return Err(CoinbaseError::Mismatch("an upstream pool made it")),
            (None, None) => return Err(CoinbaseError::Mismatch("no upstream pool made it")),
        };
        let payouts = [TxOut {
            value: Amount::from_sat(template.coinbase.value.get()),
            script_pubkey: script.to_owned(),
        }];
        // Pushed, not bare: the bytes of an extranonce then never count as signature operations.
        let script = [push(POOL_TAG), push(&hole)].concat();
        let script_bytes = template.coinbase.script_prefix.len() + script.len();
        if script_bytes > MAX_SCRIPT_BYTES {
            return Err(CoinbaseError::ScriptTooLong(script_bytes));
        }
        let full = template.coinbase.transaction(&script, &payouts);
        let witness = full.input.first().map(|input| input.witness.clone()).unwrap_or_default();
        let bytes = encode::serialize(&without_witness(full));
        // version (4), number of inputs (1), outpoint (36), length of the script (1): it is below 253.
        let cut = 42 + script_bytes - extranonce_bytes;
        let (prefix, rest) = bytes.split_at_checked(cut).ok_or(CoinbaseError::Misplaced)?;
        let (middle, suffix) = rest.split_at_checked(extranonce_bytes).ok_or(CoinbaseError::Misplaced)?;
        if middle != hole || prefix.last().copied().map(usize::from) != Some(extranonce_bytes) {
            return Err(CoinbaseError::Misplaced);
        }
        let coinbase = Self::cut(prefix, suffix, witness, extranonce_bytes);
        check(&coinbase.with_extranonce(&hole), template, payout)?;
        Ok(coinbase)
    }

    /// The coinbase of an upstream's job. The pad is of our making; a miner sees it as a part of the prefix.
    fn of_upstream(job: &UpstreamJob, extranonce_bytes: usize) -> Result<Self, CoinbaseError> {
        let pad = pad(job.extranonce_bytes, extranonce_bytes).ok_or(CoinbaseError::NoRoom)?;
        let prefix = [&job.coinbase_prefix, &*pad].concat();
        let cut = Self::cut(&prefix, &job.coinbase_suffix, Witness::new(), extranonce_bytes);
        Ok(Self { pad_bytes: pad.len(), ..cut })
    }

    fn cut(prefix: &[u8], suffix: &[u8], witness: Witness, extranonce_bytes: usize) -> Self {
        let mut after_prefix = sha256::HashEngine::default();
        after_prefix.input(prefix);
        Self {
            prefix: prefix.into(),
            suffix: suffix.into(),
            witness,
            extranonce_bytes,
            pad_bytes: 0,
            after_prefix,
            sv1_fields: OnceLock::new(),
            sv2_fields: OnceLock::new(),
        }
    }

    /// Everything before the extranonces: `coinb1` of `mining.notify`, `coinbase_tx_prefix` of Sv2.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Everything after the extranonces: `coinb2` of `mining.notify`, `coinbase_tx_suffix` of Sv2.
    pub fn suffix(&self) -> &[u8] {
        &self.suffix
    }

    /// The job as Sv1 writes it, the same for every miner with this coinbase: written once.
    pub(crate) fn sv1_fields(&self, write: impl FnOnce() -> String) -> &str {
        self.sv1_fields.get_or_init(|| write().into())
    }

    /// The job as Sv2 writes it, the same for every channel with this coinbase: written once.
    pub(crate) fn sv2_fields(&self, write: impl FnOnce() -> Vec<u8>) -> &[u8] {
        self.sv2_fields.get_or_init(|| write().into())
    }

    /// What the upstream is told as its extranonce2: all that it left to us.
    pub fn upstream_extranonce2(&self, server: &[u8], miner: &[u8]) -> Vec<u8> {
        let pad = self.prefix.len().saturating_sub(self.pad_bytes);
        [self.prefix.get(pad..).unwrap_or_default(), server, miner].concat()
    }

    /// Bytes of both extranonces.
    pub const fn extranonce_bytes(&self) -> usize {
        self.extranonce_bytes
    }

    /// The serialisation without witness, with these extranonces.
    fn with_extranonce(&self, extranonce: &[u8]) -> Vec<u8> {
        [&self.prefix, extranonce, &self.suffix].concat()
    }

    /// The transaction id with the server's and the miner's extranonce.
    pub fn txid(&self, server: &[u8], miner: &[u8]) -> Txid {
        let mut engine = self.after_prefix.clone();
        engine.input(server);
        engine.input(miner);
        engine.input(&self.suffix);
        Txid::from_engine(engine)
    }

    /// The full serialisation for a block: with the witness that the template wants (BIP 141).
    ///
    /// # Errors
    /// [`CoinbaseError::Misplaced`] when the extranonces do not have the length the script says.
    pub fn for_block(&self, server: &[u8], miner: &[u8]) -> Result<Vec<u8>, CoinbaseError> {
        let bytes = self.with_extranonce(&[server, miner].concat());
        let mut transaction: Transaction =
            encode::deserialize(&bytes).map_err(|_| CoinbaseError::Misplaced)?;
        if let Some(input) = transaction.input.first_mut() {
            input.witness = self.witness.clone();
        }
        Ok(encode::serialize(&transaction))
    }
}

impl fmt::Debug for Coinbase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coinbase").field("extranonce_bytes", &self.extranonce_bytes).finish_non_exhaustive()
    }
}

/// Reads a coinbase as a miner would and compares it with what it is meant to do: pay the whole value
/// to `payout` and nobody else, and carry what the template asks for. One of an upstream is only compared with
/// what was read when its job came.
///
/// # Errors
/// [`CoinbaseError::Mismatch`] naming what differs.
pub fn check(bytes: &[u8], template: &Template, payout: &PayoutOutput) -> Result<(), CoinbaseError> {
    let read: Transaction =
        encode::deserialize(bytes).map_err(|_| CoinbaseError::Mismatch("it is no transaction"))?;
    let wanted = &template.coinbase;
    let expect = |holds, what| if holds { Ok(()) } else { Err(CoinbaseError::Mismatch(what)) };
    expect(read.is_coinbase(), "it is no coinbase")?;
    let script = read.input.first().map(|input| input.script_sig.as_bytes()).unwrap_or_default();
    expect(script.starts_with(&wanted.script_prefix), "its script does not begin with the block height")?;
    let others = match (payout.script(), read.output.split_first()) {
        (_, None) => return Err(CoinbaseError::Mismatch("it pays nobody")),
        (None, Some(_)) => &read.output,
        (Some(script), Some((first, others))) => {
            expect(first.script_pubkey.as_script() == script, "it pays somebody else")?;
            expect(first.value.to_sat() == wanted.value.get(), "it does not pay the whole reward")?;
            others
        }
    };
    expect(others == wanted.outputs, "its further outputs are not those of the template")?;
    expect(read.lock_time.to_consensus_u32() == wanted.lock_time, "its lock time is not the template's")?;
    let sequence = read.input.first().map(|input| input.sequence.0);
    expect(sequence == Some(wanted.sequence), "its sequence is not the template's")
}

fn without_witness(mut transaction: Transaction) -> Transaction {
    transaction.input.iter_mut().for_each(|input| input.witness.clear());
    transaction
}

/// The opcode that pushes `bytes` (at most 75), and they.
fn push(bytes: &[u8]) -> Vec<u8> {
    let mut pushed = PushBytesBuf::new();
    // Only lengths above 2^32 are refused.
    if pushed.extend_from_slice(bytes).is_err() {
        return Vec::new();
    }
    ScriptBuf::builder().push_slice(pushed).into_script().into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::extranonce::Layout;
    use crate::job::fixture;

    const BYTES: usize = Layout::OWN.bytes();

    #[test]
    fn the_coinbase_pays_the_whole_value_and_keeps_the_required_outputs() {
        let template = fixture::template();
        let payout = fixture::payout();
        let coinbase = Coinbase::build(&template, &payout, BYTES).unwrap();
        let (server, miner) = ([1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11, 12]);
        let extranonce = [&server[..], &miner].concat();
        let without: Transaction = encode::deserialize(&coinbase.with_extranonce(&extranonce)).unwrap();
        let full: Transaction = encode::deserialize(&coinbase.for_block(&server, &miner).unwrap()).unwrap();

        assert_eq!(without.compute_txid(), full.compute_txid());
        assert_eq!(without.compute_txid(), coinbase.txid(&server, &miner));
        assert_eq!(full.input[0].witness.len(), 1);
        assert!(full.is_coinbase());
        assert_eq!(full.output[0].value.to_sat(), template.coinbase.value.get());
        assert_eq!(Some(full.output[0].script_pubkey.as_script()), payout.script());
        assert_eq!(full.output[1..], template.coinbase.outputs[..]);
        let script = full.input[0].script_sig.as_bytes();
        assert!(script.starts_with(&template.coinbase.script_prefix));
        assert!(script.ends_with(&extranonce));
        assert_eq!(full.input[0].script_sig.count_sigops_legacy(), 0);
    }

    #[test]
    fn a_script_prefix_that_leaves_no_room_is_refused() {
        let mut template = fixture::template();
        template.coinbase.script_prefix = vec![0x51; 80];
        let refused = Coinbase::build(&template, &fixture::payout(), BYTES).unwrap_err();
        assert!(matches!(refused, CoinbaseError::ScriptTooLong(_)));
    }

    #[test]
    fn a_coinbase_that_pays_somebody_else_or_less_is_found_out() {
        let template = fixture::template();
        let bytes =
            Coinbase::build(&template, &fixture::payout(), BYTES).unwrap().with_extranonce(&[0; BYTES]);
        assert_eq!(check(&bytes, &template, &fixture::payout()), Ok(()));
        let thief = PayoutOutput::new(ScriptBuf::from_bytes(vec![0x52]));
        assert_eq!(check(&bytes, &template, &thief), Err(CoinbaseError::Mismatch("it pays somebody else")));
        let mut transaction: Transaction = encode::deserialize(&bytes).unwrap();
        transaction.output[0].value -= Amount::from_sat(1);
        let less = check(&encode::serialize(&transaction), &template, &fixture::payout());
        assert_eq!(less, Err(CoinbaseError::Mismatch("it does not pay the whole reward")));
        transaction.output[0].value += Amount::from_sat(1);
        transaction.output.push(transaction.output[0].clone());
        assert!(check(&encode::serialize(&transaction), &template, &fixture::payout()).is_err());
    }

    #[test]
    fn an_upstreams_coinbase_is_taken_as_it_is_and_only_where_one_belongs() {
        let template = fixture::upstream_template(10, u32::MAX);
        let upstream = template.upstream.as_ref().unwrap();
        for layout in [Layout::WIDE, Layout::NARROW] {
            let coinbase = Coinbase::build(&template, &PayoutOutput::UPSTREAM, layout.bytes()).unwrap();
            let [server, miner] =
                [(1, layout.server_bytes()), (2, layout.miner_bytes())].map(|(byte, size)| vec![byte; size]);
            let extranonce2 = coinbase.upstream_extranonce2(&server, &miner);
            assert_eq!(extranonce2.len(), 10);
            // What the upstream reckons from the share.
            let bytes = [&upstream.coinbase_prefix, &*extranonce2, &upstream.coinbase_suffix].concat();
            let whole: Transaction = encode::deserialize(&bytes).unwrap();
            assert_eq!(whole.compute_txid(), coinbase.txid(&server, &miner));
        }
        let build = |template: &Template, payout: &PayoutOutput, bytes| {
            Coinbase::build(template, payout, bytes).unwrap_err()
        };
        let small = fixture::upstream_template(7, u32::MAX);
        assert_eq!(build(&small, &PayoutOutput::UPSTREAM, Layout::WIDE.bytes()), CoinbaseError::NoRoom);
        let mismatch = |error| matches!(error, CoinbaseError::Mismatch(_));
        assert!(mismatch(build(&template, &fixture::payout(), 8)), "it would pay somebody else");
        assert!(mismatch(build(&fixture::template(), &PayoutOutput::UPSTREAM, 12)));
    }

    proptest! {
        /// Whatever extranonce size a channel has, the midstate gives the id of the real transaction.
        #[test]
        fn the_id_is_that_of_the_transaction_for_any_extranonce(
            miner in prop::collection::vec(any::<u8>(), 2..=MAX_MINER_EXTRANONCE_BYTES), server in any::<[u8; 4]>(),
        ) {
            let coinbase =
                Coinbase::build(&fixture::template(), &fixture::payout(), 4 + miner.len()).unwrap();
            let block = coinbase.for_block(&server, &miner).unwrap();
            let transaction: Transaction = encode::deserialize(&block).unwrap();
            prop_assert_eq!(transaction.compute_txid(), coinbase.txid(&server, &miner));
        }
    }
}
