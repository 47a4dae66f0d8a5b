//! The benches, one entry each. A new one needs only its entry here and a program that prints what it
//! measured, as JSON when asked by `--json`.

/// Something that can be measured.
pub struct Bench {
    /// What one calls it on the command line.
    pub name: &'static str,
    /// What it measures, with the unit.
    pub measures: &'static str,
    /// The crate whose program of the same name measures it, built in the release profile.
    pub program: &'static str,
    /// That program's arguments.
    pub arguments: &'static [&'static str],
}

/// All of them, in the order in which they run.
pub const BENCHES: &[Bench] = &[Bench {
    name: "hashrate",
    measures: "hashes a second that the CPU miner reaches",
    program: "poolbox-miner",
    arguments: &["bench", "--seconds", "5"],
}];
