//! The protocol's messages: those a miner sends as frames, those it receives as what matters of them.

use stratum_core::binary_sv2::{
    B032, Deserialize, Encodable, GetSize, Seq0255, Str0255, Str0255Owned, U256, from_bytes, to_bytes,
};
use stratum_core::{common_messages_sv2 as common, mining_sv2 as mining};

use crate::sv2::link::{Frame, Header};
use crate::target::Target;

/// Shares were accepted.
pub const SUBMIT_SHARES_SUCCESS: u8 = mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS;
/// A share was refused.
pub const SUBMIT_SHARES_ERROR: u8 = mining::MESSAGE_TYPE_SUBMIT_SHARES_ERROR;
/// The only version of the protocol.
const PROTOCOL_VERSION: u16 = 2;
/// Bytes of a share before its extranonce: six numbers.
const SUBMISSION: usize = 24;
/// A miner's only request for a channel.
const REQUEST: u32 = 1;

/// The pool's message cannot be decoded; its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable(pub &'static str);

/// A text of more than 255 bytes cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// A connection as the miner wants it.
pub struct Setup<'a> {
    /// `SetupConnection`'s flags.
    pub flags: u32,
    /// The host that was connected to.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Who made the miner.
    pub vendor: &'a str,
    /// And its version.
    pub firmware: &'a str,
}

/// A channel as the miner wants it.
pub struct Opening<'a> {
    /// `owner.worker`.
    pub user: &'a str,
    /// Hashes per second.
    pub hashrate: f32,
    /// Bytes of extranonce of an extended channel; `None` for a standard one.
    pub extranonce_size: Option<u16>,
}

/// A share.
pub struct Submission<'a> {
    /// The channel.
    pub channel: u32,
    /// Counts the channel's shares.
    pub sequence: u32,
    /// The job.
    pub job: u32,
    /// The nonce.
    pub nonce: u32,
    /// The header's time.
    pub time: u32,
    /// The whole version.
    pub version: u32,
    /// The miner's part of an extended channel's extranonce; `None` on a standard one.
    pub extranonce: Option<&'a [u8]>,
}

/// What a pool says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The connection is set up, with these flags.
    Ready(u32),
    /// It is not, for this reason.
    NotReady(String),
    /// Connect elsewhere: host (empty for the same) and port (0 for the same).
    Reconnect(String, u16),
    /// The channel is open.
    Opened(Opened),
    /// It is not, for this reason.
    NotOpened(String),
    /// A job for this channel or group.
    Job(u32, Announced),
    /// A new block was found: previous hash and all that follows from it.
    Block(u32, NewBlock),
    /// The target of the jobs to come on this channel or group.
    Target(u32, Target),
    /// The pool's part of the extranonce, for jobs to come.
    Prefix(u32, Vec<u8>),
    /// These channels belong to that group.
    Group(u32, Vec<u32>),
    /// So many more shares were accepted.
    Accepted(u32, u32),
    /// A share was refused, for this reason.
    Rejected(u32, String),
    /// The channel is closed, for this reason.
    Closed(u32, String),
    /// Nothing that matters to a miner.
    Other,
}

/// An open channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub channel: u32,
    /// Its group's number.
    pub group: u32,
    /// The target of its shares.
    pub target: Target,
    /// The pool's part of the extranonce.
    pub prefix: Vec<u8>,
    /// Bytes of the miner's part; none on a standard channel.
    pub extranonce_size: usize,
}

/// A job as it arrives: without the block that it builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its number.
    pub id: u32,
    /// The header's time, from which on it may be hashed; `None` for a job to be kept until its
    /// block is announced.
    pub time: Option<u32>,
    /// Header version.
    pub version: u32,
    /// Whether the version's free bits may be rolled.
    pub rolling: bool,
    /// What is hashed in.
    pub root: AnnouncedRoot,
}

/// The merkle root, or how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnouncedRoot {
    /// A standard job's.
    Given([u8; 32]),
    /// An extended job's coinbase and its siblings.
    Coinbase {
        /// The coinbase before the extranonce.
        prefix: Vec<u8>,
        /// And after it.
        suffix: Vec<u8>,
        /// Siblings on the way to the root.
        path: Vec<[u8; 32]>,
    },
}

/// The block to build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewBlock {
    /// The job to hash, which was sent before.
    pub job: u32,
    /// The block's hash, in header order.
    pub previous: [u8; 32],
    /// The header's earliest time.
    pub time: u32,
    /// The next block's target in compact form.
    pub bits: u32,
}

/// `SetupConnection`.
///
/// # Errors
/// [`TooLong`].
pub fn setup(wish: &Setup<'_>) -> Result<Frame, TooLong> {
    let message = common::SetupConnectionOwned {
        protocol: common::Protocol::MiningProtocol,
        min_version: PROTOCOL_VERSION,
        max_version: PROTOCOL_VERSION,
        flags: wish.flags,
        endpoint_host: string(wish.host)?,
        endpoint_port: wish.port,
        vendor: string(wish.vendor)?,
        hardware_version: string("CPU")?,
        firmware: string(wish.firmware)?,
        device_id: string("")?,
    };
    frame(common::MESSAGE_TYPE_SETUP_CONNECTION, false, message)
}

/// `OpenExtendedMiningChannel` or `OpenStandardMiningChannel`, with no wish for a target.
///
/// # Errors
/// [`TooLong`].
pub fn open(wish: &Opening<'_>) -> Result<Frame, TooLong> {
    let max_target = [0xff; 32].into();
    let (user_identity, nominal_hash_rate) = (string(wish.user)?, wish.hashrate);
    match wish.extranonce_size {
        Some(min_extranonce_size) => {
            let message = mining::OpenExtendedMiningChannelOwned {
                request_id: REQUEST,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            };
            frame(mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, false, message)
        }
        None => {
            let message = mining::OpenStandardMiningChannelOwned {
                request_id: REQUEST,
                user_identity,
                nominal_hash_rate,
                max_target,
            };
            frame(mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, false, message)
        }
    }
}

/// `SubmitSharesExtended` or `SubmitSharesStandard`: appended to `out`, without the frame's header.
pub fn write_submission(share: &Submission<'_>, out: &mut Vec<u8>) {
    let Submission { channel, sequence, job, nonce, time, version, extranonce } = *share;
    for number in [channel, sequence, job, nonce, time, version] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    if let Some(extranonce) = extranonce {
        // The protocol allows 32 bytes.
        out.push(extranonce.len() as u8);
        out.extend_from_slice(extranonce);
    }
}

/// The header of a share's frame, whose extranonce has so many bytes.
pub const fn submission_header(extranonce: Option<usize>) -> Header {
    match extranonce {
        Some(size) => Header::new(mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, true, SUBMISSION + 1 + size),
        None => Header::new(mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, true, SUBMISSION),
    }
}

/// Reads a message.
///
/// # Errors
/// [`Undecodable`] names one that is not as the protocol has it.
pub fn read(header: Header, payload: &mut [u8]) -> Result<Received, Undecodable> {
    if !header.is_core() {
        return Ok(Received::Other);
    }
    Ok(match header.kind {
        common::MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS => {
            let message: common::SetupConnectionSuccess = decode("SetupConnection.Success", payload)?;
            Received::Ready(message.flags)
        }
        common::MESSAGE_TYPE_SETUP_CONNECTION_ERROR => {
            let message: common::SetupConnectionError = decode("SetupConnection.Error", payload)?;
            Received::NotReady(text(&message.error_code))
        }
        common::MESSAGE_TYPE_RECONNECT => {
            let message: common::Reconnect = decode("Reconnect", payload)?;
            Received::Reconnect(text(&message.new_host), message.new_port)
        }
        mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS => {
            let name = "OpenExtendedMiningChannel.Success";
            let message: mining::OpenExtendedMiningChannelSuccess = decode(name, payload)?;
            Received::Opened(Opened {
                channel: message.channel_id,
                group: message.group_channel_id,
                target: target(&message.target),
                prefix: bytes(&message.extranonce_prefix),
                extranonce_size: message.extranonce_size.into(),
            })
        }
        mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS => {
            let name = "OpenStandardMiningChannel.Success";
            let message: mining::OpenStandardMiningChannelSuccess = decode(name, payload)?;
            Received::Opened(Opened {
                channel: message.channel_id,
                group: message.group_channel_id,
                target: target(&message.target),
                prefix: bytes(&message.extranonce_prefix),
                extranonce_size: 0,
            })
        }
        mining::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR => {
            let message: mining::OpenMiningChannelError = decode("OpenMiningChannel.Error", payload)?;
            Received::NotOpened(text(&message.error_code))
        }
        _ => return read_work(header.kind, payload),
    })
}

/// Messages on an open channel.
fn read_work(kind: u8, payload: &mut [u8]) -> Result<Received, Undecodable> {
    Ok(match kind {
        mining::MESSAGE_TYPE_NEW_MINING_JOB => {
            let message: mining::NewMiningJob = decode("NewMiningJob", payload)?;
            let root = AnnouncedRoot::Given(hash(&message.merkle_root));
            let (id, version, time) = (message.job_id, message.version, message.min_ntime.into_inner());
            Received::Job(message.channel_id, Announced { id, time, version, rolling: true, root })
        }
        mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB => {
            let message: mining::NewExtendedMiningJob = decode("NewExtendedMiningJob", payload)?;
            let root = AnnouncedRoot::Coinbase {
                prefix: message.coinbase_tx_prefix.as_bytes().to_vec(),
                suffix: message.coinbase_tx_suffix.as_bytes().to_vec(),
                path: path(&message.merkle_path),
            };
            let (id, version, time) = (message.job_id, message.version, message.min_ntime.into_inner());
            let rolling = message.version_rolling_allowed;
            Received::Job(message.channel_id, Announced { id, time, version, rolling, root })
        }
        mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH => {
            let message: mining::SetNewPrevHash = decode("SetNewPrevHash", payload)?;
            let (job, time, bits) = (message.job_id, message.min_ntime, message.nbits);
            let previous = hash(&message.prev_hash);
            Received::Block(message.channel_id, NewBlock { job, previous, time, bits })
        }
        mining::MESSAGE_TYPE_SET_TARGET => {
            let message: mining::SetTarget = decode("SetTarget", payload)?;
            Received::Target(message.channel_id, target(&message.maximum_target))
        }
        mining::MESSAGE_TYPE_SET_EXTRANONCE_PREFIX => {
            let message: mining::SetExtranoncePrefix = decode("SetExtranoncePrefix", payload)?;
            Received::Prefix(message.channel_id, bytes(&message.extranonce_prefix))
        }
        mining::MESSAGE_TYPE_SET_GROUP_CHANNEL => {
            let message: mining::SetGroupChannel = decode("SetGroupChannel", payload)?;
            Received::Group(message.group_channel_id, message.channel_ids.into_inner())
        }
        SUBMIT_SHARES_SUCCESS => {
            let message: mining::SubmitSharesSuccess = decode("SubmitShares.Success", payload)?;
            Received::Accepted(message.channel_id, message.new_submits_accepted_count)
        }
        SUBMIT_SHARES_ERROR => {
            let message: mining::SubmitSharesError = decode("SubmitShares.Error", payload)?;
            Received::Rejected(message.channel_id, text(&message.error_code))
        }
        mining::MESSAGE_TYPE_CLOSE_CHANNEL => {
            let message: mining::CloseChannel = decode("CloseChannel", payload)?;
            Received::Closed(message.channel_id, text(&message.reason_code))
        }
        _ => Received::Other,
    })
}

fn frame(kind: u8, channel: bool, message: impl Encodable + GetSize) -> Result<Frame, TooLong> {
    to_bytes(message).map(|payload| Frame::new(kind, channel, payload)).map_err(|_| TooLong)
}

fn string(text: &str) -> Result<Str0255Owned, TooLong> {
    Str0255Owned::try_from(text).map_err(|_| TooLong)
}

fn decode<'a, T: Deserialize<'a>>(name: &'static str, payload: &'a mut [u8]) -> Result<T, Undecodable> {
    from_bytes(payload).map_err(|_| Undecodable(name))
}

/// What a pool says, fit for a log line.
fn text(string: &Str0255<'_>) -> String {
    String::from_utf8_lossy(string.as_ref()).chars().filter(|c| !c.is_control()).collect()
}

fn hash(number: &U256<'_>) -> [u8; 32] {
    *number.as_array()
}

fn target(number: &U256<'_>) -> Target {
    Target::from_le_bytes(*number.as_array())
}

fn bytes(bytes: &B032<'_>) -> Vec<u8> {
    bytes.as_bytes().to_vec()
}

fn path(path: &Seq0255<'_, U256<'_>>) -> Vec<[u8; 32]> {
    path.iter().map(hash).collect()
}
