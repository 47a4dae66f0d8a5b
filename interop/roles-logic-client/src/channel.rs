//! A channel as the stack's client side keeps it, and the search for shares of its active job.

use anyhow::{Context, Result, ensure};
use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use channels_sv2::client::extended::ExtendedChannel;
use channels_sv2::client::standard::StandardChannel;
use mining_sv2::{
    NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, SubmitSharesExtended, SubmitSharesStandard, Target,
};
use parsers_sv2::Mining;

/// Hashes between two looks for new messages.
const STRETCH: u32 = 200_000;

/// An open channel.
#[derive(Debug)]
pub enum Channel {
    /// The pool makes the merkle root.
    Standard(StandardChannel<'static>),
    /// The miner makes it.
    Extended(ExtendedChannel<'static>),
}

/// Where a search stands, so that no header is hashed twice.
#[derive(Debug, Default)]
pub struct Search {
    job: Option<u32>,
    nonce: u32,
    extranonce: u64,
}

impl Channel {
    /// The channel's id.
    pub fn id(&self) -> u32 {
        match self {
            Self::Standard(channel) => channel.get_channel_id(),
            Self::Extended(channel) => channel.get_channel_id(),
        }
    }

    /// Takes a job of a standard channel.
    pub fn standard_job(&mut self, job: NewMiningJob<'static>) -> Result<()> {
        match self {
            Self::Standard(channel) => channel.on_new_mining_job(job),
            Self::Extended(_) => anyhow::bail!("a standard job on an extended channel"),
        }
        Ok(())
    }

    /// Takes a job of an extended channel or of a group.
    pub fn extended_job(&mut self, job: NewExtendedMiningJob<'static>) -> Result<()> {
        match self {
            Self::Standard(channel) => channel.on_new_group_channel_job(job),
            Self::Extended(channel) => {
                let taken = channel.on_new_extended_mining_job(job);
                taken.map_err(|error| anyhow::anyhow!("unusable job: {error:?}"))?;
            }
        }
        Ok(())
    }

    /// A new block: activates the job that was made for it.
    pub fn new_block(&mut self, block: SetNewPrevHash<'static>) -> Result<()> {
        let job = block.job_id;
        match self {
            Self::Standard(channel) => channel.on_set_new_prev_hash(block).ok(),
            Self::Extended(channel) => channel.on_set_new_prev_hash(block).ok(),
        }
        .with_context(|| format!("SetNewPrevHash names job {job}, which is no future job"))
    }

    /// Takes a new target for the jobs to come.
    pub fn set_target(&mut self, target: Target) {
        match self {
            Self::Standard(channel) => channel.set_target(target),
            Self::Extended(channel) => channel.set_target(target),
        }
    }

    /// Whether there is something to hash.
    pub fn has_work(&self) -> bool {
        match self {
            Self::Standard(channel) => {
                channel.get_active_job().is_some() && channel.get_chain_tip().is_some()
            }
            Self::Extended(channel) => {
                channel.get_active_job().is_some() && channel.get_chain_tip().is_some()
            }
        }
    }

    /// Searches for a while; the message that submits what was found. The stack's own client side must call
    /// the share valid first.
    pub fn search(&mut self, search: &mut Search, sequence_number: u32) -> Result<Option<Mining<'static>>> {
        let Some((job_id, header)) = self.header(search)? else { return Ok(None) };
        let Some(nonce) = hash(header, search.nonce, self.target()) else {
            search.nonce = search.nonce.wrapping_add(STRETCH);
            if search.nonce < STRETCH {
                search.extranonce += 1;
            }
            return Ok(None);
        };
        search.nonce = nonce.wrapping_add(1);
        let (channel_id, ntime, version) = (self.id(), header.time, header.version.to_consensus() as u32);
        match self {
            Self::Standard(channel) => {
                let share =
                    SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version };
                let verdict = channel.validate_share(share.clone());
                ensure!(verdict.is_ok(), "the old stack refuses our share: {verdict:?}");
                Ok(Some(Mining::SubmitSharesStandard(share)))
            }
            Self::Extended(channel) => {
                let extranonce = extranonce(channel, search).try_into();
                let extranonce =
                    extranonce.map_err(|error| anyhow::anyhow!("extranonce too long: {error:?}"))?;
                let share = SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce,
                };
                let verdict = channel.validate_share(share.clone());
                ensure!(verdict.is_ok(), "the old stack refuses our share: {verdict:?}");
                Ok(Some(Mining::SubmitSharesExtended(share)))
            }
        }
    }

    /// The active job's id and header, without a nonce.
    fn header(&self, search: &mut Search) -> Result<Option<(u32, Header)>> {
        let (tip, job_id) = match self {
            Self::Standard(channel) => {
                (channel.get_chain_tip(), channel.get_active_job().map(|job| job.job_id))
            }
            Self::Extended(channel) => {
                (channel.get_chain_tip(), channel.get_active_job().map(|job| job.0.job_id))
            }
        };
        let (Some(tip), Some(job_id)) = (tip, job_id) else { return Ok(None) };
        if search.job != Some(job_id) {
            *search = Search { job: Some(job_id), ..Search::default() };
        }
        let (root, version, min_ntime) = match self {
            Self::Standard(channel) => {
                let job = channel.get_active_job().context("no job")?;
                (job.merkle_root.to_vec(), job.version, job.min_ntime.clone().into_inner())
            }
            Self::Extended(channel) => {
                let (job, prefix) = channel.get_active_job().context("no job")?;
                // Without its witness: the stack has stripped that.
                let coinbase = [
                    job.coinbase_tx_prefix.inner_as_ref(),
                    prefix,
                    &extranonce(channel, search),
                    job.coinbase_tx_suffix.inner_as_ref(),
                ];
                let root = merkle_root(&coinbase.concat(), &job.merkle_path.inner_as_ref());
                (root, job.version, job.min_ntime.clone().into_inner())
            }
        };
        let header = Header {
            version: Version::from_consensus(version as i32),
            prev_blockhash: BlockHash::from_slice(tip.prev_hash().inner_as_ref())?,
            merkle_root: TxMerkleNode::from_slice(&root)?,
            time: min_ntime.unwrap_or_else(|| tip.min_ntime()),
            bits: CompactTarget::from_consensus(tip.nbits()),
            nonce: 0,
        };
        Ok(Some((job_id, header)))
    }

    fn target(&self) -> &Target {
        match self {
            Self::Standard(channel) => channel.get_target(),
            Self::Extended(channel) => channel.get_target(),
        }
    }
}

/// The miner's part of the extranonce, in the length that the pool gave.
fn extranonce(channel: &ExtendedChannel<'static>, search: &Search) -> Vec<u8> {
    let mut bytes = search.extranonce.to_le_bytes().to_vec();
    bytes.resize(channel.get_rollable_extranonce_size().into(), 0);
    bytes
}

fn merkle_root(coinbase: &[u8], path: &[&[u8]]) -> Vec<u8> {
    let leaf = sha256d::Hash::hash(coinbase);
    let root = path.iter().fold(leaf, |root, node| sha256d::Hash::hash(&[&root[..], node].concat()));
    root.to_byte_array().to_vec()
}

/// The first nonce of a stretch that makes a share. One that solves a block is taken as well.
fn hash(mut header: Header, from: u32, target: &Target) -> Option<u32> {
    (from..from.saturating_add(STRETCH)).find(|&nonce| {
        header.nonce = nonce;
        Target::from(header.block_hash().to_byte_array()) < *target
    })
}
