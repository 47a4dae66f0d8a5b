//! Conversations with miners as the specification and the firmwares have them, through the real cipher:
//! the other end is the reference implementation's initiator and its messages.

mod channels;
mod jobs;
mod proxy;
mod setup;
mod shares;

use bitcoin::hashes::Hash;
use bitcoin::{Target, TxMerkleNode};
use poolbox_accounting::{Difficulty, Network};
use stratum_core::binary_sv2::{self, Encodable, GetSize};
use stratum_core::common_messages_sv2::{
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol as SubProtocol, SetupConnection, SetupConnectionError,
};
use stratum_core::mining_sv2::{
    CloseChannelOwned, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelOwned,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannelOwned,
    OpenStandardMiningChannelSuccess, SetNewPrevHash, SetTarget, SubmitSharesError,
    SubmitSharesExtendedOwned, SubmitSharesStandard, SubmitSharesSuccess, UpdateChannelError,
    UpdateChannelOwned,
};
use stratum_core::noise_sv2::{Initiator, NoiseEngine};
use stratum_core::parsers_sv2::{CommonMessages, Mining};

use super::setup::{REQUIRES_STANDARD_JOBS, REQUIRES_WORK_SELECTION};
use super::*;
use crate::job::fixture;
use crate::payout::PayoutPolicy;
use crate::session::{NoMemory, Session as _};
use crate::share::{RejectReason, Submission};
use crate::sv2::channel::{VERSION_BITS, within};
use crate::vardiff::VardiffLimits;

const START: Now = Now { ms: 0, unix: 1_700_000_500 };

fn at(seconds: u64) -> Now {
    Now { ms: seconds * 1_000, unix: START.unix + seconds as u32 }
}

/// A message as the miner read it.
#[derive(Debug)]
struct Heard {
    extension: u16,
    message_type: u8,
    payload: Vec<u8>,
}

impl Heard {
    fn read<M: binary_sv2::Decodable<'static>>(&self) -> M {
        M::from_bytes(self.payload.clone().leak()).unwrap()
    }
}

/// A miner's end of the link, and the session at the other.
struct Talk {
    session: Session,
    engine: NoiseEngine,
    /// What the session wanted done by the last event.
    out: Outbox,
}

impl Talk {
    fn new(policy: PayoutPolicy) -> Self {
        Self::with_limits(policy, VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX })
    }

    fn with_limits(policy: PayoutPolicy, limits: VardiffLimits) -> Self {
        let settings = SessionSettings {
            network: Network::Devnet,
            payout: policy,
            start: Difficulty::MIN,
            limits,
            memory: Arc::new(NoMemory),
        };
        let authority = AuthorityKey::from_secret([7; 32]).unwrap();
        let public = authority.public;
        let mut session = Session::new(Arc::new(settings), Arc::new(Extranonces::new()), authority);
        let mut out = Outbox::default();
        session.on_job(&fixture::job(fixture::template()), START, &mut out);
        let mut initiator = Initiator::from_raw_k(public).unwrap();
        let mut hello = initiator.step_0().unwrap();
        // In two pieces: TCP may cut anywhere.
        let (first, second) = hello.split_at_mut(20);
        session.on_bytes(first, START, &mut out);
        assert!(out.bytes.is_empty());
        session.on_bytes(second, START, &mut out);
        let answer: [u8; 234] = out.bytes.as_slice().try_into().unwrap();
        let engine = initiator.step_2(answer).unwrap();
        Self { session, engine, out: Outbox::default() }
    }

    /// Sends a message; what the session answers.
    fn say<M: Encodable + GetSize>(&mut self, now: Now, message_type: u8, message: M) -> Vec<Heard> {
        let mut sealed = self.seal(0, message_type, binary_sv2::to_bytes(message).unwrap());
        self.event(|session, out| session.on_bytes(&mut sealed, now, out))
    }

    fn seal(&mut self, extension: u16, message_type: u8, mut payload: Vec<u8>) -> Vec<u8> {
        let mut sealed = extension.to_le_bytes().to_vec();
        sealed.push(message_type);
        sealed.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
        self.engine.encrypt(&mut sealed).unwrap();
        self.engine.encrypt(&mut payload).unwrap();
        sealed.extend(payload);
        sealed
    }

    fn event(&mut self, event: impl FnOnce(&mut Session, &mut Outbox)) -> Vec<Heard> {
        self.out = Outbox::default();
        event(&mut self.session, &mut self.out);
        self.hear()
    }

    fn hear(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut rest = self.out.bytes.clone();
        while !rest.is_empty() {
            let mut header: Vec<u8> = rest.drain(..22).collect();
            self.engine.decrypt(&mut header).unwrap();
            let length = u32::from_le_bytes([header[3], header[4], header[5], 0]) as usize;
            let mut payload: Vec<u8> = rest.drain(..length + 16).collect();
            self.engine.decrypt(&mut payload).unwrap();
            let extension = u16::from_le_bytes([header[0], header[1]]) & 0x7fff;
            // The reference implementation reads it as well.
            let mut copy = payload.clone();
            let known = extension != 0
                || CommonMessages::try_from((header[2], copy.as_mut_slice())).is_ok()
                || Mining::try_from((header[2], payload.clone().as_mut_slice())).is_ok();
            assert!(known, "message {:#x}", header[2]);
            heard.push(Heard { extension, message_type: header[2], payload });
        }
        heard
    }

    fn set_up(&mut self, flags: u32) -> Vec<Heard> {
        self.set_up_as(SubProtocol::MiningProtocol, 2..=2, flags)
    }

    fn set_up_as(
        &mut self,
        protocol: SubProtocol,
        versions: std::ops::RangeInclusive<u16>,
        flags: u32,
    ) -> Vec<Heard> {
        let message = SetupConnection {
            protocol,
            min_version: *versions.start(),
            max_version: *versions.end(),
            flags,
            endpoint_host: "box".try_into().unwrap(),
            endpoint_port: 34254,
            vendor: "bitaxe".try_into().unwrap(),
            hardware_version: "BM1370".try_into().unwrap(),
            firmware: "".try_into().unwrap(),
            device_id: "".try_into().unwrap(),
        };
        self.say(START, MESSAGE_TYPE_SETUP_CONNECTION, message)
    }

    fn open_standard(&mut self, user: &str) -> Vec<Heard> {
        let message = OpenStandardMiningChannelOwned {
            request_id: 5,
            user_identity: user.try_into().unwrap(),
            nominal_hash_rate: 0.0,
            max_target: [0xff; 32].into(),
        };
        self.say(START, mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, message)
    }

    fn open_extended(&mut self, user: &str, min_extranonce_size: u16) -> Vec<Heard> {
        let message = OpenExtendedMiningChannelOwned {
            request_id: 6,
            user_identity: user.try_into().unwrap(),
            nominal_hash_rate: 0.0,
            max_target: [0xff; 32].into(),
            min_extranonce_size,
        };
        self.say(START, mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, message)
    }

    fn submit_extended(&mut self, now: Now, channel_id: u32, job_id: u32, nonce: u32) -> Vec<Heard> {
        let message = SubmitSharesExtendedOwned {
            channel_id,
            sequence_number: nonce,
            job_id,
            nonce,
            ntime: START.unix,
            version: 0x2000_0000,
            extranonce: vec![0; 8].try_into().unwrap(),
        };
        self.say(now, mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, message)
    }

    fn update(&mut self, now: Now, channel_id: u32, nominal_hash_rate: f32, target: [u8; 32]) -> Vec<Heard> {
        let maximum_target = target.into();
        let message = UpdateChannelOwned { channel_id, nominal_hash_rate, maximum_target };
        self.say(now, mining::MESSAGE_TYPE_UPDATE_CHANNEL, message)
    }

    fn close(&mut self, channel_id: u32) -> Vec<Heard> {
        let message = CloseChannelOwned { channel_id, reason_code: "bye".try_into().unwrap() };
        self.say(START, mining::MESSAGE_TYPE_CLOSE_CHANNEL, message)
    }

    fn job(&mut self, job: &Arc<Job>, now: Now) -> Vec<Heard> {
        self.event(|session, out| session.on_job(job, now, out))
    }

    fn tick(&mut self, now: Now) -> Vec<Heard> {
        self.event(|session, out| session.on_tick(now, out))
    }

    fn refusals(&self) -> Vec<RejectReason> {
        let reason = |news: &News| match news {
            News::Rejected(share) => Some(share.reason),
            News::Worker(_) => None,
        };
        self.out.news.iter().filter_map(reason).collect()
    }
}

fn pool() -> PayoutPolicy {
    PayoutPolicy::Pool(fixture::payout())
}

fn job_of(number: u64, template: poolbox_work_source::Template) -> Arc<Job> {
    Arc::new(Job::new(crate::JobNumber::starting_at(number), Arc::new(template)))
}

/// The fixture's template on another block.
fn next_block() -> poolbox_work_source::Template {
    poolbox_work_source::Template { prev_hash: Hash::from_byte_array([0x99; 32]), ..fixture::template() }
}

fn types(heard: &[Heard]) -> Vec<u8> {
    heard.iter().map(|heard| heard.message_type).collect()
}

/// Set up with an extended channel; its number, its extranonce prefix and its first job.
fn mining_extended() -> (Talk, u32, Vec<u8>, u32) {
    let mut talk = Talk::new(pool());
    talk.set_up(0);
    let heard = talk.open_extended("garage.bitaxe", 2);
    let success: OpenExtendedMiningChannelSuccess<'_> = heard[0].read();
    let job: NewExtendedMiningJob<'_> = heard[1].read();
    (talk, success.channel_id, success.extranonce_prefix.as_bytes().to_vec(), job.job_id)
}

/// The `count` first nonces that are shares of the fixture's job at the easiest difficulty.
fn shares(prefix: &[u8], count: usize) -> Vec<u32> {
    let job = fixture::job(fixture::template());
    let coinbase = job.coinbase(&fixture::payout(), 12).unwrap();
    let root = job.template.merkle_root(coinbase.txid(prefix, &[0; 8]));
    let (target, version) = (Difficulty::MIN.target(), job.template.version);
    let judge = |nonce| {
        Submission { time: START.unix, nonce, version }.judge(&job, root, target, 0, START.unix).is_ok()
    };
    (0..).filter(|&nonce| judge(nonce)).take(count).collect()
}
