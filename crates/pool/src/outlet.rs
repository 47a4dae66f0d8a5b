//! Where the quote queue leaves the pool when its mint is elsewhere: the journal's courier, as a task
//! that lasts as long as the pool and delivers once more when the last share is journalled.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use poolbox_accounting::{JournalId, Network};
use poolbox_api::pool;
use poolbox_journal::{Courier, Delivery, RedisSettings};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a stopping pool tries to send the last entries. The next start sends what is left.
const LAST_DELIVERY: Duration = Duration::from_secs(5);

/// A courier at work.
pub struct Outlet {
    carrying: JoinHandle<Courier>,
    told: View,
}

/// What is known of it.
#[derive(Clone, Debug)]
pub struct View {
    address: String,
    delivery: watch::Receiver<Delivery>,
}

impl Outlet {
    /// Sends the queue of the journal at `path` until `stop`.
    pub fn open(
        redis: RedisSettings,
        path: PathBuf,
        network: Network,
        journal: JournalId,
        stop: CancellationToken,
    ) -> Self {
        let address = redis.address().to_owned();
        if redis.in_the_clear() {
            tracing::warn!(
                address,
                "work and the password of Redis cross the network in the clear: set redis.tls = true"
            );
        }
        let (mut courier, delivery) = Courier::new(redis, path, network, journal);
        let carrying = tokio::spawn(async move {
            stop.run_until_cancelled(courier.run()).await;
            courier
        });
        Self { carrying, told: View { address, delivery } }
    }

    /// What is known of it.
    pub fn view(&self) -> View {
        self.told.clone()
    }

    /// Sends what the closed journal holds and ends.
    ///
    /// # Errors
    /// When the task broke. What could not be sent is no error: it is in the journal.
    pub async fn close(self) -> anyhow::Result<()> {
        let mut courier = self.carrying.await.context("the courier of the quote queue broke")?;
        let finished = tokio::time::timeout(LAST_DELIVERY, courier.finish()).await;
        if !matches!(finished, Ok(Ok(()))) {
            let waiting = self.told.delivery.borrow().waiting;
            tracing::warn!(waiting, "the last entries of the quote queue are sent at the next start");
        }
        Ok(())
    }
}

impl View {
    /// As the status tells it.
    pub fn told(&self) -> pool::Delivery {
        let Delivery { sent, waiting, trouble } = self.delivery.borrow().clone();
        pool::Delivery { address: self.address.clone(), sent, waiting, trouble }
    }
}
