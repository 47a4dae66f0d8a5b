//! A mempool as full as on a busy day, on a regtest node.

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{
    Address, Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute,
    transaction,
};
use bitcoincore_rpc::{Auth, Client, jsonrpc};
use poolbox_testnode::TestNode;

/// Outputs that one transaction splits a coin into.
const SPLIT: usize = 900;

/// Coins that are all spent once a block.
pub struct Crowd {
    rpc: Client,
    address: Address,
    coins: Vec<(OutPoint, Amount)>,
}

impl Crowd {
    /// `splits` times 900 coins.
    pub fn new(node: &TestNode, splits: u32) -> Self {
        let address = Address::p2wsh(&ScriptBuf::from_bytes(vec![0x51]), Network::Regtest);
        let blocks = node.mine_to(&address.to_string(), splits);
        node.mine(100);
        let rpc = Client::new(&node.rpc_url(), Auth::CookieFile(node.cookie_file())).unwrap();
        let mut crowd = Self { rpc, address, coins: Vec::new() };
        for block in blocks {
            let coinbase = node.cli(&["getblock", &block])["tx"][0].as_str().unwrap().parse().unwrap();
            let each = Amount::from_sat((50 * 100_000_000 - 1_000_000) / SPLIT as u64);
            let split = crowd.spend(OutPoint::new(coinbase, 0), vec![crowd.output(each); SPLIT]);
            node.cli(&["sendrawtransaction", &serialize_hex(&split)]);
            let txid = split.compute_txid();
            let coins = (0..SPLIT).map(|n| (OutPoint::new(txid, u32::try_from(n).unwrap()), each));
            crowd.coins.extend(coins);
        }
        node.mine(1);
        crowd
    }

    /// Spends every coin: a transaction of some 550 bytes each.
    pub fn send(&mut self) {
        let note = ScriptBuf::new_op_return(
            <&bitcoin::script::PushBytes>::try_from([0x5a; 400].as_slice()).unwrap(),
        );
        let mut spends = Vec::new();
        for n in 0..self.coins.len() {
            let (coin, value) = self.coins[n];
            let left = value - Amount::from_sat(1_000);
            let outputs = vec![self.output(left), TxOut { value: Amount::ZERO, script_pubkey: note.clone() }];
            let spend = self.spend(coin, outputs);
            self.coins[n] = (OutPoint::new(spend.compute_txid(), 0), left);
            spends.push(serialize_hex(&spend));
        }
        let client = self.rpc.get_jsonrpc_client();
        for spends in spends.chunks(25) {
            let args: Vec<_> = spends.iter().map(|spend| jsonrpc::arg([spend])).collect();
            let requests: Vec<_> =
                args.iter().map(|args| client.build_request("sendrawtransaction", Some(args))).collect();
            for answer in client.send_batch(&requests).unwrap() {
                answer.unwrap().check_error().unwrap();
            }
        }
    }

    fn output(&self, value: Amount) -> TxOut {
        TxOut { value, script_pubkey: self.address.script_pubkey() }
    }

    fn spend(&self, coin: OutPoint, output: Vec<TxOut>) -> Transaction {
        let input = TxIn {
            previous_output: coin,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0x51]]),
        };
        let version = transaction::Version::TWO;
        Transaction { version, lock_time: absolute::LockTime::ZERO, input: vec![input], output }
    }
}
