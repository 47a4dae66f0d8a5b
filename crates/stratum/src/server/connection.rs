//! One connection, from its first byte to its last acknowledgement.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Server;
use super::pace::Pace;
use crate::session::{Now, Outbox, Session};
use crate::sink::{AcceptedShare, Keeping, ShareSink};

/// What one read takes. Lent to a connection while it reads: an idle one holds no buffer.
const READ_BYTES: usize = 64 << 10;
/// Nothing that waits for it minds two seconds, and thousands of connections tick.
const TICK: Duration = Duration::from_secs(2);

thread_local! {
    static READING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Shares of one connection on their way to the disk: one group is being written while the next gathers,
/// so that a slow disk makes larger groups and not more of them.
#[derive(Default)]
struct Shares {
    waiting: Vec<AcceptedShare>,
    writing: Option<(usize, Keeping)>,
}

impl Shares {
    /// Begins to write what waits, unless a group is under way.
    fn write(&mut self, sink: &impl ShareSink) {
        if self.writing.is_none() && !self.waiting.is_empty() {
            let group = std::mem::take(&mut self.waiting);
            self.writing = Some((group.len(), sink.keep(group)));
        }
    }

    /// How many shares were written, and whether they were kept. Cancel safe.
    async fn written(&mut self) -> (usize, bool) {
        match &mut self.writing {
            Some((count, keeping)) => {
                let count = *count;
                let kept = keeping.await.is_ok();
                self.writing = None;
                (count, kept)
            }
            None => std::future::pending().await,
        }
    }
}

/// Runs a session to its end; says why it ended. The time for its handshake began at `opened_ms`.
pub(super) async fn run<S: ShareSink>(
    server: &Server<S>,
    mut session: impl Session,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    opened_ms: u64,
    stop: &CancellationToken,
) -> &'static str {
    let (limits, sink) = (server.limits, &*server.sink);
    let mut jobs = server.jobs.clone();
    jobs.mark_changed();
    let mut out = Outbox::default();
    let mut shares = Shares::default();
    let mut pace = Pace::new(limits.shares_per_second);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut stopped = std::pin::pin!(stop.cancelled());
    let mut now = server.now();
    let mut heard_ms = now.ms;
    // The miner was sent half of something: nothing can follow.
    let mut cut = false;
    let reason = loop {
        let may_read = shares.waiting.len() < limits.shares_waiting && pace.allows(now.ms);
        let mut job = None;
        // A new job goes before everything, and a flood of shares must not keep time from passing.
        tokio::select! {
            biased;
            () = &mut stopped => break "the pool is stopping",
            Ok(()) = jobs.changed() => {
                now = server.now();
                job = jobs.borrow_and_update().clone();
                match &job {
                    Some(job) => session.on_job(job, now, &mut out),
                    None => break "there is no current work",
                }
            }
            (count, kept) = shares.written() => session.on_kept(count, kept, &mut out),
            _ = tick.tick() => {
                now = server.now();
                let elapsed = |since_ms| Duration::from_millis(now.ms.saturating_sub(since_ms));
                if elapsed(heard_ms) > limits.idle {
                    break "the miner was silent for too long";
                }
                if !session.ready() && elapsed(opened_ms) > limits.handshake {
                    break "the miner did not say in time who it is";
                }
                session.on_tick(now, &mut out);
            }
            read = read(&mut stream, &mut session, || server.now(), &mut out), if may_read => match read {
                Ok((0, _)) | Err(_) => break "the miner hung up",
                Ok((_, at)) => {
                    now = at;
                    // Bytes alone prove nothing: a line may be dripped for ever.
                    if out.messages > 0 {
                        heard_ms = at.ms;
                    }
                }
            },
        }
        pace.took(std::mem::take(&mut out.messages), now.ms);
        shares.waiting.append(&mut out.shares);
        shares.write(sink);
        out.news.drain(..).for_each(|news| sink.note(news));
        if let Some(error) = out.halt.take() {
            sink.halt(&error);
            break "a job would have paid the wrong party";
        }
        if !out.bytes.is_empty() {
            let bytes = std::mem::take(&mut out.bytes);
            if let Err(reason) = write_in_time(&mut stream, &bytes, limits.write, stop).await {
                cut = true;
                break reason;
            }
            if let Some(job) = job {
                sink.job_written(&job);
            }
        }
        if let Some(reason) = out.close {
            break reason;
        }
    };
    // What was accepted is kept, even when nobody waits for the answer.
    shares.waiting.append(&mut out.shares);
    shares.write(sink);
    while shares.writing.is_some() {
        let (count, kept) = shares.written().await;
        session.on_kept(count, kept, &mut out);
        shares.write(sink);
    }
    session.on_close(&mut out);
    out.news.drain(..).for_each(|news| sink.note(news));
    // The last acknowledgements, for whoever still listens.
    if !cut {
        let _ = timeout(TICK, async {
            write(&mut stream, &out.bytes).await?;
            stream.shutdown().await
        })
        .await;
    }
    reason
}

/// Writes all of it, unless the miner takes too long to read or the pool stops: then says so.
async fn write_in_time(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    limit: Duration,
    stop: &CancellationToken,
) -> Result<(), &'static str> {
    tokio::select! {
        biased;
        written = timeout(limit, write(stream, bytes)) => match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("the miner hung up"),
            Err(_) => Err("the miner does not read"),
        },
        () = stop.cancelled() => Err("the pool is stopping"),
    }
}

/// Writes all of it, and through what may buffer it (TLS).
async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Reads once and lets the session have it; the number of bytes, and when. Cancel safe.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    session: &mut impl Session,
    now: impl Fn() -> Now,
    out: &mut Outbox,
) -> io::Result<(usize, Now)> {
    std::future::poll_fn(|cx| {
        READING.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            let now = now();
            if !buffer.filled().is_empty() {
                session.on_bytes(buffer.filled_mut(), now, out);
            }
            Poll::Ready(Ok((buffer.filled().len(), now)))
        })
    })
    .await
}
