//! The quote queue from the journal to the mint, whatever carries it: what was journalled is taken
//! once, in order and without a gap, whoever is killed when. The servers are real ones; the mint is a
//! stand-in that keeps its cursors as the mint keeps them: together with what they brought.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a failure here is the failure of a test")]

#[path = "../audit/mod.rs"]
mod audit;
mod both;
mod carriage;
mod damage;
mod kills;
mod login;
mod stand_in_mint;
