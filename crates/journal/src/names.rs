//! Owners and workers as small numbers, so that a share's row stays small.

use std::collections::HashMap;
use std::sync::Arc;

use poolbox_accounting::Identity;
use rusqlite::{Connection, OptionalExtension, params};

/// Most workers remembered at once; beyond that all are forgotten and looked up again. Bounds the
/// memory that clients with invented worker names can use.
const MAX_REMEMBERED: usize = 10_000;

/// Row numbers of the workers seen lately.
#[derive(Default)]
pub(crate) struct Workers {
    ids: HashMap<Arc<Identity>, i64>,
    /// A connection's shares come in runs: most look-ups end here.
    last: Option<(Arc<Identity>, i64)>,
}

impl Workers {
    /// The row of a share's worker, made if this is its first share. Call within a transaction;
    /// [`Self::forget`] when that is rolled back.
    pub fn id(&mut self, connection: &Connection, identity: &Arc<Identity>) -> Result<i64, rusqlite::Error> {
        if let Some((last, id)) = &self.last
            && Arc::ptr_eq(last, identity)
        {
            return Ok(*id);
        }
        let id = match self.ids.get(identity) {
            Some(&id) => id,
            None => {
                if self.ids.len() == MAX_REMEMBERED {
                    self.forget();
                }
                let id = find_or_insert(connection, identity)?;
                self.ids.insert(Arc::clone(identity), id);
                id
            }
        };
        self.last = Some((Arc::clone(identity), id));
        Ok(id)
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

fn find_or_insert(connection: &Connection, identity: &Identity) -> Result<i64, rusqlite::Error> {
    let owner = identity.owner.to_string();
    connection.prepare_cached("INSERT OR IGNORE INTO owners (name) VALUES (?1)")?.execute([&owner])?;
    let owner: i64 = connection
        .prepare_cached("SELECT id FROM owners WHERE name = ?1")?
        .query_row([&owner], |row| row.get(0))?;
    let mut select = connection.prepare_cached("SELECT id FROM workers WHERE owner = ?1 AND name = ?2")?;
    match select.query_row(params![owner, identity.worker], |row| row.get(0)).optional()? {
        Some(id) => Ok(id),
        None => connection
            .prepare_cached("INSERT INTO workers (owner, name) VALUES (?1, ?2)")?
            .insert(params![owner, identity.worker]),
    }
}
