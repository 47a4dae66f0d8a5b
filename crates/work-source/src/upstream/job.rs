//! A job of the upstream: from `mining.notify` to a template.

use std::sync::Arc;

use bitcoin::consensus::encode;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, Target, Transaction, TxMerkleNode};
use poolbox_accounting::Sats;
use serde_json::Value;

use crate::assembly::height;
use crate::template::{CoinbaseTemplate, Template, TemplateId};

/// Longest id of a job that is believed.
const MAX_ID_CHARS: usize = 256;
/// The longest coinbase: a Sv2 job with it must fit into one message.
const MAX_COINBASE_BYTES: usize = 60_000;
/// Bytes of a coinbase before its script: version, number of inputs, outpoint, length of the script.
const BEFORE_SCRIPT: usize = 4 + 1 + 36 + 1;
/// A block has fewer than 2^32 transactions.
const MAX_MERKLE_PATH: usize = 32;

/// What a share for the upstream needs to know of its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamJob {
    /// What the upstream calls it.
    pub id: Box<str>,
    /// The coinbase up to the upstream's extranonce2: its coinb1 and extranonce1. Serialised without witness.
    pub coinbase_prefix: Vec<u8>,
    /// The coinbase after extranonce2: its coinb2.
    pub coinbase_suffix: Vec<u8>,
    /// Bytes of extranonce2, which are ours to choose.
    pub extranonce_bytes: usize,
    /// The largest hash that the upstream takes.
    pub target: Target,
    /// Bits of the header's version that the upstream lets us change; 0: none.
    pub version_mask: u32,
    /// The connection that it came over; unique in this process.
    pub session: u64,
    /// Jobs of another era are over when one of this comes; unique in this process.
    pub era: u64,
}

/// What a connection adds to its jobs.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub extranonce1: &'a [u8],
    pub extranonce_bytes: usize,
    pub target: Target,
    pub version_mask: u32,
    pub session: u64,
    pub era: u64,
}

/// `mining.notify`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    pub id: Box<str>,
    pub prev_hash: BlockHash,
    pub coinb1: Vec<u8>,
    pub coinb2: Vec<u8>,
    pub merkle_path: Vec<TxMerkleNode>,
    pub version: u32,
    pub bits: CompactTarget,
    pub time: u32,
    /// Earlier jobs are over.
    pub clean: bool,
}

impl Notify {
    /// Reads the parameters; otherwise says which cannot be read.
    pub fn read(params: &Value) -> Result<Self, &'static str> {
        let text = |index: usize| params.get(index).and_then(Value::as_str);
        let id = text(0).filter(|id| !id.is_empty() && id.chars().count() <= MAX_ID_CHARS);
        let nodes = params.get(4).and_then(Value::as_array).filter(|nodes| nodes.len() <= MAX_MERKLE_PATH);
        let nodes = nodes.ok_or("the merkle branch of a job")?;
        let merkle_path = nodes.iter().map(|node| Some(TxMerkleNode::from_byte_array(hash(node.as_str()?)?)));
        let part = |index, what| text(index).and_then(|digits| hex::decode(digits).ok()).ok_or(what);
        let number = |index, what| text(index).and_then(hex_u32).ok_or(what);
        Ok(Self {
            id: id.ok_or("the id of a job")?.into(),
            prev_hash: text(1).and_then(hash).map(word_swapped).ok_or("the previous hash of a job")?,
            coinb1: part(2, "the first part of a coinbase")?,
            coinb2: part(3, "the second part of a coinbase")?,
            merkle_path: merkle_path.collect::<Option<_>>().ok_or("the merkle branch of a job")?,
            version: number(5, "the version of a job")?,
            bits: CompactTarget::from_consensus(number(6, "the target (nbits) of a job")?),
            time: number(7, "the time of a job")?,
            clean: params.get(8).and_then(Value::as_bool).unwrap_or(true),
        })
    }

    /// The template of this job on a connection with these terms; otherwise says what is wrong with it.
    pub fn template(&self, terms: &Terms<'_>) -> Result<Template, &'static str> {
        let coinbase_prefix = [&self.coinb1, terms.extranonce1].concat();
        let bytes = [&coinbase_prefix, &*vec![0; terms.extranonce_bytes], &self.coinb2].concat();
        if bytes.len() > MAX_COINBASE_BYTES {
            return Err("a coinbase of more than 60,000 bytes");
        }
        let coinbase: Transaction =
            encode::deserialize(&bytes).map_err(|_| "a coinbase that is no transaction")?;
        // With a witness, the hash of these bytes would not be its id.
        let plain = coinbase.input.iter().all(|input| input.witness.is_empty());
        let [input] = coinbase.input.as_slice() else { return Err("a coinbase with several inputs") };
        if !plain || !coinbase.is_coinbase() || encode::serialize(&coinbase) != bytes {
            return Err("what is no coinbase where one belongs");
        }
        if Target::from_compact(self.bits) == Target::ZERO {
            return Err("a target of a block (nbits) that nobody can meet");
        }
        if coinbase.output.is_empty() {
            return Err("a coinbase that pays nobody");
        }
        let script = input.script_sig.as_bytes();
        // A miner's extranonce anywhere else would change what the coinbase pays, or make it none.
        let room = coinbase_prefix.len()..coinbase_prefix.len() + terms.extranonce_bytes;
        if room.start < BEFORE_SCRIPT + pushed(script).len() || room.end > BEFORE_SCRIPT + script.len() {
            return Err("a coinbase whose extranonce is not in its script, behind the height");
        }
        let height = height(script).map_err(|_| "a coinbase without the height of its block")?;
        let mut values = coinbase.output.iter().map(|output| Sats::new(output.value.to_sat()));
        let value = values.try_fold(Sats::ZERO, Sats::checked_add);
        Ok(Template {
            id: TemplateId::fresh(),
            version: self.version,
            prev_hash: self.prev_hash,
            bits: self.bits,
            time: self.time,
            height,
            coinbase: CoinbaseTemplate {
                tx_version: coinbase.version.0.cast_unsigned(),
                script_prefix: pushed(script).to_vec(),
                sequence: input.sequence.0,
                value: value.ok_or("a coinbase that pays more than there can be")?,
                lock_time: coinbase.lock_time.to_consensus_u32(),
                outputs: coinbase.output,
            },
            merkle_path: self.merkle_path.clone(),
            upstream: Some(Arc::new(UpstreamJob {
                id: self.id.clone(),
                coinbase_prefix,
                coinbase_suffix: self.coinb2.clone(),
                extranonce_bytes: terms.extranonce_bytes,
                target: terms.target,
                version_mask: terms.version_mask,
                session: terms.session,
                era: terms.era,
            })),
        })
    }
}

/// The first push of a script: an opcode, and up to 75 bytes.
fn pushed(script: &[u8]) -> &[u8] {
    let length = script.first().filter(|opcode| **opcode <= 75).map_or(0, |opcode| usize::from(*opcode));
    script.get(..=length).unwrap_or(script)
}

fn hash(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
}

/// Stratum V1 writes the previous hash as eight 32-bit words, each with its bytes turned round.
fn word_swapped(mut bytes: [u8; 32]) -> BlockHash {
    bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    BlockHash::from_byte_array(bytes)
}

/// A 32-bit number in hex, as pools write it.
pub fn hex_u32(digits: &str) -> Option<u32> {
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
pub mod fixture {
    //! A job as a pool sends it.

    use bitcoin::absolute::LockTime;
    use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Witness, transaction};
    use serde_json::json;

    use super::*;

    /// The hash of the first block, and how Stratum V1 writes it.
    pub const GENESIS: &str = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
    pub const GENESIS_SWAPPED: &str = "0a8ce26f72b3f1b646a2a6c14ff763ae65831e939c085ae10019d66800000000";

    /// A coinbase of height 840,000 with a gap of this size, cut there.
    pub fn coinbase(gap: usize) -> (Vec<u8>, Vec<u8>) {
        let script = [&[0x03, 0x40, 0xd1, 0x0c][..], b"/pool/", &vec![0; gap]].concat();
        let output = |value, byte: u8| TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51, byte]),
        };
        let transaction = Transaction {
            version: transaction::Version(2),
            lock_time: LockTime::from_consensus(7),
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: ScriptBuf::from_bytes(script.clone()),
                sequence: Sequence(0xffff_fffd),
                witness: Witness::new(),
            }],
            output: vec![output(312_000_000, 1), output(600_000, 2)],
        };
        let bytes = encode::serialize(&transaction);
        let cut = 42 + script.len() - gap;
        (bytes[..cut].to_vec(), bytes[cut + gap..].to_vec())
    }

    /// Parameters of `mining.notify`, for a gap of this size in all.
    pub fn notify(id: &str, gap: usize, clean: bool) -> Value {
        let (first, second) = coinbase(gap);
        json!([
            id,
            GENESIS_SWAPPED,
            hex::encode(first),
            hex::encode(second),
            ["22".repeat(32), "33".repeat(32)],
            "20000000",
            "17034219",
            "6553f100",
            clean
        ])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::fixture::*;
    use super::*;

    fn terms() -> Terms<'static> {
        let target = Target::MAX;
        Terms { extranonce1: &[1, 2, 3, 4], extranonce_bytes: 8, target, version_mask: 0, session: 1, era: 2 }
    }

    fn broken(index: usize, with: Value) -> bool {
        let mut params = notify("j", 12, true);
        params[index] = with;
        Notify::read(&params).and_then(|notify| notify.template(&terms())).is_err()
    }

    #[test]
    fn a_job_is_read_as_the_pool_meant_it() {
        let notify = Notify::read(&notify("5f3a", 12, false)).unwrap();
        assert_eq!(notify.prev_hash.to_string(), GENESIS);
        assert!(!notify.clean);
        let template = notify.template(&terms()).unwrap();
        assert_eq!((template.height, template.coinbase.value.get()), (840_000, 312_600_000));
        assert_eq!((template.version, template.time), (0x2000_0000, 1_700_000_000));
        assert_eq!(template.coinbase.script_prefix, [0x03, 0x40, 0xd1, 0x0c]);
        assert_eq!((template.coinbase.lock_time, template.coinbase.sequence), (7, 0xffff_fffd));
        assert_eq!((template.coinbase.outputs.len(), template.merkle_path.len()), (2, 2));
        let upstream = template.upstream.unwrap();
        assert_eq!((&*upstream.id, upstream.extranonce_bytes), ("5f3a", 8));
        assert!(upstream.coinbase_prefix.ends_with(&[1, 2, 3, 4]));
    }

    #[test]
    fn a_job_that_cannot_be_mined_is_refused() {
        let (first, second) = coinbase(11);
        let witness = json!(format!("{}0001{}", hex::encode(&first[..4]), hex::encode(&first[4..])));
        for (index, wrong) in [
            (0, json!("")),
            (0, json!(7)),
            (0, json!("j".repeat(257))),
            (1, json!("00")),
            (2, json!("zz")),
            (2, json!(hex::encode(&first))),
            (2, witness),
            (2, json!("00".repeat(100_000))),
            (3, json!(hex::encode(&second[..20]))),
            (3, json!("")),
            (4, json!("")),
            (4, json!(["22"])),
            (4, json!(vec!["22".repeat(32); 33])),
            (5, json!(1)),
            (6, json!("00000000")),
            (7, json!("123456789")),
        ] {
            assert!(broken(index, wrong.clone()), "{index}: {wrong}");
        }
        assert!(!broken(8, json!("unclear")), "a missing flag is taken for true");
        let refused = |first: &[u8], second: &[u8]| {
            let mut params = notify("j", 12, true);
            (params[2], params[3]) = (json!(hex::encode(first)), json!(hex::encode(second)));
            Notify::read(&params).unwrap().template(&terms()).unwrap_err()
        };
        let (first, mut second) = coinbase(12);
        // Its last four bytes would be the sequence.
        let moved = refused(&[&*first, &[0; 4]].concat(), &second[4..]);
        assert!(moved.contains("not in its script"), "{moved}");
        let nobody = refused(&first, &[&second[..4], &[0; 5]].concat());
        assert!(nobody.contains("pays nobody"), "{nobody}");
        // The first output, after the sequence and the number of outputs.
        second[5..13].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(refused(&first, &second).contains("more than there can be"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[0-9a-f]{0,200}".prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 20, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Value::from))
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics(params in prop::collection::vec(any_json(), 0..10)) {
            let read = Notify::read(&Value::from(params));
            prop_assert!(read.is_err());
        }

        /// A part of a good job that is another.
        #[test]
        fn no_twist_of_a_job_panics(index in 0usize..9, part in any_json(), cut in any::<prop::sample::Index>()) {
            let mut params = notify("j", 12, true);
            params[index] = part;
            let _ = Notify::read(&params).map(|notify| notify.template(&terms()));
            let mut params = notify("j", 12, true);
            if let Some(text) = params[index].as_str() {
                params[index] = json!(text[..cut.index(text.len() + 1)]);
            }
            let _ = Notify::read(&params).map(|notify| notify.template(&terms()));
        }
    }
}
