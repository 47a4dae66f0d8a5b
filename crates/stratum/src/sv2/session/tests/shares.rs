//! What is credited, and to whom.

use super::*;

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
fn a_probe_makes_no_worker_and_a_miner_that_stays_does() {
    let (mut talk, ..) = mining_extended();
    assert!(talk.out.news.is_empty());
    talk.tick(at(9));
    assert!(talk.out.news.is_empty());
    talk.tick(at(10));
    let News::Worker(seen) = &talk.out.news[0] else { panic!() };
    assert_eq!((seen.change, &*seen.user_agent), (WorkerChange::Joined, "bitaxe/BM1370"));
}

#[test]
fn a_channel_that_was_closed_is_not_spoken_to_and_its_shares_are_kept() {
    let (mut talk, channel, prefix, job) = mining_extended();
    for kept in [true, false] {
        let other: OpenExtendedMiningChannelSuccess<'_> = talk.open_extended("garage.other", 2)[0].read();
        let nonce = shares(other.extranonce_prefix.as_bytes(), 1)[0];
        let first = talk.session.channel(other.channel_id).unwrap().sent.newest().unwrap().id;
        talk.submit_extended(START, other.channel_id, first, nonce);
        assert_eq!(talk.out.shares.len(), 1);
        talk.close(other.channel_id);
        let heard = talk.event(|session, out| session.on_kept(1, kept, out));
        assert!(heard.is_empty(), "{heard:?}");
    }
    talk.submit_extended(START, channel, job, shares(&prefix, 1)[0]);
    assert_eq!(talk.event(|session, out| session.on_kept(1, true, out)).len(), 1);
}
