//! Jobs of an upstream pool on every kind of channel.

use bitcoin::consensus::encode;
use poolbox_work_source::Template;
use poolbox_work_source::upstream::UpstreamJob;
use tokio::sync::watch;

use super::*;
use crate::sv2::session::channels::MAX_NARROW_CHANNELS;

fn with(template: &Template, change: impl FnOnce(&mut UpstreamJob)) -> Template {
    let mut upstream = template.upstream.as_deref().cloned().unwrap();
    change(&mut upstream);
    let id = poolbox_work_source::TemplateId::fresh();
    Template { upstream: Some(Arc::new(upstream)), id, ..template.clone() }
}

/// A template whose upstream takes nearly every hash.
fn easy(room: usize, mask: u32) -> Template {
    let target = Difficulty::FREE.target();
    with(&fixture::upstream_template(room, mask), |upstream| upstream.target = target)
}

/// A connection whose every hash is a share.
fn talk_for(template: &Template) -> Talk {
    let free = VardiffLimits { min: Difficulty::FREE, max: Difficulty::FREE };
    let mut talk = Talk::with_limits(PayoutPolicy::Upstream, free);
    let job = job_of(1, template.clone());
    talk.session.extranonces = Arc::new(Extranonces::upstream(watch::channel(Some(Arc::clone(&job))).1));
    talk.set_up(0);
    talk.job(&job, START);
    talk
}

/// What the upstream reckons from the one share of the last event is the hash that the miner found.
fn is_forwarded(talk: &mut Talk, template: &Template) {
    let [share] = <[_; 1]>::try_from(std::mem::take(&mut talk.out.shares)).unwrap();
    let sent = share.upstream.unwrap();
    let UpstreamJob { coinbase_prefix, coinbase_suffix, extranonce_bytes, .. } = &*sent.job;
    assert_eq!((sent.extranonce2.len(), share.block.is_none()), (*extranonce_bytes, true));
    let bytes = [coinbase_prefix, &*sent.extranonce2, coinbase_suffix].concat();
    let coinbase: bitcoin::Transaction = encode::deserialize(&bytes).unwrap();
    let header = template.header(coinbase.compute_txid(), sent.version, sent.time, sent.nonce);
    assert_eq!(header.block_hash(), share.hash);
}

fn submit_standard(talk: &mut Talk, channel_id: u32, job_id: u32, version: u32) {
    let share = SubmitSharesStandard {
        channel_id,
        sequence_number: 1,
        job_id,
        nonce: version >> 13,
        ntime: START.unix,
        version,
    };
    talk.say(START, mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, share);
}

fn submit_extended(talk: &mut Talk, channel_id: u32, job_id: u32, extranonce: &[u8]) {
    let share = SubmitSharesExtendedOwned {
        channel_id,
        sequence_number: 1,
        job_id,
        nonce: 1,
        ntime: START.unix,
        version: 0x2000_0000,
        extranonce: extranonce.to_vec().try_into().unwrap(),
    };
    talk.say(START, mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, share);
}

#[test]
fn shares_of_both_kinds_of_channel_are_the_upstreams_shares() {
    for (room, server, miner) in [(4, 2, 2), (7, 2, 2), (8, 4, 4), (16, 4, 4)] {
        let template = easy(room, u32::MAX);
        let mut talk = talk_for(&template);
        let heard = talk.open_extended("garage.one", 2);
        let success: OpenExtendedMiningChannelSuccess<'_> = heard[0].read();
        let sizes = (success.extranonce_prefix.as_bytes().len(), success.extranonce_size);
        assert_eq!(sizes, (server, miner));
        let job: NewExtendedMiningJob<'_> = heard[1].read();
        submit_extended(&mut talk, success.channel_id, job.job_id, &[0xab; 4][..usize::from(miner)]);
        is_forwarded(&mut talk, &template);
        submit_extended(&mut talk, success.channel_id, job.job_id, &[0xab; 8]);
        assert_eq!(talk.refusals(), [RejectReason::BadExtranonce]);

        let heard = talk.open_standard("garage.two");
        let success: OpenStandardMiningChannelSuccess<'_> = heard[0].read();
        assert_eq!(success.extranonce_prefix.as_bytes().len(), server + usize::from(miner));
        let job: NewMiningJob<'_> = heard[1].read();
        submit_standard(&mut talk, success.channel_id, job.job_id, 0x2000_2000);
        is_forwarded(&mut talk, &template);
    }
}

#[test]
fn who_needs_more_extranonce_than_there_is_is_told_so() {
    for (room, most) in [(4, 2), (8, 4), (32, 4)] {
        let mut talk = talk_for(&easy(room, u32::MAX));
        let heard = talk.open_extended("garage.one", most + 1);
        let error: OpenMiningChannelError<'_> = heard[0].read();
        assert_eq!(error.error_code.as_bytes(), b"min-extranonce-size-too-large");
        let opened = mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS;
        assert_eq!(types(&talk.open_extended("garage.one", most))[0], opened);
    }
}

#[test]
fn one_connection_cannot_take_all_that_an_upstream_with_little_room_leaves() {
    let mut talk = talk_for(&easy(4, u32::MAX));
    let opened = mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS;
    for _ in 0..MAX_NARROW_CHANNELS {
        assert_eq!(types(&talk.open_extended("garage.one", 2))[0], opened);
    }
    let heard = talk.open_extended("garage.one", 2);
    let error: OpenMiningChannelError<'_> = heard[0].read();
    assert_eq!(error.error_code.as_bytes(), b"channel-capacity-exhausted");
}

#[test]
fn version_bits_are_the_upstreams_to_grant() {
    for (mask, version, fine) in [
        (0x1fff_e000, 0x2000_2000, true),
        (0x1fff_e000, 0x2000_0020, false),
        (0, 0x2000_2000, false),
        (0, 0x2000_0000, true),
    ] {
        let mut talk = talk_for(&easy(8, mask));
        let heard = talk.open_extended("garage.one", 2);
        let job: NewExtendedMiningJob<'_> = heard[1].read();
        assert_eq!(job.version_rolling_allowed, mask != 0);
        let heard = talk.open_standard("garage.two");
        let success: OpenStandardMiningChannelSuccess<'_> = heard[0].read();
        let job: NewMiningJob<'_> = heard[1].read();
        submit_standard(&mut talk, success.channel_id, job.job_id, version);
        assert_eq!(talk.out.shares.len(), usize::from(fine), "{mask:x} {version:x}");
        if !fine {
            assert_eq!(talk.refusals(), [RejectReason::BadVersion]);
        }
    }
}

#[test]
fn an_era_that_ends_is_told_as_a_new_block_and_too_little_room_ends_the_connection() {
    let template = easy(8, u32::MAX);
    let mut talk = talk_for(&template);
    talk.open_extended("garage.one", 2);
    let beside = talk.job(&job_of(2, with(&template, |_| {})), at(1));
    assert_eq!(types(&beside), [mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB]);
    let renewed = talk.job(&job_of(3, with(&template, |upstream| upstream.era = 2)), at(1));
    let expected =
        [mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH];
    assert_eq!(types(&renewed), expected);
    let job: NewExtendedMiningJob<'_> = beside[0].read();
    let channel = talk.session.channels[0].id;
    submit_extended(&mut talk, channel, job.job_id, &[0; 4]);
    assert!(talk.out.shares[0].upstream.is_none(), "over there it would be stale");

    assert!(talk.job(&job_of(4, easy(7, u32::MAX)), at(2)).is_empty());
    assert!(talk.out.close.is_some() && talk.out.halt.is_none());
}
