//! Coins of the tests' own on regtest: of blocks that pay a script anyone can spend.
#![allow(clippy::unwrap_used, reason = "a failure here is the failure of a test")]

use std::str::FromStr;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use poolbox_testnode::TestNode;

/// What a payment leaves to the miners.
const FEE: Amount = Amount::from_sat(10_000);

/// One coin, spent bit by bit.
pub struct Faucet {
    coin: OutPoint,
    value: Amount,
}

impl Faucet {
    /// Mines a coin and a hundred blocks upon it.
    pub fn new(node: &TestNode) -> Self {
        let address = Address::p2wsh(&anyone(), Network::Regtest).to_string();
        let block = node.mine_to(&address, 1).remove(0);
        node.mine(100);
        let coinbase = node.cli(&["getblock", &block, "2"])["tx"][0].clone();
        let value = coinbase["vout"][0]["value"].as_f64().unwrap();
        let txid = Txid::from_str(coinbase["txid"].as_str().unwrap()).unwrap();
        Self { coin: OutPoint::new(txid, 0), value: Amount::from_btc(value).unwrap() }
    }

    /// Sends `sats` to `address`; the transaction waits to be mined.
    pub fn pay(&mut self, node: &TestNode, address: &str, sats: u64) -> Txid {
        let to = Address::from_str(address).unwrap().require_network(Network::Regtest).unwrap();
        let sent = Amount::from_sat(sats);
        let rest = self.value - sent - FEE;
        let input = TxIn {
            previous_output: self.coin,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[anyone().into_bytes()]),
        };
        let transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: vec![
                TxOut { value: rest, script_pubkey: anyone().to_p2wsh() },
                TxOut { value: sent, script_pubkey: to.script_pubkey() },
            ],
        };
        node.cli(&["sendrawtransaction", &serialize_hex(&transaction)]);
        let txid = transaction.compute_txid();
        (self.coin, self.value) = (OutPoint::new(txid, 0), rest);
        txid
    }
}

fn anyone() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}
