//! How modes are written in the tables: by numbers that never change.

use poolbox_accounting::{Earns, Mode};

use crate::JournalError;

/// The number of a mode.
pub(crate) const fn number(mode: Mode) -> i64 {
    match mode {
        Mode::Pool => 0,
        Mode::Solo => 1,
        Mode::Proxy => 2,
    }
}

/// The mode of a number.
///
/// # Errors
/// [`JournalError::Damaged`] for a number that no pool wrote.
pub(crate) fn mode(number: i64) -> Result<Mode, JournalError> {
    match number {
        0 => Ok(Mode::Pool),
        1 => Ok(Mode::Solo),
        2 => Ok(Mode::Proxy),
        _ => Err(JournalError::Damaged(format!("mode {number} is none"))),
    }
}

/// What the work of a queue entry with this number earns.
///
/// # Errors
/// [`JournalError::Damaged`] for a number of which no pool writes entries.
pub(crate) fn earns(number: i64) -> Result<Earns, JournalError> {
    let damaged = || JournalError::Damaged(format!("an entry of the queue has mode {number}"));
    mode(number)?.earns().ok_or_else(damaged)
}
