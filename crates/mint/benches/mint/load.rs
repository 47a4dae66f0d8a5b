//! Requests that are ready before the clock runs, sent by a number of clients at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// How fast a number of requests were answered.
#[derive(Clone, Debug)]
pub struct Pace {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Of each request, ascending.
    latencies: Vec<Duration>,
}

impl Pace {
    /// Figures for `units` things that the requests were about, as signatures.
    pub fn report(&self, units: usize, cpu_seconds: f64) -> Value {
        let seconds = self.elapsed.as_secs_f64();
        let rounded = |figure: f64| (figure * 10.0).round() / 10.0;
        let at = |share: f64| {
            let place = (self.latencies.len() as f64 * share) as usize;
            let latency = self.latencies.get(place.min(self.latencies.len().saturating_sub(1)));
            rounded(latency.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0))
        };
        json!({
            "requests": self.latencies.len(),
            "requests_per_s": rounded(self.latencies.len() as f64 / seconds),
            "per_s": rounded(units as f64 / seconds),
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "mint_cpu_ms_per_request": rounded(cpu_seconds * 1000.0 / self.latencies.len().max(1) as f64),
        })
    }
}

/// A request and its answer, or a chain of them: what one client does before its next.
pub async fn run<T, A, F>(clients: usize, requests: Vec<T>, send: impl Fn(T) -> F) -> Result<(Pace, Vec<A>)>
where
    F: Future<Output = Result<A>>,
{
    let count = requests.len();
    let queue = std::sync::Mutex::new(requests.into_iter());
    let (queue, send) = (&queue, &send);
    let started = Instant::now();
    let work = (0..clients).map(|_| async move {
        let mut done = Vec::new();
        loop {
            let next = queue.lock().map_err(|_| anyhow::anyhow!("a client broke"))?.next();
            let Some(request) = next else { return anyhow::Ok(done) };
            let sent = Instant::now();
            let answer = send(request).await?;
            done.push((sent.elapsed(), answer));
        }
    });
    let done: Vec<_> = futures::future::try_join_all(work).await?.into_iter().flatten().collect();
    let elapsed = started.elapsed();
    let (mut latencies, answers): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    latencies.sort_unstable();
    anyhow::ensure!(latencies.len() == count, "{count} requests and {} answers", latencies.len());
    Ok((Pace { elapsed, latencies }, answers))
}

/// `POST`, and what came back.
pub async fn post(http: &reqwest::Client, url: &str, body: &impl serde::Serialize) -> Result<Value> {
    let answer = http.post(url).json(body).send().await.with_context(|| format!("POST {url}"))?;
    let status = answer.status();
    let body: Value = answer.json().await.with_context(|| format!("POST {url}: {status}"))?;
    if !status.is_success() {
        bail!("POST {url}: {status}: {body}");
    }
    Ok(body)
}
