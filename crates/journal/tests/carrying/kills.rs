//! Redis, couriers and mints killed in the middle, with several pools at once.

use std::time::Duration;

use crate::carriage::{Carriage, Pool, assert_all_is_taken_once};
use crate::stand_in_mint::Books;
use poolbox_testnode::TestRedis;

#[tokio::test(flavor = "multi_thread")]
async fn killing_redis_couriers_and_the_mint_at_random_loses_and_doubles_nothing() {
    let mut carriage = Carriage::Redis(TestRedis::start());
    let mut pools: Vec<Pool> = (0..3).map(|_| Pool::new()).collect();
    pools.iter_mut().for_each(|pool| carriage.carry(pool));
    let mut books = Books::default();
    let mut queue = carriage.queue(&pools[0]);
    for round in 0..30_usize {
        for pool in &mut pools {
            pool.mine(8).await;
        }
        // Mining went on, whoever was away.
        match round % 6 {
            0 => carriage.redis().kill9(),
            1 => pools[round % 3].kill_courier(),
            2 => carriage.redis().restart(),
            3 => queue = carriage.queue(&pools[0]),
            4 => pools.iter_mut().for_each(|pool| {
                pool.kill_courier();
                carriage.carry(pool);
            }),
            _ => drop(queue.next(&books.cursors, 5).await),
        }
        for _ in 0..3 {
            let _ = books.look(queue.as_mut(), 5).await;
            tokio::time::sleep(Duration::from_millis(7 * round as u64 % 40)).await;
        }
    }
    carriage.redis().restart();
    for pool in &mut pools {
        pool.kill_courier();
        carriage.carry(pool);
    }
    let all: Vec<&Pool> = pools.iter().collect();
    assert_all_is_taken_once(&mut books, queue.as_mut(), &all).await;
    assert_eq!(books.cursors.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_wait_in_the_journal_while_redis_is_away_and_are_sent_after() {
    let mut carriage = Carriage::Redis(TestRedis::start());
    let mut pool = Pool::new();
    carriage.redis().kill9();
    let identity = pool.identity();
    let (mut courier, told) = poolbox_journal::Courier::new(
        carriage.settings(),
        pool.path.clone(),
        crate::audit::NETWORK,
        identity,
    );
    pool.mine(30).await;
    let away = courier.finish().await.unwrap_err().to_string();
    assert!(away.contains("redis.sock") && away.contains("[redis]"), "{away}");
    assert_eq!(told.borrow().trouble.as_ref(), Some(&away));

    carriage.redis().restart();
    pool.journal.take().unwrap().close().await;
    courier.finish().await.unwrap();
    let delivery = told.borrow().clone();
    assert_eq!((delivery.waiting, delivery.trouble), (0, None));
    assert!(delivery.sent.get() > 0);
    pool.journal = Some(poolbox_journal::Journal::open(&pool.path, crate::audit::NETWORK).unwrap());
    let mut queue = carriage.queue(&pool);
    assert_all_is_taken_once(&mut Books::default(), queue.as_mut(), &[&pool]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mint_took_is_trimmed_and_nothing_else() {
    let mut carriage = Carriage::Redis(TestRedis::start());
    let mut pool = Pool::new();
    pool.mine(40).await;
    pool.journal.take().unwrap().close().await;
    pool.journal = Some(poolbox_journal::Journal::open(&pool.path, crate::audit::NETWORK).unwrap());
    carriage.courier(&pool).finish().await.unwrap();
    let key = format!("poolbox:devnet:queue:{}", pool.identity());
    let length = |redis: &TestRedis| -> usize {
        let answer = redis.command(&format!("XLEN {key}"));
        answer.lines().next().unwrap().trim_start_matches(':').parse().unwrap()
    };
    let sent = length(carriage.redis());

    let mut queue = carriage.queue(&pool);
    let mut books = Books::default();
    let arrivals = queue.next(&books.cursors, 10).await.unwrap();
    assert_eq!(books.take(arrivals, 4), 4);
    assert_eq!(length(carriage.redis()), sent, "trimmed before the acknowledgement");
    queue.acknowledge(&books.cursors).await.unwrap();
    assert_eq!(length(carriage.redis()), sent - 4);
    assert_all_is_taken_once(&mut books, queue.as_mut(), &[&pool]).await;
    assert_eq!(length(carriage.redis()), 0);
    let pending = carriage.redis().command(&format!("XPENDING {key} mint"));
    assert!(pending.starts_with("*4\r\n:0"), "{pending}");
}
