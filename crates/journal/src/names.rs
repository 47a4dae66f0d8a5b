//! Owners and workers as small numbers, so that a share's row stays small.

use std::collections::HashMap;

use poolbox_accounting::Owner;
use rusqlite::{Connection, OptionalExtension, params};

use crate::NewShare;

/// Most workers remembered at once; beyond that all are forgotten and looked up again. Bounds the
/// memory that clients with invented worker names can use.
const MAX_REMEMBERED: usize = 10_000;

/// Row numbers of the workers seen lately.
#[derive(Default)]
pub(crate) struct Workers {
    ids: HashMap<Owner, HashMap<String, i64>>,
    remembered: usize,
}

impl Workers {
    /// The row of the share's worker, made if this is its first share. Call within a transaction;
    /// [`Self::forget`] when that is rolled back.
    pub fn id(&mut self, connection: &Connection, share: &NewShare) -> Result<i64, rusqlite::Error> {
        if let Some(&id) = self.ids.get(&share.owner).and_then(|workers| workers.get(&share.worker)) {
            return Ok(id);
        }
        if self.remembered == MAX_REMEMBERED {
            self.forget();
        }
        let id = find_or_insert(connection, share)?;
        self.ids.entry(share.owner.clone()).or_default().insert(share.worker.clone(), id);
        self.remembered += 1;
        Ok(id)
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

fn find_or_insert(connection: &Connection, share: &NewShare) -> Result<i64, rusqlite::Error> {
    let owner = share.owner.to_string();
    connection.prepare_cached("INSERT OR IGNORE INTO owners (name) VALUES (?1)")?.execute([&owner])?;
    let owner: i64 = connection
        .prepare_cached("SELECT id FROM owners WHERE name = ?1")?
        .query_row([&owner], |row| row.get(0))?;
    let mut select = connection.prepare_cached("SELECT id FROM workers WHERE owner = ?1 AND name = ?2")?;
    match select.query_row(params![owner, share.worker], |row| row.get(0)).optional()? {
        Some(id) => Ok(id),
        None => connection
            .prepare_cached("INSERT INTO workers (owner, name) VALUES (?1, ?2)")?
            .insert(params![owner, share.worker]),
    }
}
