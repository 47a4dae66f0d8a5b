//! What channels are told to mine, and how hard.

use super::*;

#[test]
fn a_new_block_makes_jobs_stale_and_a_refreshed_template_does_not() {
    let (mut talk, channel, prefix, first) = mining_extended();
    let nonces = shares(&prefix, 3);
    let heard = talk.job(&job_of(2, fixture::template()), at(1));
    let job: NewExtendedMiningJob<'_> = heard[0].read();
    assert!(heard.len() == 1 && !job.is_future());
    talk.submit_extended(at(1), channel, first, nonces[0]);
    assert_eq!(talk.out.shares.len(), 1);

    let heard = talk.job(&job_of(3, next_block()), at(2));
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
    let jobs: Vec<Heard> = (1..=45).flat_map(|second| talk.tick(at(second))).collect();
    assert!(types(&jobs).contains(&mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB));
}

#[test]
fn a_job_keeps_the_target_it_was_sent_with() {
    let (mut talk, channel, prefix, first) = mining_extended();
    let nonce = shares(&prefix, 1)[0];
    let heard = talk.update(at(1), channel, 1e12, [0xff; 32]);
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

/// A proxy with so many extended channels.
fn proxy(channels: usize) -> Talk {
    let mut talk = Talk::new(pool());
    talk.set_up(0);
    for _ in 0..channels {
        talk.open_extended("garage.farm", 2);
    }
    talk
}

#[test]
fn every_target_goes_out_before_the_job_it_holds_for() {
    let mut talk = proxy(3);
    let group = talk.session.channels[0].group;
    let ids: Vec<u32> = talk.session.channels.iter().map(|channel| channel.id).collect();
    for id in &ids {
        talk.update(at(1), *id, 1e12, [0xff; 32]);
    }
    // On the next chain everything is easier than that: no share may be harder than a block.
    let bits = bitcoin::CompactTarget::from_consensus(0x1e03_77ae);
    let easy = poolbox_work_source::Template { bits, ..next_block() };
    let heard = talk.job(&job_of(2, easy), at(2));
    let expected = [
        [mining::MESSAGE_TYPE_SET_TARGET; 3].as_slice(),
        &[mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH],
    ];
    assert_eq!(types(&heard), expected.concat());
    let job: NewExtendedMiningJob<'_> = heard[3].read();
    assert_eq!(job.channel_id, group);
    let told = talk.session.channels.iter().map(|channel| channel.sent.newest().unwrap().difficulty);
    assert!(told.into_iter().all(|difficulty| difficulty == Difficulty::from_log2(-10).unwrap()));
}

#[test]
fn changes_of_mind_within_one_read_are_told_once() {
    let (mut talk, channel, ..) = mining_extended();
    let mut all = Vec::new();
    for nominal in [1e9, 1e12, 1e10, 1e13] {
        let update = UpdateChannelOwned {
            channel_id: channel,
            nominal_hash_rate: nominal,
            maximum_target: [0xff; 32].into(),
        };
        all.extend(talk.seal(0, mining::MESSAGE_TYPE_UPDATE_CHANNEL, binary_sv2::to_bytes(update).unwrap()));
    }
    let heard = talk.event(|session, out| session.on_bytes(&mut all, at(1), out));
    let expected = [mining::MESSAGE_TYPE_SET_TARGET, mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB];
    assert_eq!(types(&heard), expected);
    let target: SetTarget<'_> = heard[0].read();
    assert_eq!(target.maximum_target.to_array(), Difficulty::for_hashrate(1e13).target().to_le_bytes());
    // The same again is no news.
    assert!(talk.update(at(2), channel, 1e13, [0xff; 32]).is_empty());
}

#[test]
fn channels_that_change_at_once_are_sent_one_job() {
    let mut talk = proxy(50);
    let ids: Vec<u32> = talk.session.channels.iter().map(|channel| channel.id).collect();
    for id in &ids[..40] {
        talk.update(at(1), *id, 1e12, [0xff; 32]);
    }
    // Nobody finds a share at that: the forty are lowered in the same second.
    let lowers = |heard: &Vec<Heard>| types(heard).first() == Some(&mining::MESSAGE_TYPE_SET_TARGET);
    let lowered = (2..200).map(|second| talk.tick(at(second))).find(lowers).unwrap();
    assert_eq!(types(&lowered[..40]), [mining::MESSAGE_TYPE_SET_TARGET; 40]);
    assert_eq!(types(&lowered[40..]), [mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB]);
    let job: NewExtendedMiningJob<'_> = lowered[40].read();
    assert!(talk.session.channels.iter().all(|channel| channel.sent.newest().unwrap().id == job.job_id));
}

#[test]
fn header_times_never_run_ahead_of_the_clock_however_many_channels_there_are() {
    let mut talk = proxy(200);
    let ids: Vec<u32> = talk.session.channels.iter().map(|channel| channel.id).collect();
    let mut latest = 0;
    for round in 0..5 {
        for id in &ids {
            let nominal = if round % 2 == 0 { 1e12 } else { 1e9 };
            for heard in talk.update(at(round), *id, nominal, [0xff; 32]) {
                if heard.message_type == mining::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB {
                    let job: NewExtendedMiningJob<'_> = heard.read();
                    latest = latest.max(job.min_ntime.clone().into_inner().unwrap());
                }
            }
        }
    }
    assert!(latest <= at(5).unix + 1, "{} s ahead", latest - at(5).unix);
}

#[test]
fn a_busy_channel_does_not_keep_the_others_from_their_jobs() {
    let mut talk = proxy(3);
    let ids: Vec<u32> = talk.session.channels.iter().map(|channel| channel.id).collect();
    let mut last = [0; 3];
    for second in 1..=200 {
        let nominal = if second % 2 == 0 { 1e12 } else { 1e9 };
        talk.update(at(second), ids[0], nominal, [0xff; 32]);
        talk.tick(at(second));
        for (last, channel) in last.iter_mut().zip(&talk.session.channels) {
            if channel.notified_ms == second * 1000 {
                assert!(second - *last <= 45);
                *last = second;
            }
        }
    }
    assert!(last.iter().all(|last| *last > 155), "{last:?}");
}

#[test]
fn devices_that_understand_no_extended_jobs_are_told_one_by_one() {
    let mut talk = Talk::new(pool());
    talk.set_up(REQUIRES_STANDARD_JOBS);
    for _ in 0..3 {
        talk.open_standard("garage.farm");
    }
    let heard = talk.job(&job_of(2, next_block()), at(1));
    let each = [mining::MESSAGE_TYPE_NEW_MINING_JOB, mining::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH];
    assert_eq!(types(&heard), [each; 3].concat());
}
