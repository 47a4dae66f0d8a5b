//! One connection to the node, from the first byte to its end.

use std::pin::pin;
use std::time::Duration;

use bitcoin_core_sv2::runtime_api::BitcoinCoreVersion;
use bitcoin_core_sv2::runtime_api::template_distribution_protocol as tdp;
use stratum_core::parsers_sv2::TemplateDistributionOwned as Message;
use stratum_core::template_distribution_sv2::CoinbaseOutputConstraintsOwned;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{CoreIpcConfig, socket};
use crate::feed::Feed;
use crate::outage::Outage;
use crate::session::{End, Line, Manner, PATIENCE, meanwhile, serve};

/// Messages under way in each direction. The node's are read at once.
const MESSAGES: usize = 64;

/// How long the node may take to end its calls when we leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// Bytes of a block's header, transaction count and coinbase without its payouts, with a full input
/// script and a witness commitment (1192 weight units). The node reserves weight for all of these,
/// the client library asks for four times what it is told and no more.
const FIXED_SIZE: u32 = 300;

/// Sequence of our coinbases: as little final as the node's own 0xfffffffe (BIP 54), yet another one.
///
/// With the node's own, the client library submits a solution and at the same time, on a second thread
/// of the node, asks for the template's block to keep a copy on disk. Core 31 guards the block by no
/// lock: `submitSolution` replaces the coinbase that `getBlock` is copying, the heap of the node is
/// corrupted, and it dies, about once in 5,000 blocks and far sooner when several solutions follow each
/// other. The library gives up its copy when the coinbase is not what it knows; the node takes either.
const SEQUENCE: u32 = 0xffff_fffd;

/// Serves the node's templates to `feed` until one of them ends it.
pub async fn run(config: &CoreIpcConfig, min_interval: u8, feed: &mut Feed) -> End {
    if let Err(outage) =
        socket::probe(&config.socket).and_then(|()| socket::create_solutions_directory(&config.socket))
    {
        return End::Failed(outage);
    }
    let (to_node, from_us) = async_channel::bounded(MESSAGES);
    let (to_us, from_node) = async_channel::bounded(MESSAGES);
    let cancel = CancellationToken::new();
    let connecting = tdp::new(
        BitcoinCoreVersion::V31X,
        &config.socket,
        config.fee_threshold.get(),
        min_interval,
        from_us,
        to_us,
        cancel.clone(),
    );
    let mut core = match connect(config, connecting, feed).await {
        Ok(core) => core,
        Err(end) => return end,
    };
    // Nothing comes before the node knows how much room the payouts need.
    if to_node.send(constraints(config)).await.is_err() {
        return End::Failed(Outage::Closed);
    }
    // Our end of its channel stays open to the last: the library makes a noise about a closed one.
    let line = Line { incoming: from_node.clone(), outgoing: to_node };
    let manner = Manner { sequence: Some(SEQUENCE), quiet: Outage::Downloading, closed: Outage::Closed };
    let mut running = pin!(core.run());
    tokio::select! {
        () = &mut running => End::Failed(Outage::Closed),
        end = serve(line, &manner, feed) => {
            // Core 31 minds when a client leaves in the middle of a call.
            cancel.cancel();
            let _ = timeout(FAREWELL, running).await;
            end
        }
    }
}

/// Waits for the node to answer, as long as the connection lives: loading a chain takes its time.
async fn connect<F>(
    config: &CoreIpcConfig,
    connecting: F,
    feed: &mut Feed,
) -> Result<tdp::BitcoinCoreSv2TDP, End>
where
    F: Future<Output = Result<tdp::BitcoinCoreSv2TDP, tdp::BitcoinCoreSv2TDPError>>,
{
    let mut connecting = pin!(connecting);
    let connected = match meanwhile(feed, timeout(PATIENCE, &mut connecting)).await {
        Some(Ok(connected)) => Some(connected),
        Some(Err(_)) => {
            feed.wait(Outage::Silent(config.socket.clone()));
            meanwhile(feed, connecting).await
        }
        None => None,
    };
    connected.ok_or(End::Stopped)?.map_err(|error| {
        End::Failed(Outage::NotANode { path: config.socket.clone(), reason: error.to_string() })
    })
}

fn constraints(config: &CoreIpcConfig) -> Message {
    Message::CoinbaseOutputConstraints(CoinbaseOutputConstraintsOwned {
        coinbase_output_max_additional_size: config.payouts_size.saturating_add(FIXED_SIZE),
        coinbase_output_max_additional_sigops: config.payouts_sigops,
    })
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use bitcoin::{Amount, ScriptBuf, TxOut, WitnessCommitment};
    use poolbox_accounting::Sats;

    use super::*;
    use crate::template::CoinbaseTemplate;

    #[test]
    fn the_fixed_size_has_room_for_all_of_a_block_but_payouts_and_transactions() {
        let commitment = WitnessCommitment::all_zeros();
        let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed], commitment.as_byte_array().as_slice()].concat();
        let coinbase = CoinbaseTemplate {
            tx_version: 2,
            script_prefix: vec![0; 100],
            sequence: u32::MAX,
            value: Sats::ZERO,
            outputs: vec![TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) }],
            lock_time: 0,
        };
        let transaction = coinbase.transaction(&[], &[]);
        assert_eq!(transaction.input[0].witness.len(), 1);
        // Header, transaction count, two more bytes for the count of over 252 outputs.
        let weight = transaction.weight().to_wu() + 4 * (80 + 5 + 2);
        assert!(weight <= 4 * u64::from(FIXED_SIZE), "{weight} weight units");
    }
}
