use proptest::prelude::*;
use stratum_core::binary_sv2::{Encodable, GetSize, Seq064KOwned, Seq0255Owned, Sv2OptionOwned, to_bytes};
use stratum_core::{common_messages_sv2 as common, mining_sv2 as mining};

use super::*;

const CHANNEL: u32 = 7;
const GROUP: u32 = 3;

fn open(channel: ChannelKind) -> Session {
    let miner = Miner {
        user: "garage.cpu1".into(),
        user_agent: "test/1.0".into(),
        hashrate: 1e6,
        channel,
        host: "poolbox.local".into(),
        port: 34254,
    };
    Session::open(miner).unwrap().0
}

fn say(session: &mut Session, kind: u8, message: impl Encodable + GetSize) -> Result<Vec<Action>, Sv2Error> {
    let mut payload = to_bytes(message).unwrap();
    session.receive(Header::new(kind, true, payload.len()), &mut payload)
}

fn ready(session: &mut Session, flags: u32) -> Vec<Action> {
    let message = common::SetupConnectionSuccess { used_version: 2, flags };
    say(session, common::MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, message).unwrap()
}

/// A session with an open extended channel: prefix `ab cd`, four bytes of extranonce.
fn extended() -> Session {
    let mut session = open(ChannelKind::Extended);
    ready(&mut session, 0);
    let message = mining::OpenExtendedMiningChannelSuccessOwned {
        request_id: 1,
        channel_id: CHANNEL,
        target: [0xff; 32].into(),
        extranonce_size: 4,
        extranonce_prefix: vec![0xab, 0xcd].try_into().unwrap(),
        group_channel_id: GROUP,
    };
    let kind = mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS;
    assert_eq!(say(&mut session, kind, message).unwrap(), [Action::Authorized]);
    session
}

fn extended_job(session: &mut Session, to: u32, id: u32, time: Option<u32>) -> Vec<Action> {
    let message = mining::NewExtendedMiningJobOwned {
        channel_id: to,
        job_id: id,
        min_ntime: Sv2OptionOwned::new(time),
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0255Owned::new(vec![[5; 32].into()]).unwrap(),
        coinbase_tx_prefix: vec![1, 2].try_into().unwrap(),
        coinbase_tx_suffix: vec![3].try_into().unwrap(),
    };
    say(session, mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, message).unwrap()
}

fn new_block(session: &mut Session, to: u32, job: u32, previous: u8) -> Result<Vec<Action>, Sv2Error> {
    let message = mining::SetNewPrevHashOwned {
        channel_id: to,
        job_id: job,
        prev_hash: [previous; 32].into(),
        min_ntime: 1_700_000_000,
        nbits: 0x1e03_77ae,
    };
    say(session, mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, message)
}

fn set_target(session: &mut Session, to: u32, target: [u8; 32]) {
    let message = mining::SetTargetOwned { channel_id: to, maximum_target: target.into() };
    assert_eq!(say(session, mining::MESSAGE_TYPE_SET_TARGET, message).unwrap(), []);
}

fn hashed(actions: &[Action]) -> &Arc<Job> {
    match actions {
        [Action::Hash(job)] => job,
        other => panic!("{other:?}"),
    }
}

fn share(job: &Arc<Job>) -> Solution {
    Solution { job: Arc::clone(job), extranonce2: vec![0, 0, 0, 9], version: 0x2000_2000, nonce: 11 }
}

#[test]
fn a_job_waits_for_its_block_and_gets_all_that_belongs_to_it() {
    let mut session = extended();
    assert_eq!(extended_job(&mut session, GROUP, 1, None), []);
    assert_eq!(extended_job(&mut session, CHANNEL, 2, None), []);
    let actions = new_block(&mut session, GROUP, 2, 8).unwrap();
    let expected = Job {
        id: "2".into(),
        version: 0x2000_0000,
        version_mask: 0x1fff_e000,
        previous: [8; 32],
        root: Root::Coinbase(Coinbase {
            prefix: vec![1, 2, 0xab, 0xcd],
            extranonce2_size: 4,
            suffix: vec![3],
            merkle_path: vec![[5; 32]],
        }),
        time: 1_700_000_000,
        bits: 0x1e03_77ae,
        target: Target::from_le_bytes([0xff; 32]),
        difficulty: Target::from_le_bytes([0xff; 32]).difficulty(),
    };
    assert_eq!(**hashed(&actions), expected);
    // The other one was for this block too, and is of no use any more.
    assert!(new_block(&mut session, GROUP, 1, 9).is_err());
}

#[test]
fn a_job_for_the_current_block_is_hashed_at_once() {
    let mut session = extended();
    extended_job(&mut session, CHANNEL, 1, None);
    new_block(&mut session, CHANNEL, 1, 8).unwrap();
    let actions = extended_job(&mut session, GROUP, 2, Some(1_700_000_030));
    let job = hashed(&actions);
    assert_eq!((job.previous, job.time, job.bits), ([8; 32], 1_700_000_030, 0x1e03_77ae));
}

#[test]
fn late_shares_are_sent_until_a_new_block_makes_their_job_stale() {
    let mut session = extended();
    extended_job(&mut session, CHANNEL, 1, None);
    let first = share(hashed(&new_block(&mut session, CHANNEL, 1, 8).unwrap()));
    extended_job(&mut session, CHANNEL, 2, Some(1_700_000_030));
    let frame = session.submit(&first).unwrap();
    // Channel, sequence number, job, nonce, time, version, extranonce and its length.
    let mut expected = Vec::new();
    for number in [CHANNEL, 0, 1, 11, 1_700_000_000, 0x2000_2000] {
        expected.extend_from_slice(&u32::to_le_bytes(number));
    }
    expected.extend_from_slice(&[4, 0, 0, 0, 9]);
    assert_eq!((frame.kind, frame.payload), (mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, expected));

    extended_job(&mut session, CHANNEL, 3, None);
    assert!(session.submit(&first).is_some());
    new_block(&mut session, CHANNEL, 3, 9).unwrap();
    assert_eq!(session.submit(&first), None);
}

#[test]
fn a_new_target_holds_for_jobs_that_are_not_hashed_yet() {
    let mut session = extended();
    extended_job(&mut session, CHANNEL, 1, None);
    let easy = hashed(&new_block(&mut session, CHANNEL, 1, 8).unwrap()).target;
    extended_job(&mut session, CHANNEL, 2, None);
    let mut harder = [0xff; 32];
    harder[31] = 0;
    set_target(&mut session, CHANNEL, harder);
    let current = session.channel.as_ref().unwrap().live.back().unwrap().1.target;
    assert_eq!(current, easy);
    let job = Arc::clone(hashed(&new_block(&mut session, CHANNEL, 2, 9).unwrap()));
    assert_eq!(job.target, Target::from_le_bytes(harder));
    // Another channel's is none of ours.
    set_target(&mut session, CHANNEL + 1, [1; 32]);
    assert_eq!(hashed(&extended_job(&mut session, CHANNEL, 3, Some(1))).target, job.target);
}

#[test]
fn a_new_extranonce_prefix_holds_for_jobs_that_come_after_it() {
    let mut session = extended();
    extended_job(&mut session, CHANNEL, 1, None);
    let prefix = vec![0xee; 4].try_into().unwrap();
    let message = mining::SetExtranoncePrefixOwned { channel_id: CHANNEL, extranonce_prefix: prefix };
    say(&mut session, mining::MESSAGE_TYPE_SET_EXTRANONCE_PREFIX, message).unwrap();
    let prefix_of = |actions: &[Action]| match &hashed(actions).root {
        Root::Coinbase(coinbase) => coinbase.prefix.clone(),
        Root::Given(_) => panic!("no coinbase"),
    };
    assert_eq!(prefix_of(&new_block(&mut session, CHANNEL, 1, 8).unwrap()), [1, 2, 0xab, 0xcd]);
    assert_eq!(prefix_of(&extended_job(&mut session, CHANNEL, 2, Some(1))), [1, 2, 0xee, 0xee, 0xee, 0xee]);
}

#[test]
fn a_channel_listens_to_its_group_and_to_no_other() {
    let mut session = extended();
    extended_job(&mut session, GROUP, 1, None);
    new_block(&mut session, GROUP, 1, 8).unwrap();
    assert_eq!(extended_job(&mut session, 99, 2, Some(1)), []);
    let message = mining::SetGroupChannelOwned {
        group_channel_id: 99,
        channel_ids: Seq064KOwned::new(vec![CHANNEL + 1, CHANNEL]).unwrap(),
    };
    say(&mut session, mining::MESSAGE_TYPE_SET_GROUP_CHANNEL, message).unwrap();
    assert_eq!(extended_job(&mut session, GROUP, 2, Some(1)), []);
    assert_eq!(hashed(&extended_job(&mut session, 99, 3, Some(1))).id, "3");
}

#[test]
fn a_standard_channel_hashes_the_root_that_it_is_given() {
    let mut session = open(ChannelKind::Standard);
    ready(&mut session, 0);
    let message = mining::OpenStandardMiningChannelSuccessOwned {
        request_id: 1,
        channel_id: CHANNEL,
        target: [0xff; 32].into(),
        extranonce_prefix: vec![0xab; 8].try_into().unwrap(),
        group_channel_id: GROUP,
    };
    say(&mut session, mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS, message).unwrap();
    let message = mining::NewMiningJobOwned {
        channel_id: CHANNEL,
        job_id: 1,
        min_ntime: Sv2OptionOwned::new(None),
        version: 0x2000_0000,
        merkle_root: [6; 32].into(),
    };
    say(&mut session, mining::MESSAGE_TYPE_NEW_MINING_JOB, message).unwrap();
    let actions = new_block(&mut session, CHANNEL, 1, 8).unwrap();
    let job = hashed(&actions);
    assert_eq!((&job.root, job.version_mask), (&Root::Given([6; 32]), 0x1fff_e000));
    let frame = session.submit(&Solution { extranonce2: Vec::new(), ..share(job) }).unwrap();
    assert_eq!((frame.kind, frame.payload.len()), (mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, 24));

    // A pool may send the group an extended job instead: the whole extranonce is the prefix.
    let actions = extended_job(&mut session, GROUP, 2, Some(1));
    let coinbase = Coinbase {
        prefix: [vec![1, 2], vec![0xab; 8]].concat(),
        extranonce2_size: 0,
        suffix: vec![3],
        merkle_path: vec![[5; 32]],
    };
    assert_eq!(hashed(&actions).root, Root::Coinbase(coinbase));
}

#[test]
fn versions_are_rolled_only_where_the_pool_allows_it() {
    let mut session = open(ChannelKind::Extended);
    ready(&mut session, REQUIRES_FIXED_VERSION);
    session
        .opened(Opened {
            channel: CHANNEL,
            group: GROUP,
            target: Target::UNREACHABLE,
            prefix: Vec::new(),
            extranonce_size: 4,
        })
        .unwrap();
    extended_job(&mut session, CHANNEL, 1, None);
    assert_eq!(hashed(&new_block(&mut session, CHANNEL, 1, 8).unwrap()).version_mask, 0);
}

#[test]
fn acknowledgements_count_the_shares_that_they_cover() {
    let mut session = extended();
    let message = mining::SubmitSharesSuccess {
        channel_id: CHANNEL,
        last_sequence_number: 9,
        new_submits_accepted_count: 10,
        new_shares_sum: 10,
    };
    assert_eq!(
        say(&mut session, mining::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, message).unwrap(),
        [Action::Accepted(10)]
    );
    let error_code = "stale-share".to_string().try_into().unwrap();
    let message = mining::SubmitSharesErrorOwned { channel_id: CHANNEL, sequence_number: 10, error_code };
    assert_eq!(
        say(&mut session, mining::MESSAGE_TYPE_SUBMIT_SHARES_ERROR, message).unwrap(),
        [Action::Rejected("stale-share".into())]
    );
}

#[test]
fn refusals_are_told_in_the_pools_words() {
    let code = |text: &str| text.to_string().try_into().unwrap();
    let mut session = open(ChannelKind::Extended);
    let message =
        common::SetupConnectionErrorOwned { flags: 1, error_code: code("unsupported-feature-flags") };
    let error = say(&mut session, common::MESSAGE_TYPE_SETUP_CONNECTION_ERROR, message).unwrap_err();
    assert_eq!(error.to_string(), "the pool refused the connection: unsupported-feature-flags");
    let message =
        mining::OpenMiningChannelErrorOwned { request_id: 1, error_code: code("unknown-user\u{1b}[2J") };
    let error = say(&mut session, mining::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, message).unwrap_err();
    let told = "the pool refused the channel: unknown-user[2J; check the user name and --channel";
    assert_eq!(error.to_string(), told);

    let mut session = extended();
    let message = mining::CloseChannelOwned { channel_id: CHANNEL, reason_code: code("too many shares") };
    let error = say(&mut session, mining::MESSAGE_TYPE_CLOSE_CHANNEL, message).unwrap_err();
    assert_eq!(error.to_string(), "the pool closed the channel: too many shares");
    assert!(!error.blames_the_settings());
}

#[test]
fn a_pool_may_ask_to_connect_again() {
    let host = "other.example".to_string().try_into().unwrap();
    let message = common::ReconnectOwned { new_host: host, new_port: 0 };
    let asked = say(&mut extended(), common::MESSAGE_TYPE_RECONNECT, message).unwrap();
    assert_eq!(asked, [Action::Reconnect]);
}

#[test]
fn a_user_name_that_the_protocol_cannot_carry_is_refused_before_it_is_cut() {
    let mut session = open(ChannelKind::Extended);
    session.miner.user = "x".repeat(256);
    let message = common::SetupConnectionSuccess { used_version: 2, flags: 0 };
    let error = say(&mut session, common::MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, message).unwrap_err();
    assert_eq!(error, Sv2Error::TooLong);
}

#[test]
fn what_belongs_to_an_extension_is_passed_over() {
    let mut session = extended();
    let header = Header { extension: 0x8002, kind: mining::MESSAGE_TYPE_CLOSE_CHANNEL, length: 3 };
    assert_eq!(session.receive(header, &mut [1, 2, 3]), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn no_message_breaks_the_session(kind in 0u8..0x30, mut payload in prop::collection::vec(any::<u8>(), 0..200)) {
        for mut session in [open(ChannelKind::Standard), extended()] {
            let _ = session.receive(Header::new(kind, true, payload.len()), &mut payload.clone());
            // Meant for this channel.
            if payload.len() >= 4 {
                payload[..4].copy_from_slice(&CHANNEL.to_le_bytes());
            }
            let _ = session.receive(Header::new(kind, true, payload.len()), &mut payload);
            extended_job(&mut session, CHANNEL, 1, None);
            let _ = new_block(&mut session, CHANNEL, 1, 8);
        }
    }
}
