//! The miner's counterpart in tests: a Stratum V2 server that says what it is told to, checks what
//! the miner sends, and proves every share. Its Noise and its messages are those of SRI.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::secp256k1::{Keypair, Parity, Secp256k1};
use bitcoin::{BlockHash, Target, base58};
use stratum_core::binary_sv2::{
    Deserialize, Encodable, GetSize, Seq0255Owned, Sv2OptionOwned, from_bytes, to_bytes,
};
use stratum_core::common_messages_sv2 as common;
use stratum_core::mining_sv2::*;
use stratum_core::noise_sv2::{NoiseEngine, Responder};

use crate::block::{BITS, Header, VERSION, coinbase_parts, merkle_path, merkle_root};
use crate::miner::{PATIENCE, accept};

/// Bytes that authenticate a ciphertext.
const TAG: usize = 16;
/// The group of every channel.
pub const GROUP: u32 = 900;
/// Version bits that may be rolled.
pub const MASK: u32 = 0x1fff_e000;

pub struct ScriptedPool {
    listener: TcpListener,
    authority: Keypair,
}

/// One connection of the miner.
pub struct Conversation {
    stream: TcpStream,
    engine: NoiseEngine,
    /// The number of this connection, which makes its extranonces its own.
    channel: u32,
    extended: bool,
    prefix: Vec<u8>,
    target: Target,
    /// Blocks announced so far.
    blocks: u32,
    jobs: Vec<SentJob>,
    next_sequence: u32,
    /// Everything that was ever hashed into a share.
    seen: HashSet<BlockHash>,
}

/// What a job was sent under.
#[derive(Clone)]
struct SentJob {
    id: u32,
    prefix: Vec<u8>,
    time: u32,
    target: Target,
    rolling: bool,
    /// The block that it builds on, once that is announced.
    block: Option<u32>,
}

/// What the miner asked for.
#[derive(Debug)]
pub struct Wishes {
    pub vendor: String,
    pub firmware: String,
    pub user: String,
    pub hashrate: f32,
}

/// A share that was sent, and proved.
#[derive(Debug)]
pub struct Share {
    pub job: u32,
    pub sequence: u32,
    pub extranonce: Vec<u8>,
    pub version: u32,
    pub hash: BlockHash,
}

impl ScriptedPool {
    pub fn start() -> Self {
        let secp = Secp256k1::new();
        let keys = Keypair::from_seckey_slice(&secp, &[9; 32]).unwrap();
        let secret = keys.secret_key();
        // The protocol's keys are those of even points.
        let even = if keys.x_only_public_key().1 == Parity::Odd { secret.negate() } else { secret };
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            authority: Keypair::from_secret_key(&secp, &even),
        }
    }

    pub fn url(&self) -> String {
        format!("stratum2+tcp://{}", self.listener.local_addr().unwrap())
    }

    /// The key that certifies this pool, as its URL has it.
    pub fn key(&self) -> String {
        base58::encode_check(&[&[1, 0][..], &self.authority.x_only_public_key().0.serialize()].concat())
    }

    /// The next connection, before anything was said.
    pub fn accept_silently(&self) -> TcpStream {
        let stream = accept(&self.listener);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The next connection, after the handshake; its channel will have this number.
    pub fn accept(&self, channel: u32) -> Conversation {
        let mut stream = self.accept_silently();
        let mut hello = [0; 64];
        stream.read_exact(&mut hello).unwrap();
        let public = self.authority.x_only_public_key().0.serialize();
        let validity = Duration::from_secs(3600);
        let secret = self.authority.secret_bytes();
        let mut responder = Responder::from_authority_kp(&public, &secret, validity).unwrap();
        let (answer, engine) = responder.step_1(hello).unwrap();
        stream.write_all(&answer).unwrap();
        Conversation {
            stream,
            engine,
            channel,
            extended: true,
            prefix: [&[0xaa, 0xbb][..], &channel.to_be_bytes()].concat(),
            target: Target::MAX,
            blocks: 0,
            jobs: Vec::new(),
            next_sequence: 0,
            seen: HashSet::new(),
        }
    }
}

impl Conversation {
    pub fn send(&mut self, kind: u8, message: impl Encodable + GetSize) {
        let payload = to_bytes(message).unwrap();
        let [l0, l1, l2, _] = (payload.len() as u32).to_le_bytes();
        // The receiver must not mind the channel bit.
        for mut part in [vec![0, 0x80, kind, l0, l1, l2], payload] {
            self.engine.encrypt(&mut part).unwrap();
            self.stream.write_all(&part).unwrap();
        }
    }

    /// The next message, unless the miner is gone.
    pub fn try_receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = vec![0; 6 + TAG];
        self.stream.read_exact(&mut header).ok()?;
        self.engine.decrypt(&mut header).unwrap();
        let length = u32::from_le_bytes([header[3], header[4], header[5], 0]) as usize;
        let mut payload = vec![0; length + TAG];
        self.stream.read_exact(&mut payload).ok()?;
        self.engine.decrypt(&mut payload).unwrap();
        Some((header[2], payload))
    }

    /// The next message's payload, which must be of this kind.
    pub fn expect(&mut self, kind: u8) -> Vec<u8> {
        let (found, payload) = self.try_receive().expect("the miner is gone");
        assert_eq!(found, kind);
        payload
    }

    /// Takes `SetupConnection` and answers it.
    pub fn set_up(&mut self) -> Wishes {
        let mut payload = self.expect(common::MESSAGE_TYPE_SETUP_CONNECTION);
        let setup: common::SetupConnection = decode(&mut payload);
        assert_eq!(setup.protocol, common::Protocol::MiningProtocol);
        assert_eq!((setup.min_version, setup.max_version), (2, 2));
        assert_eq!(setup.endpoint_host.as_utf8_or_hex(), "127.0.0.1");
        assert!(setup.flags <= 1);
        self.extended = setup.flags == 0;
        let wishes = Wishes {
            vendor: setup.vendor.as_utf8_or_hex(),
            firmware: setup.firmware.as_utf8_or_hex(),
            user: String::new(),
            hashrate: 0.0,
        };
        let success = common::SetupConnectionSuccess { used_version: 2, flags: 0 };
        self.send(common::MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, success);
        wishes
    }

    /// Takes the request for a channel; its number, user and hash rate.
    pub fn open_request(&mut self) -> (u32, String, f32) {
        if self.extended {
            let mut payload = self.expect(MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL);
            let open: OpenExtendedMiningChannel = decode(&mut payload);
            assert_eq!(open.max_target.to_array(), [0xff; 32]);
            (open.request_id, open.user_identity.as_utf8_or_hex(), open.nominal_hash_rate)
        } else {
            let mut payload = self.expect(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL);
            let open: OpenStandardMiningChannel = decode(&mut payload);
            assert_eq!(open.max_target.to_array(), [0xff; 32]);
            (open.request_id, open.user_identity.as_utf8_or_hex(), open.nominal_hash_rate)
        }
    }

    /// Sets the connection up and opens the channel, whose shares must meet `target`.
    pub fn greet(&mut self, target: Target) -> Wishes {
        let mut wishes = self.set_up();
        let request_id;
        (request_id, wishes.user, wishes.hashrate) = self.open_request();
        self.target = target;
        let (channel_id, group_channel_id) = (self.channel, GROUP);
        let target = target.to_le_bytes().into();
        let extranonce_prefix = self.prefix.clone().try_into().unwrap();
        if self.extended {
            let success = OpenExtendedMiningChannelSuccessOwned {
                request_id,
                channel_id,
                target,
                extranonce_size: 4,
                extranonce_prefix,
                group_channel_id,
            };
            self.send(MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS, success);
        } else {
            let success = OpenStandardMiningChannelSuccessOwned {
                request_id,
                channel_id,
                target,
                extranonce_prefix,
                group_channel_id,
            };
            self.send(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS, success);
        }
        wishes
    }

    /// Sends a job for the current block, or one to keep for the next.
    pub fn job(&mut self, id: u32, for_next_block: bool) {
        self.job_with(id, for_next_block, true);
    }

    /// Likewise; `rolling` says whether an extended job's version may be rolled.
    pub fn job_with(&mut self, id: u32, for_next_block: bool, rolling: bool) {
        let time = 1_700_000_000 + id;
        let min_ntime = Sv2OptionOwned::new((!for_next_block).then_some(time));
        let prefix = self.prefix.clone();
        if self.extended {
            let (coinbase1, coinbase2) = coinbase_parts(prefix.len() + 4);
            let path = merkle_path().iter().map(|node| node.to_byte_array().into()).collect();
            let message = NewExtendedMiningJobOwned {
                channel_id: GROUP,
                job_id: id,
                min_ntime,
                version: VERSION,
                version_rolling_allowed: rolling,
                merkle_path: Seq0255Owned::new(path).unwrap(),
                coinbase_tx_prefix: coinbase1.try_into().unwrap(),
                coinbase_tx_suffix: coinbase2.try_into().unwrap(),
            };
            self.send(MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, message);
        } else {
            let root = merkle_root(&prefix).to_byte_array().into();
            let (channel_id, version) = (self.channel, VERSION);
            let message = NewMiningJobOwned { channel_id, job_id: id, min_ntime, version, merkle_root: root };
            self.send(MESSAGE_TYPE_NEW_MINING_JOB, message);
        }
        let block = (!for_next_block).then_some(self.blocks);
        self.jobs.push(SentJob { id, prefix, time, target: self.target, rolling, block });
    }

    /// Announces a block, to be built on with this job, which was sent before.
    pub fn new_block(&mut self, job: u32) {
        self.blocks += 1;
        let sent = self.jobs.iter_mut().find(|sent| sent.id == job).expect("a job that was sent");
        sent.block = Some(self.blocks);
        sent.target = self.target;
        let message = SetNewPrevHashOwned {
            channel_id: GROUP,
            job_id: job,
            prev_hash: block_hash(self.blocks).to_byte_array().into(),
            min_ntime: 1_700_000_000 + job,
            nbits: BITS,
        };
        self.send(MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, message);
    }

    pub fn set_target(&mut self, target: Target) {
        self.target = target;
        let maximum_target = target.to_le_bytes().into();
        self.send(MESSAGE_TYPE_SET_TARGET, SetTargetOwned { channel_id: self.channel, maximum_target });
    }

    pub fn set_extranonce_prefix(&mut self, prefix: &[u8]) {
        self.prefix = prefix.to_vec();
        let extranonce_prefix = prefix.to_vec().try_into().unwrap();
        let message = SetExtranoncePrefixOwned { channel_id: self.channel, extranonce_prefix };
        self.send(MESSAGE_TYPE_SET_EXTRANONCE_PREFIX, message);
    }

    pub fn close_channel(&mut self, reason: &str) {
        let reason_code = reason.to_owned().try_into().unwrap();
        self.send(MESSAGE_TYPE_CLOSE_CHANNEL, CloseChannelOwned { channel_id: self.channel, reason_code });
    }

    /// The next share, proved to meet its job's target, and new. Not answered yet.
    pub fn share(&mut self) -> Share {
        self.try_share().expect("the miner is gone")
    }

    /// Likewise, unless the miner is gone.
    pub fn try_share(&mut self) -> Option<Share> {
        let (kind, mut payload) = self.try_receive()?;
        let share: SubmitSharesExtendedOwned = if self.extended {
            assert_eq!(kind, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED);
            decode::<SubmitSharesExtended>(&mut payload).into_owned()
        } else {
            assert_eq!(kind, MESSAGE_TYPE_SUBMIT_SHARES_STANDARD);
            let SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version } =
                decode(&mut payload);
            let extranonce = Vec::new().try_into().unwrap();
            SubmitSharesExtendedOwned {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            }
        };
        Some(self.prove(&share))
    }

    pub fn accept_share(&mut self) -> Share {
        let share = self.share();
        self.acknowledge(share.sequence, 1);
        share
    }

    /// Says that `count` more shares, up to this one, are accepted.
    pub fn acknowledge(&mut self, last: u32, count: u32) {
        let message = SubmitSharesSuccess {
            channel_id: self.channel,
            last_sequence_number: last,
            new_submits_accepted_count: count,
            new_shares_sum: count.into(),
        };
        self.send(MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, message);
    }

    pub fn refuse(&mut self, sequence: u32, reason: &str) {
        let error_code = reason.to_owned().try_into().unwrap();
        let message =
            SubmitSharesErrorOwned { channel_id: self.channel, sequence_number: sequence, error_code };
        self.send(MESSAGE_TYPE_SUBMIT_SHARES_ERROR, message);
    }

    /// The number of the block that this job builds on.
    pub fn block_of(&self, job: u32) -> u32 {
        self.jobs.iter().find(|sent| sent.id == job).and_then(|sent| sent.block).unwrap()
    }

    fn prove(&mut self, share: &SubmitSharesExtendedOwned) -> Share {
        assert_eq!(share.channel_id, self.channel);
        assert_eq!(share.sequence_number, self.next_sequence);
        self.next_sequence += 1;
        let job = self.jobs.iter().find(|job| job.id == share.job_id).expect("a job that was sent").clone();
        let extranonce = share.extranonce.as_bytes().to_vec();
        assert_eq!(extranonce.len(), if self.extended { 4 } else { 0 });
        assert!(share.ntime >= job.time, "time {} before {}", share.ntime, job.time);
        let rolled = share.version ^ VERSION;
        assert_eq!(rolled & !MASK, 0, "bits outside the mask");
        assert!(job.rolling || rolled == 0, "the version was rolled");
        let extranonces = [job.prefix, extranonce.clone()].concat();
        let header = Header {
            version: share.version,
            extranonces: extranonces.clone(),
            time: share.ntime,
            nonce: share.nonce,
        };
        let block = job.block.expect("a job whose block was announced");
        let hash = header.hash_on(block_hash(block), merkle_root(&extranonces));
        assert!(job.target.is_met_by(hash), "{hash} is no share of job {}", job.id);
        assert!(self.seen.insert(hash), "{hash} was sent twice");
        Share { job: share.job_id, sequence: share.sequence_number, extranonce, version: share.version, hash }
    }
}

/// The hash of the `number`th block that the pool announces.
fn block_hash(number: u32) -> BlockHash {
    BlockHash::from_raw_hash(sha256d::Hash::hash(&number.to_le_bytes()))
}

fn decode<'a, T: Deserialize<'a>>(payload: &'a mut [u8]) -> T {
    from_bytes(payload).unwrap()
}
