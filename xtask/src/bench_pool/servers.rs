//! The servers under load: ours and the peer's, each with the settings that a run needs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::cases::Run;
use crate::rig::{AUTHORITY, Chain, OurPool, OurSettings, Process, ReferencePool, Rig, Translator, Usage};
use crate::terminal;

/// Who runs where.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// How many there are.
    pub count: usize,
    /// The server's.
    pub server: Option<usize>,
    /// Everything else's.
    pub load: Option<usize>,
}

impl Cores {
    /// Two of this machine's, if it has two.
    pub fn of_this_machine() -> Self {
        let count = terminal::cores();
        let core = |core| (count > 1).then_some(core);
        Self { count, server: core(0), load: core(1) }
    }
}

/// Every program that takes part; a peer may be missing, with the reason.
pub struct Programs {
    /// poolbox-pool.
    pub pool: PathBuf,
    /// poolbox-miner, the load generator.
    pub miner: PathBuf,
    /// pool_sv2.
    pub reference_pool: Result<PathBuf, String>,
    /// translator_sv2.
    pub translator: Result<PathBuf, String>,
    /// bitcoin-node.
    pub node: PathBuf,
}

/// Where servers are started.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// Folders and guard.
    pub rig: &'a Rig,
    /// The node.
    pub chain: &'a Chain,
    /// Every program.
    pub programs: &'a Programs,
    /// Who runs where.
    pub cores: Cores,
}

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Our own.
    Ours,
    /// The reference implementation's.
    Peer,
}

impl Side {
    /// Its name in a report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
        }
    }
}

/// A server under load: one program or several.
pub struct Server {
    processes: Vec<Process>,
    /// Where miners connect.
    pub url: String,
    /// Its key, for Sv2.
    pub authority: Option<String>,
}

/// Starts the server that a run needs.
pub fn start(stage: &Stage<'_>, side: Side, run: Run) -> Result<Server> {
    let name = format!("{}-{run:?}", side.name()).to_lowercase();
    match side {
        Side::Ours => start_ours(stage, run, &name),
        Side::Peer => start_peer(stage, run, &name),
    }
}

fn start_ours(stage: &Stage<'_>, run: Run, name: &str) -> Result<Server> {
    let program = &stage.programs.pool;
    let settings = OurSettings { program, name, free_shares: true, core: stage.cores.server };
    let pool = OurPool::start(stage.rig, stage.chain, settings)?;
    Ok(if run == Run::Sv1 {
        let url = format!("stratum+tcp://127.0.0.1:{}", pool.stratum_v1);
        Server { processes: vec![pool.process], url, authority: None }
    } else {
        let url = format!("stratum2+tcp://127.0.0.1:{}", pool.stratum_v2);
        Server { processes: vec![pool.process], url, authority: Some(pool.authority) }
    })
}

fn start_peer(stage: &Stage<'_>, run: Run, name: &str) -> Result<Server> {
    let batch = if run == Run::Batched { 10 } else { 1 };
    let program = installed(&stage.programs.reference_pool)?;
    let core = stage.cores.server;
    let pool = ReferencePool::start(stage.rig, stage.chain, program, name, batch, core)?;
    if run != Run::Sv1 {
        let url = format!("stratum2+tcp://127.0.0.1:{}", pool.port);
        return Ok(Server { processes: vec![pool.process], url, authority: Some(AUTHORITY.into()) });
    }
    let program = installed(&stage.programs.translator)?;
    // Nobody's hash rate: the pool then asks for next to no work for a share.
    let translator = Translator::start(stage.rig, program, (pool.port, AUTHORITY), 1e-6, core)?;
    let url = format!("stratum+tcp://127.0.0.1:{}", translator.port);
    Ok(Server { processes: vec![pool.process, translator.process], url, authority: None })
}

fn installed(program: &Result<PathBuf, String>) -> Result<&Path> {
    program.as_deref().map_err(|why| anyhow::anyhow!("{why}"))
}

/// Whether the next run may use the server of the one before: memory is measured on fresh ones, and the
/// settings differ for some.
pub fn same_server(side: Side, before: Run, next: Run) -> bool {
    let fresh = matches!(next, Run::Idle | Run::Blocks5000 | Run::Sv1);
    let other_settings = side == Side::Peer && (next == Run::Batched || before == Run::Batched);
    !(fresh || other_settings || before == Run::Sv1)
}

impl Server {
    /// An error when one of its programs has ended.
    pub fn must_run(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::must_run)
    }

    /// What its programs logged last, for whoever wonders why a run failed.
    pub fn last_words(&self) -> String {
        let words = |process: &Process| format!("{} said last:\n{}\n", process.name(), process.log_tail());
        self.processes.iter().map(words).collect()
    }

    /// What its programs have used together.
    pub fn usage(&self) -> Result<Usage> {
        let mut all = Usage { cpu: Duration::ZERO, resident_kb: 0 };
        for process in &self.processes {
            let used = process.usage()?;
            all = Usage { cpu: all.cpu + used.cpu, resident_kb: all.resident_kb + used.resident_kb };
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_measured_on_fresh_servers() {
        assert!(same_server(Side::Peer, Run::Extended, Run::Standard));
        assert!(!same_server(Side::Ours, Run::Latency, Run::Idle));
        assert!(!same_server(Side::Peer, Run::Blocks5000, Run::Batched));
        assert!(same_server(Side::Ours, Run::Blocks5000, Run::Batched));
    }
}
