//! Puts the messages of the Template Distribution Protocol together: NewTemplate and SetNewPrevHash
//! become complete templates. Pure; serves every source that speaks it.

use std::collections::HashMap;
use std::sync::Arc;

use bitcoin::consensus::Decodable;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, Script, TxMerkleNode, TxOut};
use poolbox_accounting::Sats;
use stratum_core::template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

use crate::feed::Provided;
use crate::template::{CoinbaseTemplate, Template, TemplateId};

/// Templates that may be announced for a tip that is yet to come. Providers send one, or one a peer's
/// candidate block.
const MAX_FUTURE: usize = 64;

/// Combines the messages of one connection.
#[derive(Default)]
pub struct Assembly {
    /// Templates announced for a tip that is yet to come, by their id on the wire.
    future: HashMap<u64, NewTemplateOwned>,
    tip: Option<Tip>,
}

struct Tip {
    prev_hash: BlockHash,
    bits: CompactTarget,
    time: u32,
    /// Of the block to be found.
    height: u32,
}

/// A message that makes no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// A template for the current tip came before any tip.
    #[error("template {0} came before its previous block's hash")]
    NoTip(u64),
    /// A tip that no template was announced for.
    #[error("a new tip refers to template {0}, which was not sent")]
    NoTemplate(u64),
    /// A template for the current tip that is of another height: the provider moved on to a tip that it
    /// did not tell us of. With this tip's hash it would make an invalid block.
    #[error("template {template} is for height {height}, but the tip that was told is for {expected}")]
    OtherTip {
        /// The template's id on the wire.
        template: u64,
        /// Its height.
        height: u32,
        /// The height that follows the tip.
        expected: u32,
    },
    /// More templates in advance than anybody needs.
    #[error("over {MAX_FUTURE} templates were announced for tips that never came")]
    TooManyAnnounced,
    /// The input script does not begin with a height (BIP 34).
    #[error("the coinbase does not begin with the block height (BIP 34)")]
    Height,
    /// The required outputs cannot be read.
    #[error("the coinbase outputs cannot be read: {0}")]
    Outputs(String),
}

impl Assembly {
    /// A NewTemplate message: a template at once when it is for the current tip.
    pub fn new_template(&mut self, message: NewTemplateOwned) -> Result<Option<Provided>, AssemblyError> {
        if message.future_template {
            if self.future.len() >= MAX_FUTURE {
                return Err(AssemblyError::TooManyAnnounced);
            }
            self.future.insert(message.template_id, message);
            return Ok(None);
        }
        let tip = self.tip.as_ref().ok_or(AssemblyError::NoTip(message.template_id))?;
        complete(&message, tip).map(Some)
    }

    /// A SetNewPrevHash message: the template announced for this tip.
    pub fn set_new_prev_hash(&mut self, message: &SetNewPrevHashOwned) -> Result<Provided, AssemblyError> {
        let id = message.template_id;
        let template = self.future.remove(&id).ok_or(AssemblyError::NoTemplate(id))?;
        self.future.clear();
        let tip = self.tip.insert(Tip {
            prev_hash: BlockHash::from_byte_array(message.prev_hash.to_array()),
            bits: CompactTarget::from_consensus(message.n_bits),
            time: message.header_timestamp,
            height: height(template.coinbase_prefix.as_bytes())?,
        });
        complete(&template, tip)
    }
}

fn complete(message: &NewTemplateOwned, tip: &Tip) -> Result<Provided, AssemblyError> {
    let script_prefix = message.coinbase_prefix.to_owned_bytes();
    let height = height(&script_prefix)?;
    if height != tip.height {
        let (template, expected) = (message.template_id, tip.height);
        return Err(AssemblyError::OtherTip { template, height, expected });
    }
    let template = Template {
        id: TemplateId::fresh(),
        version: message.version,
        prev_hash: tip.prev_hash,
        bits: tip.bits,
        time: tip.time,
        height,
        coinbase: CoinbaseTemplate {
            tx_version: message.coinbase_tx_version,
            script_prefix,
            sequence: message.coinbase_tx_input_sequence,
            value: Sats::new(message.coinbase_tx_value_remaining),
            outputs: outputs(message)?,
            lock_time: message.coinbase_tx_locktime,
        },
        merkle_path: message
            .merkle_path
            .iter()
            .map(|sibling| TxMerkleNode::from_byte_array(sibling.to_array()))
            .collect(),
        upstream: None,
    };
    Ok(Provided { wire_id: message.template_id, template: Arc::new(template) })
}

/// Heights up to 16 are an opcode, higher ones a push of a script number.
pub fn height(script_prefix: &[u8]) -> Result<u32, AssemblyError> {
    let first = Script::from_bytes(script_prefix).instructions().next();
    first
        .and_then(Result::ok)
        .and_then(|instruction| instruction.script_num())
        .and_then(|number| u32::try_from(number).ok())
        .ok_or(AssemblyError::Height)
}

fn outputs(message: &NewTemplateOwned) -> Result<Vec<TxOut>, AssemblyError> {
    let mut bytes = message.coinbase_tx_outputs.as_bytes();
    let outputs = (0..message.coinbase_tx_outputs_count)
        .map(|_| TxOut::consensus_decode(&mut bytes))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| AssemblyError::Outputs(error.to_string()))?;
    if bytes.is_empty() { Ok(outputs) } else { Err(AssemblyError::Outputs("bytes left over".into())) }
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::serialize;
    use bitcoin::{Amount, ScriptBuf, script};

    use super::*;

    fn announcement(template_id: u64, future_template: bool) -> NewTemplateOwned {
        let output = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(vec![0x6a]) };
        NewTemplateOwned {
            template_id,
            future_template,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: vec![0x51].try_into().unwrap(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 50,
            coinbase_tx_outputs_count: 1,
            coinbase_tx_outputs: serialize(&output).try_into().unwrap(),
            coinbase_tx_locktime: 0,
            merkle_path: vec![[7; 32].into()].try_into().unwrap(),
        }
    }

    fn tip(template_id: u64, hash: u8) -> SetNewPrevHashOwned {
        SetNewPrevHashOwned {
            template_id,
            prev_hash: [hash; 32].into(),
            header_timestamp: 1_700_000_000,
            n_bits: 0x207f_ffff,
            target: [0xff; 32].into(),
        }
    }

    #[test]
    fn a_template_is_complete_when_its_tip_has_come() {
        let mut assembly = Assembly::default();
        assert!(assembly.new_template(announcement(3, true)).unwrap().is_none());
        assert!(assembly.new_template(announcement(4, true)).unwrap().is_none());
        let first = assembly.set_new_prev_hash(&tip(4, 1)).unwrap();
        assert_eq!((first.wire_id, first.template.height), (4, 1));
        assert_eq!(first.template.prev_hash, BlockHash::from_byte_array([1; 32]));
        assert_eq!(first.template.merkle_path, [TxMerkleNode::from_byte_array([7; 32])]);
        assert_eq!(first.template.coinbase.outputs.len(), 1);

        let better = assembly.new_template(announcement(5, false)).unwrap().unwrap();
        assert_eq!(better.template.prev_hash, first.template.prev_hash);
        assert_ne!(better.template.id, first.template.id);
        // What was announced for an earlier tip is gone.
        assert_eq!(assembly.set_new_prev_hash(&tip(3, 2)).unwrap_err(), AssemblyError::NoTemplate(3));
    }

    #[test]
    fn a_template_of_a_tip_that_was_not_told_is_refused() {
        let mut assembly = Assembly::default();
        assembly.new_template(announcement(1, true)).unwrap();
        assembly.set_new_prev_hash(&tip(1, 1)).unwrap();
        let mut ahead = announcement(2, false);
        ahead.coinbase_prefix = vec![0x52].try_into().unwrap();
        let error = AssemblyError::OtherTip { template: 2, height: 2, expected: 1 };
        assert_eq!(assembly.new_template(ahead).unwrap_err(), error);
    }

    #[test]
    fn announcements_are_bounded() {
        let mut assembly = Assembly::default();
        let refused = (0..).find_map(|id| assembly.new_template(announcement(id, true)).err());
        assert_eq!(refused, Some(AssemblyError::TooManyAnnounced));
    }

    #[test]
    fn what_makes_no_template_is_refused() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.new_template(announcement(1, false)).unwrap_err(), AssemblyError::NoTip(1));

        let spoiled: [fn(&mut NewTemplateOwned); 4] = [
            |message| message.coinbase_prefix = vec![].try_into().unwrap(),
            |message| message.coinbase_prefix = vec![0x03, 0x01].try_into().unwrap(),
            |message| message.coinbase_tx_outputs_count = 2,
            |message| message.coinbase_tx_outputs_count = 0,
        ];
        for spoil in spoiled {
            let mut message = announcement(1, true);
            spoil(&mut message);
            assembly.new_template(message).unwrap();
            let error = assembly.set_new_prev_hash(&tip(1, 1)).unwrap_err();
            assert!(matches!(error, AssemblyError::Height | AssemblyError::Outputs(_)), "{error}");
        }
    }

    #[test]
    fn heights_are_read_as_bip_34_writes_them() {
        for expected in [1, 16, 17, 127, 128, 255, 256, 32_767, 32_768, 840_000, 8_388_608] {
            let prefix = script::Builder::new().push_int(i64::from(expected)).into_script();
            assert_eq!(height(prefix.as_bytes()), Ok(expected));
        }
    }
}
