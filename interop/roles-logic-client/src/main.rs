//! A Stratum V2 miner on `roles_logic_sv2` 5 and the crates of its generation: a protocol stack older than
//! the one that the pool is built on, and independent of it. It opens channels of every kind, takes jobs,
//! submits shares, and prints what it saw as one JSON object. It ends with an error unless shares were
//! accepted on the standard and on the extended channel.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks to its user")]

mod channel;
mod miner;
mod talk;
mod wire;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bitcoin::base58;
use lexopt::{Arg, ValueExt};
use serde_json::{Map, Value, json};

use crate::miner::{Kind, Tally};

const HELP: &str = "\
roles-logic-client --address HOST:PORT --authority KEY [OPTIONS]

Opens a standard, an extended and a grouped channel at a Stratum V2 pool, one connection each, and
submits shares on them. Prints {opened, jobs, accepted, rejected, errors} as JSON.

  --address HOST:PORT  the pool
  --authority KEY      its authority key, base58check
  --user NAME          user identity (interop.roles-logic)
  --hash-rate RATE     nominal hash rate that channels are opened with, hashes a second (0)
  --shares N           shares to submit on each channel before a new block is waited for (10)
  --rounds N           how many blocks to see, that of the first job included (1)
  --seconds S          time for each channel (60)
";

/// What the command line asks for.
pub struct Wish {
    /// The pool, HOST:PORT.
    pub address: String,
    /// The x coordinate of its authority key.
    pub authority: [u8; 32],
    /// User identity.
    pub user: String,
    /// Hashes a second, as the pool is told.
    pub hash_rate: f32,
    /// How many shares to submit on each channel, on each block.
    pub shares: u32,
    /// How many blocks to work on.
    pub rounds: u32,
    /// How long each channel may take.
    pub patience: Duration,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("roles-logic-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether shares were accepted on every channel that must work.
fn run() -> Result<bool> {
    let Some(wish) = parse()? else {
        print!("{HELP}");
        return Ok(true);
    };
    let mut channels = Map::new();
    let mut total = Tally::default();
    let mut works = true;
    for kind in Kind::ALL {
        let tally = talk::mine(&wish, kind, Instant::now() + wish.patience);
        works &= tally.accepted > 0 || !kind.must_work();
        channels.insert(kind.name().into(), shown(&tally));
        total.add(tally);
    }
    let mut summary = shown(&total);
    summary["channels"] = Value::Object(channels);
    println!("{summary}");
    Ok(works)
}

fn shown(tally: &Tally) -> Value {
    let Tally { opened, jobs, accepted, rejected, errors } = tally;
    json!({ "opened": opened, "jobs": jobs, "accepted": accepted, "rejected": rejected, "errors": errors })
}

fn parse() -> Result<Option<Wish>> {
    let mut parser = lexopt::Parser::from_env();
    let (mut address, mut authority) = (None, None);
    let mut user = "interop.roles-logic".to_owned();
    let (mut hash_rate, mut shares, mut rounds, mut seconds) = (0.0, 10, 1, 60);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("address") => address = Some(parser.value()?.string()?),
            Arg::Long("authority") => authority = Some(key(&parser.value()?.string()?)?),
            Arg::Long("user") => user = parser.value()?.string()?,
            Arg::Long("hash-rate") => hash_rate = parser.value()?.parse()?,
            Arg::Long("shares") => shares = parser.value()?.parse()?,
            Arg::Long("rounds") => rounds = parser.value()?.parse()?,
            Arg::Long("seconds") => seconds = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let (Some(address), Some(authority)) = (address, authority) else {
        bail!("--address and --authority are needed; --help tells more");
    };
    let patience = Duration::from_secs(seconds);
    Ok(Some(Wish { address, authority, user, hash_rate, shares, rounds, patience }))
}

/// Base58check of a version (1, little-endian) and the key.
fn key(text: &str) -> Result<[u8; 32]> {
    let bytes = base58::decode_check(text).context("--authority is no base58check text")?;
    let (version, key) = bytes.split_first_chunk::<2>().context("--authority is too short")?;
    ensure!(u16::from_le_bytes(*version) == 1, "--authority is of another version");
    key.try_into().context("--authority is no key of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_keys_are_read() {
        // The key of the reference implementation's examples.
        assert!(key("9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72").is_ok());
        assert!(key("9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH73").is_err());
    }
}
