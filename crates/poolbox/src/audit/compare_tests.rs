//! A good box agrees with itself, and each kind of tampering is found and named.

use poolbox_accounting::{EpochId, EpochState, ShareSeq};
use poolbox_api::mint::payouts::Kind;
use poolbox_api::mint::{AuditMark, AuditPayout, AuditRate, AuditSats};
use poolbox_journal::JournalTotals;

use super::*;

fn melt(quote: &str, sats: u64) -> AuditMelt {
    AuditMelt { quote: quote.into(), amount: Sats::new(sats) }
}

fn payout() -> Payout {
    Payout {
        n: 7,
        owner: "garage".into(),
        target: "somewhere".into(),
        kind: Kind::Onchain,
        stage: Stage::Confirmed,
        amount: Sats::new(90),
        max_fee: Sats::new(10),
        fee: Some(Sats::new(10)),
        melt_quote: Some("q7".into()),
        proof: None,
        attempts: 1,
        planned_at: 1,
        quoted_at: Some(1),
        sent_at: Some(2),
        ended_at: Some(3),
        trouble: None,
    }
}

/// Two owners in two epochs: the first settled and partly redeemed, the second open.
fn good() -> Evidence {
    let sums = |list: &[(&str, u64)]| list.iter().map(|(owner, work)| ((*owner).to_owned(), *work)).collect();
    let journal = Facts {
        journal: "j".into(),
        totals: JournalTotals { shares: 5, work: Work::from_ehash(130), queued_through: ShareSeq::new(5) },
        queued_through: 5,
        shares: 5,
        work: Work::from_ehash(130),
        gap: None,
        journalled: sums(&[("attic", 40), ("garage", 90)]),
        queued: sums(&[("attic", 40), ("garage", 90)]),
        taken: BTreeMap::from([(1, sums(&[("attic", 40), ("garage", 60)])), (2, sums(&[("garage", 30)]))]),
        taken_for_sats: BTreeMap::new(),
        last_entry: 4,
    };
    let credit = |owner: &str, credited: u64, minted: u64| AuditCredit {
        owner: owner.into(),
        credited: Work::from_ehash(credited),
        paid: Work::from_ehash(credited),
        quoted: Work::from_ehash(credited),
        minted: Work::from_ehash(minted),
    };
    let redeemed = Redemptions { ehash: Work::from_ehash(50), sats: Sats::new(500) };
    let settled = AuditEpoch {
        n: EpochId::new(1),
        state: EpochState::Settled,
        released: true,
        marks: BTreeMap::from([("j".to_owned(), AuditMark { share: 4, entry: 3 })]),
        cursors: BTreeMap::from([("j".to_owned(), 4)]),
        books: AuditBooks {
            newest: EpochId::new(2),
            credited: Work::from_ehash(130),
            redeemed,
            sats: AuditSats {
                signed: Sats::new(700),
                returned: Sats::new(300),
                minted: Sats::new(500),
                melted: Sats::new(100),
                for_work: Sats::new(540),
                shared: Sats::new(40),
            },
        },
        payouts: vec![AuditPayout {
            height: 7,
            block_hash: "00aa".into(),
            reward: Sats::new(1000),
            on_chain: Some(Sats::new(1000)),
            active: Some(true),
        }],
        rate: Some(AuditRate {
            reward: Sats::new(1000),
            work: Work::from_ehash(100),
            payable: Sats::new(1000),
        }),
        work: Work::from_ehash(100),
        paid: Work::from_ehash(100),
        signed: Work::from_ehash(60),
        minted: Work::from_ehash(60),
        redeemed,
        melted: redeemed,
        credits: vec![credit("attic", 40, 0), credit("garage", 60, 60)],
    };
    let open = AuditEpoch {
        n: EpochId::new(2),
        state: EpochState::Open,
        marks: BTreeMap::new(),
        payouts: Vec::new(),
        rate: None,
        work: Work::from_ehash(30),
        paid: Work::from_ehash(30),
        signed: Work::ZERO,
        minted: Work::ZERO,
        redeemed: Redemptions::default(),
        melted: Redemptions::default(),
        credits: vec![credit("garage", 30, 0)],
        ..settled.clone()
    };
    Evidence {
        rounds: AuditRounds::default(),
        journals: vec![journal],
        epochs: vec![settled, open],
        payouts: vec![payout()],
        melts: vec![melt("q7", 90)],
    }
}

#[test]
fn a_good_box_agrees_with_itself() {
    let Compared { epochs: lines, differences, .. } = compare(&good());
    assert_eq!(differences, []);
    assert!(lines.iter().all(|line| line.agrees));
    assert_eq!((lines[0].journalled, lines[0].credited, lines[0].paid_sat), (100, 100, 500));
}

#[test]
fn a_journal_that_is_not_here_and_pools_that_share_an_epoch() {
    let mut evidence = good();
    let mut other = evidence.journals[0].clone();
    other.journal = "k".into();
    other.taken = BTreeMap::from([(2, BTreeMap::from([("attic".to_owned(), 7)]))]);
    evidence.journals.push(other);
    let named = compare(&evidence).differences;
    assert!(named.iter().any(|difference| difference.what.contains("work of attic: 7")), "{named:?}");
    evidence.journals.remove(0);
    let named = compare(&evidence).differences;
    assert!(named.iter().any(|difference| difference.what.contains("--journal")), "{named:?}");
}

#[test]
fn each_kind_of_tampering_is_found_and_named() {
    type Tamper = fn(&mut Evidence);
    let cases: [(&str, &str, Tamper); 22] = [
        ("a share removed", "share 3 is missing", |e| e.journals[0].gap = Some(3)),
        ("the last share removed", "shares: 5 by its totals and 4 are there", |e| e.journals[0].shares = 4),
        ("a share's work raised", "work: 130 ehash by its totals", |e| {
            e.journals[0].work = Work::from_ehash(131)
        }),
        ("a share given to another", "work of garage: 80 ehash in its shares", |e| {
            e.journals[0].journalled.insert("garage".into(), 80);
        }),
        ("an entry removed", "work of attic: 0 ehash by the journals", |e| {
            e.journals[0].taken.get_mut(&1).unwrap().remove("attic");
        }),
        ("a journal cut", "ends at queue entry 2", |e| e.journals[0].last_entry = 2),
        ("a credit raised", "work of attic: 40 ehash by the journals and 41 ehash credited", |e| {
            e.epochs[0].credits[0].credited = Work::from_ehash(41);
        }),
        ("a credit invented", "work of mallory: 0 ehash by the journals", |e| {
            let mut credit = e.epochs[0].credits[0].clone();
            credit.owner = "mallory".into();
            e.epochs[0].credits.push(credit);
        }),
        ("a quote paid more", "payments to garage: 60 ehash by the books and 61 ehash in the quotes", |e| {
            e.epochs[0].credits[1].quoted = Work::from_ehash(61);
        }),
        ("W raised", "W: 100 ehash by the journals and 101 ehash in the books", |e| {
            e.epochs[0].work = Work::from_ehash(101);
        }),
        ("ehash signed from nothing", "60 ehash minted by the quotes and 61 ehash signed", |e| {
            e.epochs[0].signed = Work::from_ehash(61);
        }),
        ("ehash minted beyond its quote", "attic minted 41 ehash and was paid 40 ehash", |e| {
            e.epochs[0].credits[0].minted = Work::from_ehash(41);
        }),
        ("a redemption hidden", "sats for it: 400 sat by the books and 500 sat by the melts", |e| {
            e.epochs[0].redeemed.sats = Sats::new(400);
        }),
        ("paid more than there is", "it shares out 1000 sat", |e| {
            e.epochs[0].redeemed.sats = Sats::new(1001);
        }),
        ("a reward invented", "1000 sat on the chain and 2000 sat in the books", |e| {
            e.epochs[0].payouts[0].reward = Sats::new(2000);
        }),
        ("a block orphaned", "is not in the chain", |e| e.epochs[0].payouts[0].active = Some(false)),
        ("sats signed from nothing", "801 sat signed and melted and 800 sat minted and taken back", |e| {
            e.epochs[1].books.sats.signed = Sats::new(701);
        }),
        ("a quote paid for nothing", "540 sat for ehash and by rounds and 600 sat in the quotes", |e| {
            e.epochs[1].books.sats.for_work = Sats::new(600);
        }),
        ("a payout invented", "no melt was paid for it", |e| e.payouts[0].melt_quote = Some("none".into())),
        ("a payout raised", "amount: 91 sat by its record and 90 sat by its melt", |e| {
            e.payouts[0].amount = Sats::new(91);
        }),
        ("a payout twice", "melt q7 paid another one already", |e| e.payouts.push(payout())),
        ("the total raised", "work credited: 130 ehash in the epochs and 140 ehash in all", |e| {
            e.epochs[1].books.credited = Work::from_ehash(140);
        }),
    ];
    for (kind, sentence, tamper) in cases {
        let mut evidence = good();
        tamper(&mut evidence);
        let differences = compare(&evidence).differences;
        assert!(
            differences.iter().any(|difference| difference.what.contains(sentence)),
            "{kind}: {differences:?}"
        );
    }
}
