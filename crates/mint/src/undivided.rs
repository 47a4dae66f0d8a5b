//! Work on the mint's database, without pauses in the middle.
//!
//! cdk's SQLite blocks the thread that waits for another writer, for up to ten seconds. A task that has been
//! busy for long is made to pause by tokio, also in the middle of a transaction, and waits in its thread's
//! own hands until that thread has done another task's turn. When that other task waits for the very
//! transaction, nothing moves for ten seconds and then a request fails, however many threads there are.

use tokio::task::coop::{Unconstrained, unconstrained};

/// `work`, never made to pause: for every task of ours that writes into the database. Those that cdk starts
/// by itself are out of reach; that they get their next turn is seen to by the runtime (`main.rs`).
pub fn undivided<F>(work: F) -> Unconstrained<F> {
    unconstrained(work)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::Mutex;

    use super::*;

    /// What cdk's database does, statement by statement.
    async fn many_statements() {
        let connection = Mutex::new(());
        for _ in 0..1000 {
            drop(connection.lock().await);
        }
    }

    #[tokio::test]
    async fn long_work_is_done_in_one_piece() {
        assert_eq!(
            many_statements().now_or_never(),
            None,
            "tokio has no pauses any more: this is not needed"
        );
        assert_eq!(undivided(many_statements()).now_or_never(), Some(()));
    }
}
