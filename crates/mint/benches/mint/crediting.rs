//! Credits a second: a journal that is there before the mint starts, every share an entry of the queue
//! of its own, which is the worst a queue can be.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::Size;
use crate::stand::{Stand, miner, share};

/// The goal for a million shares is a minute; more than this is given up.
const LIMIT: Duration = Duration::from_secs(600);

/// Makes the journal, starts the mint and waits until all of it is credited.
pub async fn measure(size: Size) -> Result<Value> {
    let mut stand = Stand::new()?;
    let owners = (0..size.owners).map(|n| miner(&format!("owner-{n}"))).collect::<Result<Vec<_>>>()?;
    let journal = stand.journal()?;
    let made = Instant::now();
    let mut n = 0;
    while n < size.shares {
        // One share an owner: none is added to another in the queue.
        let group = owners.iter().zip(n..size.shares).map(|(owner, n)| share(owner, n, 1 + n % 5, None));
        let group: Vec<_> = group.collect();
        n += group.len() as u64;
        journal.append(group).await?;
    }
    let work = journal.stats().totals.work;
    journal.close().await;
    eprintln!("bench mint: {n} shares journalled in {:.1} s", made.elapsed().as_secs_f64());

    let started = Instant::now();
    stand.start().await?;
    // Who measures something beside it waits for this line.
    eprintln!("bench mint: crediting");
    let all =
        async |stand: &Stand| Ok(stand.status().await.is_ok_and(|status| status.ehash.credited == work));
    stand.until("everything is credited", LIMIT, all).await?;
    let seconds = started.elapsed().as_secs_f64();
    let rounded = |figure: f64| (figure * 10.0).round() / 10.0;
    Ok(json!({
        "shares": n,
        "owners": size.owners,
        "seconds": rounded(seconds),
        "credits_per_s": rounded(n as f64 / seconds),
        "mint_cpu_seconds": stand.cpu_seconds()?,
    }))
}
