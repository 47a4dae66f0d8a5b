//! A node with a private chain, and what its log tells about new blocks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Launch, Process, Rig, free_port, wait};
use crate::failure::shown;

/// Pays to anyone.
const ANYONE_CAN_SPEND: &str = "raw(51)#8lvh9jxk";
/// Nonces tried before a block is given up; devnet needs about 4.8 million.
const MAX_TRIES: &str = "400000000";
const PATIENCE: Duration = Duration::from_secs(60);

/// The private networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Every second hash is a block.
    Regtest,
    /// A private signet with real difficulty.
    Devnet,
}

impl Network {
    /// What our settings call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regtest => "regtest",
            Self::Devnet => "devnet",
        }
    }

    /// What Core and everybody who knows nothing of devnet calls it.
    pub const fn core_name(self) -> &'static str {
        match self {
            Self::Regtest => "regtest",
            Self::Devnet => "signet",
        }
    }
}

/// The node.
pub struct Chain {
    network: Network,
    folder: PathBuf,
    cli: PathBuf,
    process: Process,
}

/// A block as the node saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewBlock {
    /// When it became the tip, Unix microseconds.
    pub tip_us: u64,
    /// When the node had handed out the last part of the template after it; the pool has it then.
    pub template_us: u64,
}

impl Chain {
    /// Starts a node with one block.
    pub fn start(rig: &Rig, name: &str, node: &Path, network: Network, core: Option<usize>) -> Result<Self> {
        let folder = rig.near(name)?;
        let chain = network.core_name();
        let challenge = if network == Network::Devnet { "signetchallenge=51\n" } else { "" };
        // The IPC's log tells when a template was handed out.
        let settings = format!(
            "chain={chain}\nlogtimemicros=1\ndebug=ipc\n[{chain}]\n{challenge}ipcbind=unix\nserver=1\n\
             rpcport={}\nrpcbind=127.0.0.1\nrpcallowip=127.0.0.1\nlisten=0\nconnect=0\ndbcache=4\n",
            free_port()?
        );
        fs::write(folder.join("bitcoin.conf"), settings).context("cannot write bitcoin.conf")?;
        // Defect of bitcoin_core_sv2: without this folder, solutions are dropped silently.
        fs::create_dir_all(folder.join(chain).join("solutions")).context("cannot make the node's folder")?;
        let process = rig.start(Launch {
            name,
            program: node,
            arguments: vec![format!("-datadir={}", folder.display()).into()],
            environment: &[],
            core,
            result: false,
        })?;
        let cli = node.with_file_name("bitcoin-cli");
        let mut chain = Self { network, folder, cli, process };
        wait("the node to answer", PATIENCE, || {
            chain.process.must_run()?;
            Ok((chain.socket().exists() && chain.cli(&["getblockcount"]).is_ok()).then_some(()))
        })?;
        chain.mine(1)?;
        Ok(chain)
    }

    /// Which network it is.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The folder that holds all its networks.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The mining IPC.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(self.network.core_name()).join("node.sock")
    }

    /// Mines blocks by RPC.
    pub fn mine(&self, blocks: u32) -> Result<()> {
        self.cli(&["generatetodescriptor", &blocks.to_string(), ANYONE_CAN_SPEND, MAX_TRIES]).map(drop)
    }

    /// The height of its chain.
    pub fn height(&self) -> Result<u64> {
        self.cli(&["getblockcount"])?.trim().parse().context("getblockcount is no number")
    }

    /// The blocks that its log tells of, oldest first, as far as a template after them was handed out.
    pub fn new_blocks(&self) -> Result<Vec<NewBlock>> {
        let log = self.folder.join(self.network.core_name()).join("debug.log");
        let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok(new_blocks(&String::from_utf8_lossy(&text)))
    }

    fn cli(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.cli);
        command.arg(format!("-datadir={}", self.folder.display()));
        // Not over the IPC, whose log is read.
        command.args(["-noipcconnect", "-rpcclienttimeout=0"]).args(arguments);
        let output = command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "bitcoin-cli {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The parts of a template that a pool fetches one by one once it is told that there is a new one.
fn hands_out_a_part(line: &str) -> bool {
    line.contains("IPC server send response") && line.contains(" BlockTemplate.get")
}

fn new_blocks(log: &str) -> Vec<NewBlock> {
    let mut blocks = Vec::new();
    let mut tip = None;
    for line in log.lines() {
        if line.contains(" UpdateTip: new best=") {
            blocks.extend(tip.take().and_then(complete));
            tip = unix_us(line).map(|tip_us| (tip_us, None));
        } else if line.contains("BlockTemplate.waitNext$Params") {
            // It has everything and waits for the next one.
            if let Some(block) = tip.and_then(complete) {
                blocks.push(block);
                tip = None;
            }
        } else if hands_out_a_part(line)
            && let Some((_, part)) = &mut tip
        {
            *part = unix_us(line);
        }
    }
    blocks.extend(tip.and_then(complete));
    blocks
}

fn complete((tip_us, part): (u64, Option<u64>)) -> Option<NewBlock> {
    part.map(|template_us| NewBlock { tip_us, template_us })
}

/// The time at the start of a line, as in `2026-11-24T23:01:26.747258Z`, in Unix microseconds.
fn unix_us(line: &str) -> Option<u64> {
    let (date, time) = line.get(..27)?.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator| -> Option<Vec<u64>> {
        text.split(separator).map(|part| part.parse().ok()).collect()
    };
    let (clock, micros) = time.split_once('.')?;
    let ([year, month, day], [hour, minute, second]) =
        (numbers(date, '-')?.try_into().ok()?, numbers(clock, ':')?.try_into().ok()?);
    // Years begin in March here, so that the leap day is a year's last.
    let (year, month): (u64, u64) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = ((days.checked_sub(719_468)? * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000 + micros.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_log_are_read() {
        assert_eq!(unix_us("1970-01-01T00:00:00.000001Z x"), Some(1));
        assert_eq!(unix_us("2024-02-29T12:00:00.500000Z x"), Some(1_709_208_000_500_000));
        assert_eq!(unix_us("2026-11-24T23:01:26.747258Z x"), Some(1_795_561_286_747_258));
        assert_eq!(unix_us("no time"), None);
    }

    #[test]
    fn a_blocks_template_is_complete_with_the_last_part_before_the_next_wait() {
        let line = |us: u32, text: &str| format!("1970-01-01T00:00:00.{us:06}Z {text}\n");
        let part = "[ipc] {b} IPC server send response #72 BlockTemplate.getBlockHeader$Results";
        let next = "[ipc] {b} IPC server recv request  #75 BlockTemplate.waitNext$Params";
        let log = [
            line(1, part),
            line(2, "UpdateTip: new best=00 height=1"),
            line(3, part),
            line(4, part),
            line(5, next),
            line(6, part),
            line(7, "UpdateTip: new best=01 height=2"),
            line(8, "UpdateTip: new best=02 height=3"),
            line(9, part),
        ]
        .concat();
        let block = |tip_us, template_us| NewBlock { tip_us, template_us };
        assert_eq!(new_blocks(&log), [block(2, 4), block(8, 9)]);
    }
}
