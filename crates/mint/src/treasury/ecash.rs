//! Sat ecash as cdk's database holds it, in one reading of one moment. cdk itself only tells what
//! was issued and redeemed; promises and payments under way are in its tables (release 0.18).

use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use cdk_common::QuoteId;
use poolbox_accounting::Sats;
use rusqlite::{Connection, OpenFlags, Transaction};

use super::Method;

/// Sat ecash at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ecash {
    /// Ever signed.
    pub issued: Sats,
    /// Ever taken back, spent or swapped.
    pub redeemed: Sats,
    /// Ever paid to quotes.
    pub received: Received,
    /// Of what was paid to quotes, minted.
    pub minted: Sats,
    /// Ever melted, with its fees.
    pub melted: Melted,
    /// Melts that are neither paid nor given back.
    pub pending: Vec<PendingMelt>,
}

/// What was paid to quotes in sat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// For ehash, and by rounds of mode proxy.
    pub for_work: Sats,
    /// From outside: on-chain and Lightning.
    pub from_outside: Sats,
}

/// Finished melts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Melted {
    /// What arrived.
    pub paid: Sats,
    /// What the chain and the network took for it.
    pub fees: Sats,
}

/// A melt under way: its proofs are taken and not spent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingMelt {
    /// Its quote.
    pub id: QuoteId,
    /// How it is paid.
    pub method: Method,
    /// What is to arrive.
    pub amount: Sats,
    /// The ecash that was handed in: the amount, the fee at most, and what is given back.
    pub inputs: Sats,
    /// Hash of the Lightning payment, where it is known before it is paid.
    pub payment_hash: Option<String>,
}

/// Why the tables cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EcashError {
    /// SQLite refused.
    #[error("read the mint's database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The reading task broke.
    #[error("read the mint's database: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Reads the mint's database beside cdk, and never writes.
#[derive(Clone)]
pub struct EcashReader {
    connection: Arc<Mutex<Connection>>,
}

impl EcashReader {
    /// A reader of the database at `path`, which cdk has made.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, EcashError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Sat ecash right now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn read(&self) -> Result<Ecash, EcashError> {
        self.at_one_moment(ecash).await
    }

    /// Melts under way right now; much quicker than all of it, where there are many quotes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pending(&self) -> Result<Vec<PendingMelt>, EcashError> {
        self.at_one_moment(pending).await
    }

    async fn at_one_moment<T: Send + 'static>(
        &self,
        read: fn(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, EcashError> {
        let connection = Arc::clone(&self.connection);
        let read = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            read(&connection.transaction()?)
        });
        Ok(read.await??)
    }
}

impl Ecash {
    /// Signed and neither spent nor swapped.
    pub fn unspent(&self) -> Sats {
        self.issued.saturating_sub(self.redeemed)
    }

    /// Paid to quotes and not minted yet.
    pub fn promised(&self) -> Sats {
        self.received.in_all().saturating_sub(self.minted)
    }

    /// All that is owed. Proofs of melts under way are in it until they are spent.
    pub fn outstanding(&self) -> Sats {
        [self.unspent(), self.promised()].into_iter().sum()
    }

    /// What may be unspent: what was minted of paid quotes, less what was melted.
    pub fn accounted(&self) -> Sats {
        self.minted.saturating_sub(self.melted.in_all())
    }
}

impl Received {
    /// From all sources.
    pub fn in_all(self) -> Sats {
        [self.for_work, self.from_outside].into_iter().sum()
    }
}

impl Melted {
    /// With the fees.
    pub fn in_all(self) -> Sats {
        [self.paid, self.fees].into_iter().sum()
    }
}

const SIGNED: &str = "SELECT COALESCE(SUM(total_issued), 0), COALESCE(SUM(total_redeemed), 0)
    FROM keyset_amounts JOIN keyset ON keyset.id = keyset_amounts.keyset_id WHERE keyset.unit = 'sat'";
const QUOTES: &str = "SELECT payment_method, SUM(amount_paid), SUM(amount_issued)
    FROM mint_quote WHERE unit = 'sat' GROUP BY payment_method";
const MELTED: &str = "SELECT payment_method, COALESCE(SUM(payment_amount), 0), COALESCE(SUM(payment_fee), 0)
    FROM completed_operations WHERE operation_kind = 'melt' GROUP BY payment_method";
const PENDING: &str =
    "SELECT id, payment_method, amount, inputs_amount, request_lookup_id, request_lookup_id_kind
    FROM melt_quote JOIN melt_request ON melt_request.quote_id = melt_quote.id
    WHERE unit = 'sat' AND state = 'PENDING'";

fn sats(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Sats> {
    Ok(Sats::new(row.get(column)?))
}

fn ecash(moment: &Transaction<'_>) -> rusqlite::Result<Ecash> {
    let mut ecash = moment.query_row(SIGNED, [], |row| {
        Ok(Ecash { issued: sats(row, 0)?, redeemed: sats(row, 1)?, ..Ecash::default() })
    })?;
    let mut quotes = moment.prepare_cached(QUOTES)?;
    let mut rows = quotes.query([])?;
    while let Some(row) = rows.next()? {
        let method: String = row.get(0)?;
        let received = match Method::of_name(&method) {
            Some(_) => &mut ecash.received.from_outside,
            None => &mut ecash.received.for_work,
        };
        *received = [*received, sats(row, 1)?].into_iter().sum();
        ecash.minted = [ecash.minted, sats(row, 2)?].into_iter().sum();
    }
    let mut melts = moment.prepare_cached(MELTED)?;
    let mut rows = melts.query([])?;
    while let Some(row) = rows.next()? {
        let method: Option<String> = row.get(0)?;
        // The others are of ehash, in its units.
        if method.is_some_and(|method| Method::of_name(&method).is_some()) {
            ecash.melted.paid = [ecash.melted.paid, sats(row, 1)?].into_iter().sum();
            ecash.melted.fees = [ecash.melted.fees, sats(row, 2)?].into_iter().sum();
        }
    }
    ecash.pending = pending(moment)?;
    Ok(ecash)
}

fn pending(moment: &Transaction<'_>) -> rusqlite::Result<Vec<PendingMelt>> {
    let mut pending = Vec::new();
    let mut melts = moment.prepare_cached(PENDING)?;
    let mut rows = melts.query([])?;
    while let Some(row) = rows.next()? {
        let (id, method): (String, String) = (row.get(0)?, row.get(1)?);
        let (Ok(id), Some(method)) = (QuoteId::from_str(&id), Method::of_name(&method)) else { continue };
        let kind: Option<String> = row.get(5)?;
        let lookup: Option<String> = row.get(4)?;
        let payment_hash = lookup.filter(|_| kind.as_deref() == Some("payment_hash"));
        pending.push(PendingMelt { id, method, amount: sats(row, 2)?, inputs: sats(row, 3)?, payment_hash });
    }
    Ok(pending)
}
