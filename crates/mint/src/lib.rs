//! The mint: quotes, ehash, epochs and settlement on stock cdk, for the modes `pool` and `proxy`.
//!
//! Work flows in from the pool's quote queue and the node's chain, through [`crediting`], the one
//! task that posts, into quotes that wallets mint; ehash flows back through [`settlement`] into
//! sats that the [`treasury`] backs. In mode proxy the work is paid in sats itself: what an [`upstream`]
//! pool pays is shared out by [`sharing`]. [`service`] puts the rooms together.

pub mod crediting;
pub mod health;
pub mod history;
pub mod invariants;
pub mod keys;
pub mod ledger;
pub mod local;
pub mod node;
pub mod payouts;
pub mod posting;
pub mod public;
pub mod purses;
pub mod quotes;
pub mod refusal;
pub mod renewal;
pub mod restored;
pub mod seed;
pub mod service;
pub mod settings;
pub mod settlement;
pub mod sharing;
pub mod trail;
pub mod treasury;
pub mod undivided;
pub mod units;
pub mod upstream;
pub mod watcher;
