//! The coinbase transaction of a job: built once, cut where the extranonces go.

use bitcoin::consensus::encode;
use bitcoin::hashes::{Hash, HashEngine};
use bitcoin::script::{PushBytesBuf, ScriptBuf};
use bitcoin::{Amount, Transaction, TxOut, Txid, Witness};
use poolbox_work_source::Template;

/// Bytes that the server chooses, unique for each connection.
pub const EXTRANONCE1_BYTES: usize = 4;
/// Bytes that the miner rolls.
pub const EXTRANONCE2_BYTES: usize = 8;
const EXTRANONCE_BYTES: usize = EXTRANONCE1_BYTES + EXTRANONCE2_BYTES;
/// What the box writes into the blocks it finds.
pub const POOL_TAG: &[u8] = b"/poolbox/";
/// Consensus limit of a coinbase's script.
const MAX_SCRIPT_BYTES: usize = 100;

/// Who the coinbase pays: the whole value of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutOutput(pub ScriptBuf);

/// A coinbase cut around its extranonces, in the serialisation without witness whose hash is the
/// transaction id (BIP 141).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    witness: Witness,
}

/// Why no coinbase can be built from a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoinbaseError {
    /// The template's own script leaves no room.
    #[error("the coinbase script would have {0} bytes, {MAX_SCRIPT_BYTES} are allowed")]
    ScriptTooLong(usize),
    /// The cut would not be where the extranonces are.
    #[error("the coinbase does not hold the extranonces where they were put")]
    Misplaced,
}

impl Coinbase {
    /// Builds the coinbase that pays everything `template` yields to `payout`.
    ///
    /// # Errors
    /// [`CoinbaseError`].
    pub fn build(template: &Template, payout: &PayoutOutput) -> Result<Self, CoinbaseError> {
        // Pushed, not bare: the bytes of an extranonce then never count as signature operations.
        let suffix = [push(POOL_TAG), push(&[0; EXTRANONCE_BYTES])].concat();
        let script_bytes = template.coinbase.script_prefix.len() + suffix.len();
        if script_bytes > MAX_SCRIPT_BYTES {
            return Err(CoinbaseError::ScriptTooLong(script_bytes));
        }
        let value = Amount::from_sat(template.coinbase.value.get());
        let payouts = [TxOut { value, script_pubkey: payout.0.clone() }];
        let full = template.coinbase.transaction(&suffix, &payouts);
        let witness = full.input.first().map(|input| input.witness.clone()).unwrap_or_default();
        let bytes = encode::serialize(&without_witness(full));
        // version (4), number of inputs (1), outpoint (36), length of the script (1): it is below 253.
        let cut = 42 + script_bytes - EXTRANONCE_BYTES;
        let (Some(prefix), Some(hole), Some(suffix)) =
            (bytes.get(..cut), bytes.get(cut..cut + EXTRANONCE_BYTES), bytes.get(cut + EXTRANONCE_BYTES..))
        else {
            return Err(CoinbaseError::Misplaced);
        };
        if hole != [0; EXTRANONCE_BYTES] || prefix.last() != Some(&(EXTRANONCE_BYTES as u8)) {
            return Err(CoinbaseError::Misplaced);
        }
        Ok(Self { prefix: prefix.to_vec(), suffix: suffix.to_vec(), witness })
    }

    /// Everything before the extranonces: `coinb1` of `mining.notify`.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Everything after the extranonces: `coinb2` of `mining.notify`.
    pub fn suffix(&self) -> &[u8] {
        &self.suffix
    }

    /// The serialisation without witness, with these extranonces.
    fn with_extranonce(&self, extranonce: &[u8]) -> Vec<u8> {
        [&self.prefix, extranonce, &self.suffix].concat()
    }

    /// The transaction id with these extranonces.
    pub fn txid(&self, extranonce: &[u8]) -> Txid {
        let mut engine = Txid::engine();
        engine.input(&self.prefix);
        engine.input(extranonce);
        engine.input(&self.suffix);
        Txid::from_engine(engine)
    }

    /// The full serialisation for a block: with the witness that the template wants (BIP 141).
    ///
    /// # Errors
    /// [`CoinbaseError::Misplaced`] when `extranonce` does not have the length the script says.
    pub fn for_block(&self, extranonce: &[u8]) -> Result<Vec<u8>, CoinbaseError> {
        let bytes = self.with_extranonce(extranonce);
        let mut transaction: Transaction =
            encode::deserialize(&bytes).map_err(|_| CoinbaseError::Misplaced)?;
        if let Some(input) = transaction.input.first_mut() {
            input.witness = self.witness.clone();
        }
        Ok(encode::serialize(&transaction))
    }
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
    use super::*;
    use crate::job::fixture;

    #[test]
    fn the_coinbase_pays_the_whole_value_and_keeps_the_required_outputs() {
        let template = fixture::template();
        let payout = PayoutOutput(ScriptBuf::from_bytes(vec![0x51]));
        let coinbase = Coinbase::build(&template, &payout).unwrap();
        let extranonce: Vec<u8> = (1..=12).collect();
        let without: Transaction = encode::deserialize(&coinbase.with_extranonce(&extranonce)).unwrap();
        let full: Transaction = encode::deserialize(&coinbase.for_block(&extranonce).unwrap()).unwrap();

        assert_eq!(without.compute_txid(), full.compute_txid());
        assert_eq!(full.input[0].witness.len(), 1);
        assert!(full.is_coinbase());
        assert_eq!(full.output[0].value.to_sat(), template.coinbase.value.get());
        assert_eq!(full.output[0].script_pubkey, payout.0);
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
        let payout = PayoutOutput(ScriptBuf::from_bytes(vec![0x51]));
        assert!(matches!(Coinbase::build(&template, &payout), Err(CoinbaseError::ScriptTooLong(_))));
    }
}
