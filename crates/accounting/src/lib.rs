//! The rules about work and money: pure functions and state machines, no I/O and no clock.
//!
//! Everything here is an integer with its unit in the type. The rooms above (journal, stratum,
//! pool, mint) bring bytes, sockets and time; they decide nothing about who is owed what.

mod difficulty;
mod epoch;
mod mode;
mod network;
mod owner;
mod place;
mod rounds;
mod sats;
mod settlement;
mod work;

pub use difficulty::{Difficulty, DifficultyError};
pub use epoch::{
    Block, Epoch, EpochError, EpochEvent, EpochId, EpochRules, EpochState, Epochs, Payout, UnknownUnit,
};
pub use mode::{Earns, Mode};
pub use network::{Network, UnknownNetwork};
pub use owner::{Identity, Owner, OwnerError};
pub use place::{JournalId, Mark, Marks, NotAJournalId, QueueSeq, ShareSeq};
pub use rounds::{Payment, PaymentId, Round, RoundEnd, RoundEvent, RoundId, Rounds, TooMuchWork};
pub use sats::Sats;
pub use settlement::{FeePpm, Rate, SettlementError};
pub use work::{Work, WorkError};
