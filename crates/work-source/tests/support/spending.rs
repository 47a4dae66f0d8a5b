//! Transactions for the tests: anyone-can-spend coins of a regtest node, spent one after the other.

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{
    Address, Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    absolute, transaction,
};
use poolbox_testnode::TestNode;

/// Spends coins of one node.
pub struct Spender<'a> {
    node: &'a TestNode,
    address: Address,
    coins: Vec<OutPoint>,
}

impl<'a> Spender<'a> {
    /// Mines a few mature coins.
    pub fn new(node: &'a TestNode) -> Self {
        let address = Address::p2wsh(&ScriptBuf::from_bytes(vec![0x51]), Network::Regtest);
        let blocks = node.mine_to(&address.to_string(), 5);
        node.mine(100);
        let coin = |block: &String| {
            let coinbase = node.cli(&["getblock", block])["tx"][0].as_str().unwrap().to_owned();
            OutPoint::new(coinbase.parse().unwrap(), 0)
        };
        Self { node, address, coins: blocks.iter().map(coin).collect() }
    }

    /// Sends a transaction that pays `fee` sats.
    pub fn spend(&mut self, fee: u64) -> Txid {
        let spend = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: self.coins.pop().unwrap(),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[[0x51]]),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(50 * 100_000_000 - fee),
                script_pubkey: self.address.script_pubkey(),
            }],
        };
        self.node.cli(&["sendrawtransaction", &serialize_hex(&spend)]);
        spend.compute_txid()
    }
}
