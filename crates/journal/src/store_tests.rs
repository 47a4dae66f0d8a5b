use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use poolbox_accounting::{Identity, Mode, Network, Owner, Work};

use crate::store::Store;
use crate::{NewShare, QueueReader};

fn share(worker: usize) -> NewShare {
    NewShare {
        identity: Arc::new(Identity {
            owner: Owner::Household("garage".into()),
            worker: format!("rig{worker}"),
        }),
        work: Work::from_ehash(1),
        hash: BlockHash::all_zeros(),
        at_ms: 0,
        block_height: None,
        mode: Mode::Pool,
    }
}

#[test]
fn a_full_disk_refuses_the_whole_group_and_the_next_one_succeeds_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    let mut store = Store::open(&path, Network::Devnet).unwrap();
    store.append([share(0)].iter(), 0).unwrap();

    let limit = |store: &Store, pages: i64| {
        let _: i64 = store
            .connection()
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0))
            .unwrap();
    };
    let pages =
        store.connection().pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0)).unwrap();
    limit(&store, pages);
    let group: Vec<NewShare> = (0..2000).map(share).collect();
    let refused = store.append(group.iter(), 0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the share journal has no room to grow; free space on its disk: database or disk is full"
    );
    assert_eq!(store.totals().unwrap().shares, 1);

    limit(&store, 1_000_000);
    let totals = store.append(group.iter(), 0).unwrap();
    assert_eq!((totals.shares, totals.work), (2001, Work::from_ehash(2001)));
    // Also the names made in the failed transaction are right.
    let reader = QueueReader::open(&path, Network::Devnet).unwrap();
    let kept = reader.shares(Default::default(), 5000).unwrap();
    assert!(kept[1..].iter().map(|record| &record.share).eq(group.iter()));
}
