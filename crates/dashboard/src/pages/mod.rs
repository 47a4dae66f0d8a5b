//! The pages, a file each: what a template shows, made of the latest snapshot.

pub mod add;
pub mod alerts;
pub mod backup;
pub mod choices;
pub mod claims;
pub mod door;
pub mod earnings;
pub mod encrypted;
pub mod logs;
pub mod miners;
pub mod missing;
pub mod overview;
pub mod payouts;
pub mod restore;
pub mod rounds;
pub mod seed;
pub mod settings;
pub mod start;
pub mod why;
pub mod worker;
