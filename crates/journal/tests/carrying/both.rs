//! What both carriages promise.

use crate::carriage::{Carriage, Pool, assert_all_is_taken_once};
use crate::stand_in_mint::Books;

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_taken_once_and_in_order() {
    for carriage in Carriage::both() {
        let mut pool = Pool::new();
        carriage.carry(&mut pool);
        pool.mine(200).await;
        let mut queue = carriage.queue(&pool);
        let mut books = Books::default();
        assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
        pool.mine(50).await;
        assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_take_effect_is_given_again() {
    for carriage in Carriage::both() {
        let mut pool = Pool::new();
        carriage.carry(&mut pool);
        pool.mine(60).await;
        let mut queue = carriage.queue(&pool);
        let mut books = Books::default();
        // Part by part, as when an announced block is waited for.
        for most in [0, 1, 0, 3, 2] {
            let mut arrivals = queue.next(&books.cursors, 8).await.unwrap();
            while arrivals.entries.len() < most {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                arrivals = queue.next(&books.cursors, 8).await.unwrap();
            }
            assert_eq!(books.take(arrivals, most), most);
        }
        queue.acknowledge(&books.cursors).await.unwrap();
        assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_that_is_killed_between_any_two_steps_takes_everything_once() {
    for carriage in Carriage::both() {
        let mut pool = Pool::new();
        carriage.carry(&mut pool);
        let mut books = Books::default();
        for round in 0..40 {
            pool.mine(5).await;
            let mut queue = carriage.queue(&pool);
            let Ok(arrivals) = queue.next(&books.cursors, 8).await else { panic!("the queue is there") };
            if round % 4 == 0 {
                // Killed before the commit: what was read is forgotten.
                continue;
            }
            books.take(arrivals, usize::MAX);
            if round % 4 == 1 {
                // Killed before the acknowledgement.
                continue;
            }
            queue.acknowledge(&books.cursors).await.unwrap();
            if round % 4 == 2 {
                // Killed with the next part in its hands.
                queue.next(&books.cursors, 3).await.unwrap();
            }
        }
        let mut queue = carriage.queue(&pool);
        assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_that_comes_before_the_pool_waits_for_it() {
    for mut carriage in Carriage::both() {
        if let Carriage::Redis(redis) = &mut carriage {
            redis.kill9();
        }
        let mut pool = Pool::new();
        let later = pool.path.with_extension("later");
        std::fs::rename(&pool.path, &later).unwrap();
        let mut queue = carriage.queue(&pool);
        let mut books = Books::default();
        let waits = books.look(queue.as_mut(), 8).await.unwrap_err();
        assert!(!waits.is_final(), "{waits}");
        std::fs::rename(&later, &pool.path).unwrap();
        if let Carriage::Redis(redis) = &mut carriage {
            redis.restart();
        }
        carriage.carry(&mut pool);
        pool.mine(10).await;
        assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
    }
}
