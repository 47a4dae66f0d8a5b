//! Standing payouts: owners who are an address, a Lightning address or an offer, and names that were
//! given one, are paid by the mint itself when their balance passes a threshold.
//!
//! [`account`] decides, a pure state machine for each owner; [`books`] writes down; [`teller`] does
//! what it says with the owner's wallet and the mint, asking [`lnurl`] for invoices; [`paymaster`]
//! drives them, and [`local`] shows them. Every payout is in the books from intent to end, written
//! before the step it describes, and once it is handed over its melt quote alone tells how it ended:
//! ending the process at any moment neither loses nor repeats one.

pub mod account;
pub mod books;
pub mod lnurl;
pub mod local;
pub mod paymaster;
pub mod payout;
pub mod rule;
pub mod teller;

pub use paymaster::Paymaster;
