//! The mint as its users meet it: the real `poolbox-mint` with a real node, a real journal and real
//! wallets. One program, so that its libraries are linked once.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failure here is the failure of a test"
)]

mod cashu_ts;
mod claiming;
mod crowding;
mod cutting;
mod disk;
mod interrupting;
mod lightning;
mod melting;
mod paying;
mod paying_over_lightning;
mod pools;
mod proxying;
mod redeeming;
mod refusing;
mod renewing;
mod reorganising;
mod rig;
mod seed;
mod sharing;
mod surviving;
