//! The coinbases of the newest job, decoded and checked again for whoever looks: what a miner could read
//! out of what it is sent.

use bitcoin::consensus::encode;
use bitcoin::{Address, Amount, Transaction, TxOut};
use poolbox_accounting::{Identity, Network};
use poolbox_api::pool::{self, Output};
use poolbox_stratum::{Job, Layout, PayoutOutput, PayoutPolicy, check_coinbase};

/// Coinbases that are told of in mode solo.
const MAX_COINBASES: usize = 100;
/// Blocks between halvings of the subsidy.
const HALVING: u32 = 210_000;
const HALVING_ON_REGTEST: u32 = 150;

/// The coinbases of `job`: one in the modes pool and proxy, one for each of `owners` in mode solo.
pub fn decoded<'a>(
    job: &Job,
    policy: &PayoutPolicy,
    network: Network,
    owners: impl Iterator<Item = &'a Identity>,
) -> Vec<pool::Coinbase> {
    match policy {
        PayoutPolicy::Pool(payout) => vec![decode(job, payout, network, None)],
        PayoutPolicy::Upstream => vec![decode(job, &PayoutOutput::UPSTREAM, network, None)],
        PayoutPolicy::Solo(_) => {
            let paid = owners.filter_map(|identity| Some((policy.output_for(identity).ok()?, identity)));
            let one = |(payout, identity): (PayoutOutput, &Identity)| {
                decode(job, &payout, network, Some(identity.owner.to_string()))
            };
            paid.take(MAX_COINBASES).map(one).collect()
        }
    }
}

fn decode(job: &Job, payout: &PayoutOutput, network: Network, owner: Option<String>) -> pool::Coinbase {
    // What the extranonces of an ordinary miner take; of an upstream's coinbase, what there is room for.
    let layout = if payout.script().is_some() { Layout::OWN } else { Layout::NARROW };
    let coinbase = match job.coinbase(payout, layout.bytes()) {
        Ok(coinbase) => coinbase,
        Err(error) => {
            let mismatch = Some(error.to_string());
            return pool::Coinbase { owner, outputs: Vec::new(), mismatch, transaction: String::new() };
        }
    };
    let bytes = [coinbase.prefix(), &vec![0; layout.bytes()], coinbase.suffix()].concat();
    let mismatch = check_coinbase(&bytes, &job.template, payout).err().map(|error| error.to_string());
    let outputs = encode::deserialize::<Transaction>(&bytes).map_or(Vec::new(), |read| read.output);
    let outputs = outputs.iter().map(|output| described(output, network)).collect();
    pool::Coinbase { owner, outputs, mismatch, transaction: hex::encode(bytes) }
}

fn described(output: &TxOut, network: Network) -> Output {
    let address = Address::from_script(&output.script_pubkey, network.to_bitcoin()).ok();
    Output {
        address: address.map(|address| address.to_string()),
        script: output.script_pubkey.to_hex_string(),
        sats: output.value.to_sat(),
    }
}

/// What a block at this height may create, in sats.
pub fn subsidy_sat(height: u32, network: Network) -> u64 {
    let halving = if network == Network::Regtest { HALVING_ON_REGTEST } else { HALVING };
    (50 * Amount::ONE_BTC.to_sat()).checked_shr(height / halving).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use poolbox_stratum::JobNumber;

    use super::*;
    use crate::jobs::fixture;

    const ADDRESSES: [&str; 2] =
        ["tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "tb1q6rz28mcfaxtmd6v789l9rrlrusdprr9pqcpvkl"];

    fn job() -> Job {
        Job::new(JobNumber::starting_at(1), Arc::new(fixture::template()))
    }

    #[test]
    fn in_mode_pool_the_one_coinbase_pays_the_mint() {
        let script = bitcoin::ScriptBuf::from_hex("0014751e76e8199196d454941c45d1b3a323f1433bd6").unwrap();
        let policy = PayoutPolicy::Pool(PayoutOutput::new(script));
        let told = decoded(&job(), &policy, Network::Devnet, std::iter::empty());
        let [coinbase] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((&coinbase.owner, &coinbase.mismatch), (&None, &None));
        let paid: Vec<_> =
            coinbase.outputs.iter().map(|output| (output.address.as_deref(), output.sats)).collect();
        assert_eq!(paid, [(Some(ADDRESSES[0]), fixture::VALUE), (None, 0)]);
        let read: Transaction = encode::deserialize(&hex::decode(&coinbase.transaction).unwrap()).unwrap();
        assert!(read.is_coinbase());
    }

    #[test]
    fn in_mode_solo_each_owner_at_work_has_one() {
        let policy = PayoutPolicy::Solo(Network::Devnet);
        let identities = ADDRESSES.map(|address| Identity::parse(address, Network::Devnet).unwrap());
        let told = decoded(&job(), &policy, Network::Devnet, identities.iter());
        for (coinbase, address) in told.iter().zip(ADDRESSES) {
            assert_eq!(coinbase.owner.as_deref(), Some(address));
            assert_eq!(coinbase.outputs[0].address.as_deref(), Some(address));
            assert_eq!((coinbase.outputs[0].sats, &coinbase.mismatch), (fixture::VALUE, &None));
        }
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn the_subsidy_halves() {
        let told = [0, 209_999, 210_000, 840_000, 13_440_000, u32::MAX];
        let expected = [5_000_000_000, 5_000_000_000, 2_500_000_000, 312_500_000, 0, 0];
        assert_eq!(told.map(|height| subsidy_sat(height, Network::Mainnet)), expected);
        assert_eq!(subsidy_sat(150, Network::Regtest), 2_500_000_000);
    }
}
