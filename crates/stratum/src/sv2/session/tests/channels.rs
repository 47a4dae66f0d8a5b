//! Opening, updating and closing channels.

use super::*;
use crate::sv2::session::channels::MAX_CHANNELS;

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
fn a_miner_is_never_sent_a_target_that_it_cannot_take() {
    let limits = VardiffLimits { min: Difficulty::MIN, max: Difficulty::MAX };
    let one = within(limits, Difficulty::ONE.target()).unwrap();
    assert_eq!(one.min, Difficulty::ONE);
    assert!(within(limits, Target::ZERO).is_none());

    let (mut talk, channel, ..) = mining_extended();
    let heard = talk.update(START, channel, 0.0, [0; 32]);
    let error: UpdateChannelError<'_> = heard[0].read();
    assert_eq!(error.error_code.as_bytes(), b"max-target-out-of-range");
    // What it can take is heeded at once.
    let heard = talk.update(START, channel, 0.0, Difficulty::ONE.target().to_le_bytes());
    let expected = [mining::MESSAGE_TYPE_SET_TARGET, mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB];
    assert_eq!(types(&heard), expected);
    let target: SetTarget<'_> = heard[0].read();
    assert_eq!(target.maximum_target.to_array(), Difficulty::ONE.target().to_le_bytes());
}

#[test]
fn channels_of_one_payout_are_told_together_and_a_closed_one_no_more() {
    let (mut talk, first, ..) = mining_extended();
    talk.open_extended("attic.two", 2);
    talk.open_standard("attic.three");
    let heard = talk.job(&job_of(2, fixture::template()), at(1));
    assert_eq!(heard.len(), 1, "one message for the group");
    let group = talk.session.channels[0].group;
    let job: NewExtendedMiningJob<'_> = heard[0].read();
    assert_eq!(job.channel_id, group);
    assert!(talk.session.channels.iter().all(|channel| channel.group == group));
    assert!(talk.session.channels.iter().all(|channel| channel.sent.newest().unwrap().id == job.job_id));

    talk.close(first);
    talk.submit_extended(START, first, 1, 1);
    assert_eq!(talk.refusals(), [RejectReason::Unauthorized]);
    talk.close(group);
    assert!(talk.session.channels.is_empty() && talk.session.groups.is_empty());
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
    let later = talk.job(&job_of(3, next_block()), at(2));
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
fn a_connection_holds_only_so_many_channels_and_closing_makes_room() {
    let mut talk = Talk::new(pool());
    talk.set_up(0);
    for _ in 0..MAX_CHANNELS {
        let heard = talk.open_standard("garage.farm");
        assert_eq!(heard[0].message_type, mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS);
    }
    let refused = talk.open_extended("garage.farm", 2);
    let error: OpenMiningChannelError<'_> = refused[0].read();
    assert_eq!((refused.len(), error.error_code.as_bytes()), (1, &b"channel-capacity-exhausted"[..]));
    let first = talk.session.channels[0].id;
    talk.close(first);
    assert_eq!(talk.open_standard("garage.farm").len(), 3);
}

#[test]
fn nonsense_about_the_hash_rate_is_refused_with_its_code() {
    let (mut talk, channel, ..) = mining_extended();
    for nominal in [f32::NAN, f32::INFINITY, -1.0] {
        let open = OpenStandardMiningChannelOwned {
            request_id: 5,
            user_identity: "garage".try_into().unwrap(),
            nominal_hash_rate: nominal,
            max_target: [0xff; 32].into(),
        };
        let heard = talk.say(START, mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, open);
        let error: OpenMiningChannelError<'_> = heard[0].read();
        assert_eq!(error.error_code.as_bytes(), b"invalid-nominal-hashrate");
        let heard = talk.update(START, channel, nominal, [0xff; 32]);
        let error: UpdateChannelError<'_> = heard[0].read();
        assert_eq!(error.error_code.as_bytes(), b"invalid-nominal-hashrate");
    }
    let heard = talk.update(START, 4_000, 1e12, [0xff; 32]);
    let error: UpdateChannelError<'_> = heard[0].read();
    assert_eq!((error.channel_id, error.error_code.as_bytes()), (4_000, &b"invalid-channel-id"[..]));
}

#[test]
fn the_name_of_a_group_is_no_channel_and_a_group_that_was_left_is_forgotten() {
    let mut talk = Talk::new(PayoutPolicy::Solo(Network::Devnet));
    talk.set_up(0);
    let (own, other) = (
        "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
        "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
    );
    talk.open_extended(own, 2);
    let group = talk.session.channels[0].group;
    talk.submit_extended(START, group, 1, 1);
    assert_eq!(talk.refusals(), [RejectReason::Unauthorized]);
    for _ in 0..10 {
        talk.open_extended(other, 2);
        assert_eq!(talk.session.groups.len(), 2);
        talk.close(talk.session.channels[1].id);
        assert_eq!(talk.session.groups.len(), 1);
    }
    assert!(talk.close(4_000).is_empty() && talk.session.channels.len() == 1);
}
