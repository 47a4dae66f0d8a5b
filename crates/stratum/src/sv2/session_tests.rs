//! Conversations with miners as the specification and the firmwares have them, through the real cipher:
//! the other end is the reference implementation's initiator and its messages.

use bitcoin::TxMerkleNode;
use bitcoin::hashes::Hash;
use poolbox_accounting::Network;
use stratum_core::binary_sv2::{self, Encodable, GetSize};
use stratum_core::mining_sv2::{
    CloseChannelOwned, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelOwned,
    OpenMiningChannelError, OpenStandardMiningChannelOwned, SetNewPrevHash, SetTarget, SubmitSharesError,
    SubmitSharesExtendedOwned, SubmitSharesStandard, UpdateChannelOwned,
};
use stratum_core::noise_sv2::{Initiator, NoiseEngine};
use stratum_core::parsers_sv2::{CommonMessages, Mining};

use super::super::channel::VERSION_BITS;
use super::*;
use crate::job::fixture;
use crate::payout::PayoutPolicy;
use crate::session::{NoMemory, Session as _};
use crate::share::Submission;
use crate::vardiff::VardiffLimits;

const START: Now = Now { ms: 0, unix: 1_700_000_500 };

fn at(seconds: u64) -> Now {
    Now { ms: seconds * 1_000, unix: START.unix + seconds as u32 }
}

/// A message as the miner read it.
#[derive(Debug)]
struct Heard {
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
        let mut session = Session::new(Arc::new(settings), Arc::new(Extranonces::new()), authority, START);
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
        let payload = binary_sv2::to_bytes(message).unwrap();
        let mut sealed = vec![0, 0, message_type];
        sealed.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
        self.engine.encrypt(&mut sealed).unwrap();
        let mut rest = payload;
        self.engine.encrypt(&mut rest).unwrap();
        sealed.extend(rest);
        self.out = Outbox::default();
        self.session.on_bytes(&mut sealed, now, &mut self.out);
        self.hear()
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
            // The reference implementation reads it as well.
            let mut copy = payload.clone();
            let known = CommonMessages::try_from((header[2], copy.as_mut_slice())).is_ok()
                || Mining::try_from((header[2], payload.clone().as_mut_slice())).is_ok();
            assert!(known, "message {:#x}", header[2]);
            heard.push(Heard { message_type: header[2], payload });
        }
        heard
    }

    fn set_up(&mut self, flags: u32) -> Vec<Heard> {
        let message = SetupConnection {
            protocol: SubProtocol::MiningProtocol,
            min_version: 2,
            max_version: 2,
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

#[test]
fn a_bitaxe_opens_an_extended_channel_and_is_sent_work_at_once() {
    let mut talk = Talk::new(pool());
    assert_eq!(types(&talk.set_up(0)), [MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS]);
    let heard = talk.open_extended("garage.bitaxe", 2);
    let expected = [
        mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
        mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB,
        mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH,
    ];
    assert_eq!(types(&heard), expected);
    let success: OpenExtendedMiningChannelSuccess<'_> = heard[0].read();
    let job: NewExtendedMiningJob<'_> = heard[1].read();
    let prev_hash: SetNewPrevHash<'_> = heard[2].read();
    assert!(job.is_future() && job.version_rolling_allowed);
    assert_eq!((job.channel_id, prev_hash.channel_id), (success.channel_id, success.channel_id));
    assert_eq!(prev_hash.job_id, job.job_id);
    assert_eq!((success.extranonce_size, success.extranonce_prefix.as_bytes().len()), (8, 4));
    assert_ne!(success.group_channel_id, success.channel_id);
    assert_eq!(success.target.to_array(), Difficulty::MIN.target().to_le_bytes());
    assert!(heard.iter().all(|heard| heard.payload.len() <= 8192), "what its firmware can take");
}

#[test]
fn a_bitaxe_with_standard_jobs_gets_the_root_of_its_own_coinbase() {
    let mut talk = Talk::new(pool());
    talk.set_up(REQUIRES_STANDARD_JOBS);
    let heard = talk.open_standard("garage.bitaxe");
    let expected = [
        mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
        mining::MESSAGE_TYPE_NEW_MINING_JOB,
        mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH,
    ];
    assert_eq!(types(&heard), expected);
    let success: OpenStandardMiningChannelSuccess<'_> = heard[0].read();
    let message: NewMiningJob<'_> = heard[1].read();
    let job = fixture::job(fixture::template());
    let prefix = success.extranonce_prefix.as_bytes().to_vec();
    assert_eq!(prefix.len(), 12);
    let root = job.template.merkle_root(job.coinbase(&fixture::payout(), 12).unwrap().txid(&prefix, &[]));
    assert_eq!(TxMerkleNode::from_byte_array(message.merkle_root.to_array()), root);

    let nonce = shares(&prefix[..4], 1)[0];
    let share = SubmitSharesStandard {
        channel_id: success.channel_id,
        sequence_number: 1,
        job_id: message.job_id,
        nonce,
        ntime: START.unix,
        version: 0x2000_0000,
    };
    talk.say(START, mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, share);
    assert_eq!(talk.out.shares.len(), 1);
    let refused = talk.open_extended("garage.other", 2);
    assert_eq!(types(&refused), [mining::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR]);
}

#[test]
fn a_share_is_acknowledged_only_when_it_is_kept_and_once_for_a_whole_group() {
    let (mut talk, channel, prefix, job) = mining_extended();
    let nonces = shares(&prefix, 2);
    for nonce in &nonces {
        assert!(
            talk.submit_extended(START, channel, job, *nonce).is_empty(),
            "no answer before it is on disk"
        );
        assert_eq!(talk.out.shares.len(), 1);
        assert_eq!(talk.out.shares[0].work, Difficulty::MIN.work());
    }
    let heard = talk.event(|session, out| session.on_kept(2, true, out));
    let success: SubmitSharesSuccess = heard[0].read();
    assert_eq!(heard.len(), 1);
    assert_eq!((success.new_submits_accepted_count, success.last_sequence_number), (2, nonces[1]));

    assert_eq!(talk.submit_extended(START, channel, job, nonces[0]).len(), 1);
    assert_eq!(talk.refusals(), [RejectReason::Duplicate]);
}

#[test]
fn a_share_that_could_not_be_kept_may_be_sent_again() {
    let (mut talk, channel, prefix, job) = mining_extended();
    let nonce = shares(&prefix, 1)[0];
    talk.submit_extended(START, channel, job, nonce);
    let heard = talk.event(|session, out| session.on_kept(1, false, out));
    assert_eq!(types(&heard), [mining::MESSAGE_TYPE_SUBMIT_SHARES_ERROR]);
    talk.submit_extended(START, channel, job, nonce);
    assert_eq!(talk.out.shares.len(), 1);
}

#[test]
fn each_wrong_share_is_answered_with_its_code() {
    let (mut talk, channel, prefix, job) = mining_extended();
    let nonce = shares(&prefix, 1)[0];
    let good = SubmitSharesExtendedOwned {
        channel_id: channel,
        sequence_number: 9,
        job_id: job,
        nonce,
        ntime: START.unix,
        version: 0x2000_0000,
        extranonce: vec![0; 8].try_into().unwrap(),
    };
    type Spoil<'a> = &'a dyn Fn(&mut SubmitSharesExtendedOwned);
    let wrong: [(&str, Spoil<'_>); 6] = [
        ("invalid-channel-id", &|share| share.channel_id += 77),
        ("invalid-job-id", &|share| share.job_id += 77),
        ("difficulty-too-low", &|share| share.nonce += 1),
        ("bad-extranonce-size", &|share| share.extranonce = vec![0; 7].try_into().unwrap()),
        ("invalid-non-rollable-version-bit", &|share| share.version = 0x4000_0000),
        ("invalid-ntime", &|share| share.ntime = 1),
    ];
    for (code, spoil) in wrong {
        let mut share = good.clone();
        spoil(&mut share);
        let heard = talk.say(START, mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, share);
        let error: SubmitSharesError<'_> = heard[0].read();
        assert_eq!((error.error_code.as_bytes(), error.sequence_number), (code.as_bytes(), 9));
        assert!(talk.out.close.is_none(), "a healthy miner stays");
    }
    talk.say(START, mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, good);
    assert_eq!(talk.out.shares.len(), 1);
}

#[test]
fn the_bits_of_bip_323_may_be_rolled() {
    let (mut talk, channel, _, job) = mining_extended();
    let share = SubmitSharesExtendedOwned {
        channel_id: channel,
        sequence_number: 1,
        job_id: job,
        nonce: 1,
        ntime: START.unix,
        version: 0x2000_0000 | VERSION_BITS,
        extranonce: vec![0; 8].try_into().unwrap(),
    };
    talk.say(START, mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, share);
    assert_eq!(talk.refusals(), [RejectReason::AboveTarget], "only its hash was wrong");
}

#[test]
fn a_new_block_makes_jobs_stale_and_a_refreshed_template_does_not() {
    let (mut talk, channel, prefix, first) = mining_extended();
    let nonces = shares(&prefix, 3);
    let job_of =
        |number, template| Arc::new(Job::new(crate::JobNumber::starting_at(number), Arc::new(template)));
    let refreshed = job_of(2, fixture::template());
    let heard = talk.event(|session, out| session.on_job(&refreshed, at(1), out));
    let job: NewExtendedMiningJob<'_> = heard[0].read();
    assert!(heard.len() == 1 && !job.is_future());
    talk.submit_extended(at(1), channel, first, nonces[0]);
    assert_eq!(talk.out.shares.len(), 1);

    let mut next = fixture::template();
    next.prev_hash = Hash::from_byte_array([0x99; 32]);
    let next = job_of(3, next);
    let heard = talk.event(|session, out| session.on_job(&next, at(2), out));
    let expected =
        [mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH];
    assert_eq!(types(&heard), expected);
    talk.submit_extended(at(3), channel, first, nonces[1]);
    assert!(talk.out.shares[0].block.is_none(), "found before the miner could know");
    talk.submit_extended(at(4), channel, first, nonces[2]);
    assert_eq!(talk.refusals(), [RejectReason::Stale]);
}

#[test]
fn a_quiet_chain_still_sends_a_job_before_any_firmware_gives_up() {
    let (mut talk, ..) = mining_extended();
    let jobs: Vec<Heard> =
        (1..=45).flat_map(|second| talk.event(|session, out| session.on_tick(at(second), out))).collect();
    assert!(types(&jobs).contains(&mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB));
}

#[test]
fn a_job_keeps_the_target_it_was_sent_with() {
    let (mut talk, channel, prefix, first) = mining_extended();
    let nonce = shares(&prefix, 1)[0];
    let update = UpdateChannelOwned {
        channel_id: channel,
        nominal_hash_rate: 1e12,
        maximum_target: [0xff; 32].into(),
    };
    let heard = talk.say(at(1), mining::MESSAGE_TYPE_UPDATE_CHANNEL, update);
    let expected = [mining::MESSAGE_TYPE_SET_TARGET, mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB];
    assert_eq!(types(&heard), expected);
    let target: SetTarget<'_> = heard[0].read();
    assert_eq!(target.maximum_target.to_array(), Difficulty::for_hashrate(1e12).target().to_le_bytes());
    let harder: NewExtendedMiningJob<'_> = heard[1].read();
    talk.submit_extended(at(1), channel, first, nonce);
    assert_eq!(talk.out.shares[0].work, Difficulty::MIN.work());
    talk.submit_extended(at(1), channel, harder.job_id, nonce);
    assert_eq!(talk.refusals(), [RejectReason::AboveTarget]);
}

#[test]
fn a_miner_is_never_sent_a_target_that_it_cannot_take() {
    let limits = VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX };
    let one = within(limits, Difficulty::ONE.target()).unwrap();
    assert_eq!(one.min, Difficulty::ONE);
    assert!(within(limits, Target::ZERO).is_none());

    let (mut talk, channel, ..) = mining_extended();
    let update =
        UpdateChannelOwned { channel_id: channel, nominal_hash_rate: 0.0, maximum_target: [0; 32].into() };
    let heard = talk.say(START, mining::MESSAGE_TYPE_UPDATE_CHANNEL, update);
    let error: UpdateChannelError<'_> = heard[0].read();
    assert_eq!(error.error_code.as_bytes(), b"max-target-out-of-range");
}

#[test]
fn channels_of_one_payout_are_told_together_and_a_closed_one_no_more() {
    let (mut talk, first, ..) = mining_extended();
    talk.open_extended("attic.two", 2);
    talk.open_standard("attic.three");
    let refreshed = Arc::new(Job::new(crate::JobNumber::starting_at(2), Arc::new(fixture::template())));
    let heard = talk.event(|session, out| session.on_job(&refreshed, at(1), out));
    assert_eq!(heard.len(), 1, "one message for the group");
    let group = talk.session.channels[0].group;
    let job: NewExtendedMiningJob<'_> = heard[0].read();
    assert_eq!(job.channel_id, group);
    assert!(talk.session.channels.iter().all(|channel| channel.group == group));
    assert!(talk.session.channels.iter().all(|channel| channel.sent.newest().unwrap().id == job.job_id));

    let close = CloseChannelOwned { channel_id: first, reason_code: "bye".try_into().unwrap() };
    talk.say(START, mining::MESSAGE_TYPE_CLOSE_CHANNEL, close);
    talk.submit_extended(START, first, 1, 1);
    assert_eq!(talk.refusals(), [RejectReason::Unauthorized]);
    let everyone = CloseChannelOwned { channel_id: group, reason_code: "bye".try_into().unwrap() };
    talk.say(START, mining::MESSAGE_TYPE_CLOSE_CHANNEL, everyone);
    assert!(talk.session.channels.is_empty());
}

#[test]
fn solo_channels_on_one_connection_each_pay_their_own_miner_across_blocks() {
    let mut talk = Talk::new(PayoutPolicy::Solo(Network::Devnet));
    talk.set_up(0);
    let addresses = [
        "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
    ];
    let scripts = addresses.map(|address| {
        address.parse::<bitcoin::Address<_>>().unwrap().assume_checked().script_pubkey().into_bytes()
    });
    let mut opened = Vec::new();
    for address in addresses {
        opened.extend(talk.open_extended(&format!("{address}.rig"), 2));
    }
    let suffixes = |heard: &[Heard]| -> Vec<Vec<u8>> {
        let job = mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB;
        let jobs = heard.iter().filter(|heard| heard.message_type == job);
        jobs.map(|heard| heard.read::<NewExtendedMiningJob<'_>>().coinbase_tx_suffix.as_bytes().to_vec())
            .collect()
    };
    let pays = |suffix: &[u8], script: &[u8]| suffix.windows(script.len()).any(|window| window == script);
    let mut next = fixture::template();
    next.prev_hash = Hash::from_byte_array([0x99; 32]);
    let next = Arc::new(Job::new(crate::JobNumber::starting_at(3), Arc::new(next)));
    let later = talk.event(|session, out| session.on_job(&next, at(2), out));
    for heard in [opened, later] {
        let suffixes = suffixes(&heard);
        assert_eq!(suffixes.len(), 2);
        for (suffix, (own, other)) in
            suffixes.iter().zip([(&scripts[0], &scripts[1]), (&scripts[1], &scripts[0])])
        {
            assert!(pays(suffix, own) && !pays(suffix, other));
        }
    }
    let refused = talk.open_extended("garage.rig", 2);
    let error: OpenMiningChannelError<'_> = refused[0].read();
    assert_eq!(error.error_code.as_bytes(), b"unknown-user");
}

#[test]
fn a_proxy_may_ask_for_more_extranonce_and_not_for_too_much() {
    let mut talk = Talk::new(pool());
    talk.set_up(0);
    let heard = talk.open_extended("garage.proxy", 20);
    let success: OpenExtendedMiningChannelSuccess<'_> = heard[0].read();
    assert_eq!(success.extranonce_size, 20);
    let refused = talk.open_extended("garage.proxy", 29);
    let error: OpenMiningChannelError<'_> = refused[0].read();
    assert_eq!(error.error_code.as_bytes(), b"min-extranonce-size-too-large");
}

#[test]
fn what_this_server_lacks_is_refused_with_its_code_and_flags() {
    let mut talk = Talk::new(pool());
    let heard = talk.set_up(REQUIRES_WORK_SELECTION);
    let error: SetupConnectionError<'_> = heard[0].read();
    assert_eq!((error.flags, error.error_code.as_bytes()), (2, &b"unsupported-feature-flags"[..]));
    assert!(talk.out.close.is_some());
}

#[test]
fn a_probe_makes_no_worker_and_a_miner_that_stays_does() {
    let (mut talk, ..) = mining_extended();
    assert!(talk.out.news.is_empty());
    talk.event(|session, out| session.on_tick(at(9), out));
    assert!(talk.out.news.is_empty());
    talk.event(|session, out| session.on_tick(at(10), out));
    let News::Worker(seen) = &talk.out.news[0] else { panic!() };
    assert_eq!((seen.change, &*seen.user_agent), (WorkerChange::Joined, "bitaxe/BM1370"));
}

proptest::proptest! {
    /// Nothing a client sends can stop the server, before, during or after the handshake.
    #[test]
    fn any_bytes_are_survived(
        pieces in proptest::collection::vec(proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200), 1..8),
        encrypted in proptest::arbitrary::any::<bool>(),
    ) {
        let (mut talk, ..) = mining_extended();
        for mut piece in pieces {
            if encrypted && piece.len() > 3 {
                let message_type = 0x10 + piece[0] % 0x16;
                let mut header = vec![0, 0, message_type, piece.len() as u8, 0, 0];
                talk.engine.encrypt(&mut header).unwrap();
                talk.engine.encrypt(&mut piece).unwrap();
                header.append(&mut piece);
                piece = header;
            }
            talk.event(|session, out| session.on_bytes(&mut piece, START, out));
        }
    }
}
