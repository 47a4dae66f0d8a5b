//! Miners on the local network that run AxeOS: finding them, reading them, pointing one at the box and back.
//! Its HTTP interface knows no password, so only private addresses are asked and no redirect is followed.

mod change;
mod client;
mod device;
mod finding;
mod pointing;
#[cfg(test)]
mod tests;

pub use self::change::{Change, Goal};
pub use self::client::{Address, AxeOs};
pub use self::device::Device;
pub use self::finding::{announced, probed};
pub use self::pointing::{Pointing, Pointings, Stage};
