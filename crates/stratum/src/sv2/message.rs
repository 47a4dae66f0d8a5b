//! What the server says: the messages of the mining protocol (specification, section 5.3), and its error
//! codes.

use bitcoin::hashes::Hash;
use poolbox_accounting::Difficulty;
use stratum_core::binary_sv2::{Encodable, GetSize, Str0255, U256};
use stratum_core::extensions_sv2::{RequestExtensionsError, extensions_negotiation};
use stratum_core::mining_sv2 as mining;
use stratum_core::mining_sv2::{
    NewMiningJob, OpenMiningChannelError, SetNewPrevHash, SetTarget, SubmitSharesError, SubmitSharesSuccess,
};

use super::channel::VERSION_BITS;
use super::noise::{Broken, CHANNEL_BIT, Link};
use crate::coinbase::Coinbase;
use crate::job::Job;
use crate::sent::SentJob;
use crate::share::RejectReason;

/// Where messages are written: a link, and the bytes that go out through it.
pub(super) struct Writer<'a> {
    pub link: &'a mut Link,
    pub bytes: &'a mut Vec<u8>,
}

/// How a job reaches a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// It waits for the SetNewPrevHash that follows it.
    WithPrevHash,
    /// At once, from this header time on.
    Now(u32),
}

impl Writer<'_> {
    /// A message of the connection.
    pub fn common<M: Encodable + GetSize>(&mut self, message_type: u8, message: M) -> Result<(), Broken> {
        self.link.send(0, message_type, message, self.bytes)
    }

    /// A message of a channel.
    pub fn channel<M: Encodable + GetSize>(&mut self, message_type: u8, message: M) -> Result<(), Broken> {
        self.link.send(CHANNEL_BIT, message_type, message, self.bytes)
    }

    /// RequestExtensions.Error.
    pub fn no_extensions(&mut self, message: RequestExtensionsError<'_>) -> Result<(), Broken> {
        let (extension, message_type) = (
            extensions_negotiation::EXTENSION_TYPE,
            extensions_negotiation::MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR,
        );
        self.link.send(extension, message_type, message, self.bytes)
    }

    /// OpenMiningChannel.Error.
    pub fn open_error(&mut self, request_id: u32, code: &'static str) -> Result<(), Broken> {
        let message = OpenMiningChannelError { request_id, error_code: error_code(code)? };
        self.common(mining::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, message)
    }

    /// NewMiningJob: a job of a standard channel.
    pub fn standard_job(
        &mut self,
        channel_id: u32,
        sent: &SentJob,
        root: &[u8; 32],
        activation: Activation,
    ) -> Result<(), Broken> {
        let mut message = NewMiningJob {
            channel_id,
            job_id: sent.id,
            min_ntime: stratum_core::binary_sv2::Sv2Option::new(None),
            version: sent.job.template.version,
            merkle_root: root.into(),
        };
        if let Activation::Now(time) = activation {
            message.set_no_future(time);
        }
        self.channel(mining::MESSAGE_TYPE_NEW_MINING_JOB, message)
    }

    /// NewExtendedMiningJob: a job of an extended or a group channel. What follows the header time is
    /// the same for all of them and written once.
    pub fn extended_job(
        &mut self,
        channel_id: u32,
        job_id: u32,
        job: &Job,
        coinbase: &Coinbase,
        activation: Activation,
    ) -> Result<(), Broken> {
        let fixed = coinbase.sv2_fields(|| fixed_fields(job, coinbase));
        let mut head = [0; 13];
        head[..4].copy_from_slice(&channel_id.to_le_bytes());
        head[4..8].copy_from_slice(&job_id.to_le_bytes());
        let length = match activation {
            Activation::WithPrevHash => 9,
            Activation::Now(time) => {
                head[8] = 1;
                head[9..].copy_from_slice(&time.to_le_bytes());
                13
            }
        };
        let head = head.get(..length).unwrap_or_default();
        let message_type = mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB;
        self.link.send_with(CHANNEL_BIT, message_type, head.len() + fixed.len(), self.bytes, |payload| {
            let (first, rest) = payload.split_at_mut(head.len());
            first.copy_from_slice(head);
            rest.copy_from_slice(fixed);
            Ok(())
        })
    }

    /// SetNewPrevHash: the job is to be mined from now on.
    pub fn prev_hash(&mut self, channel_id: u32, job_id: u32, job: &Job, time: u32) -> Result<(), Broken> {
        let prev_hash = job.template.prev_hash.to_byte_array();
        let message = SetNewPrevHash {
            channel_id,
            job_id,
            prev_hash: (&prev_hash).into(),
            min_ntime: time,
            nbits: job.template.bits.to_consensus(),
        };
        self.channel(mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, message)
    }

    /// SetTarget.
    pub fn target(&mut self, channel_id: u32, difficulty: Difficulty) -> Result<(), Broken> {
        let target = target(difficulty);
        let message = SetTarget { channel_id, maximum_target: U256::from(&target) };
        self.channel(mining::MESSAGE_TYPE_SET_TARGET, message)
    }

    /// SubmitShares.Success.
    pub fn shares_success(&mut self, message: SubmitSharesSuccess) -> Result<(), Broken> {
        self.channel(mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, message)
    }

    /// SubmitShares.Error.
    pub fn share_error(
        &mut self,
        channel_id: u32,
        sequence_number: u32,
        reason: RejectReason,
    ) -> Result<(), Broken> {
        let message =
            SubmitSharesError { channel_id, sequence_number, error_code: error_code(code(reason))? };
        self.channel(mining::MESSAGE_TYPE_SUBMIT_SHARES_ERROR, message)
    }
}

/// A difficulty's target as Sv2 writes it: a little-endian number.
pub(super) fn target(difficulty: Difficulty) -> [u8; 32] {
    difficulty.target().to_le_bytes()
}

/// An error code as messages have it.
pub(super) fn error_code(code: &'static str) -> Result<Str0255<'static>, Broken> {
    code.try_into().map_err(|_| Broken("an error code was too long"))
}

/// The code of SubmitShares.Error.
pub(super) const fn code(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::Stale => mining::ERROR_CODE_SUBMIT_SHARES_STALE_SHARE,
        RejectReason::UnknownJob => mining::ERROR_CODE_SUBMIT_SHARES_INVALID_JOB_ID,
        RejectReason::Duplicate => mining::ERROR_CODE_SUBMIT_SHARES_DUPLICATE_SHARE,
        RejectReason::AboveTarget => mining::ERROR_CODE_SUBMIT_SHARES_DIFFICULTY_TOO_LOW,
        RejectReason::BadTime => "invalid-ntime",
        RejectReason::BadVersion => mining::ERROR_CODE_SUBMIT_SHARES_INVALID_NON_ROLLABLE_VERSION_BIT,
        RejectReason::BadExtranonce => mining::ERROR_CODE_SUBMIT_SHARES_BAD_EXTRANONCE_SIZE,
        RejectReason::Malformed => mining::ERROR_CODE_SUBMIT_SHARES_INVALID_SHARE,
        RejectReason::Unauthorized => mining::ERROR_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID,
        RejectReason::NotKept => "not-kept",
    }
}

/// NewExtendedMiningJob from `version` on: U32, BOOL, SEQ0_255[U256], B0_64K, B0_64K.
fn fixed_fields(job: &Job, coinbase: &Coinbase) -> Vec<u8> {
    let template = &job.template;
    let mut bytes = template.version.to_le_bytes().to_vec();
    bytes.push(u8::from(job.version_mask & VERSION_BITS != 0));
    // A block has far fewer than 2^255 transactions, and a coinbase far less than 64 KiB.
    bytes.push(template.merkle_path.len() as u8);
    template.merkle_path.iter().for_each(|node| bytes.extend_from_slice(node.as_byte_array()));
    for part in [coinbase.prefix(), coinbase.suffix()] {
        bytes.extend_from_slice(&(part.len() as u16).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}
