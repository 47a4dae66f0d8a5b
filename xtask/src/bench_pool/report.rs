//! What the bench found, as a table for people and as JSON.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::cases::Case;
use super::servers::Cores;

/// A figure, or why there is none.
pub type Figure = Result<f64, String>;

/// One case with what was measured.
pub struct Row {
    case: &'static Case,
    ours: Figure,
    peer: Figure,
    notes: Vec<String>,
}

impl Row {
    /// A case with both figures.
    pub fn new(case: &'static Case, ours: Figure, peer: Figure, notes: Vec<String>) -> Self {
        Self { case, ours, peer, notes }
    }

    /// How many times better ours is.
    fn ratio(&self) -> Option<f64> {
        let (ours, peer) = (*self.ours.as_ref().ok()?, *self.peer.as_ref().ok()?);
        let (better, worse) = if self.case.more_is_better { (ours, peer) } else { (peer, ours) };
        (worse > 0.0).then(|| better / worse)
    }

    /// `aim`, `least` or `missed`; nothing where there is no goal or no figure.
    fn reached(&self) -> Option<&'static str> {
        let grade = |aim: bool, least: bool| match (aim, least) {
            (true, _) => "aim",
            (false, true) => "least",
            (false, false) => "missed",
        };
        if let Some((aim, least)) = self.case.ratio {
            return self.ratio().map(|ratio| grade(ratio >= aim, ratio >= least));
        }
        let ((aim, least), ours) = (self.case.limit?, *self.ours.as_ref().ok()?);
        Some(grade(ours <= aim, ours <= least))
    }

    /// The row for machines.
    pub fn json(&self) -> Value {
        let figure = |figure: &Figure| figure.as_ref().ok().map(|value| rounded(*value));
        json!({
            "name": self.case.name,
            "what": self.case.what,
            "ours": figure(&self.ours),
            "peer": figure(&self.peer),
            "ratio": self.ratio().map(rounded),
            "goal_ratio": self.case.ratio.map(|(aim, _)| aim),
            "least_ratio": self.case.ratio.map(|(_, least)| least),
            "goal_at_most": self.case.limit.map(|(aim, _)| aim),
            "allowed_at_most": self.case.limit.map(|(_, least)| least),
            "reached": self.reached(),
            "notes": self.all_notes(),
        })
    }

    /// The notes, and why a figure is missing.
    fn all_notes(&self) -> Vec<String> {
        let missing = |whose, figure: &Figure| figure.as_ref().err().map(|why| format!("{whose}: {why}"));
        let mut notes = self.notes.clone();
        notes.extend(missing("ours", &self.ours));
        notes.extend(missing("peer", &self.peer));
        notes
    }

    fn goal(&self) -> String {
        match (self.case.ratio, self.case.limit) {
            (Some((aim, least)), _) if aim > least => format!("× {aim} ({least})"),
            (Some((aim, _)), _) => format!("× {aim}"),
            (None, Some((aim, most))) if aim < most => format!("≤ {aim} ({most})"),
            (None, Some((aim, _))) => format!("≤ {aim}"),
            (None, None) => String::new(),
        }
    }
}

/// Writes the table to standard error.
pub fn print_table(rows: &[Row]) {
    let line = |name: &str, ours: &str, peer: &str, ratio: &str, goal: &str, reached: &str| {
        eprintln!("{name:26} {ours:>12} {peer:>12} {ratio:>8}  {goal:10} {reached}");
    };
    let mut told = HashSet::new();
    line("case", "ours", "peer", "ratio", "goal", "reached");
    for row in rows {
        let figure = |figure: &Figure| figure.as_ref().map_or_else(|_| "–".into(), |value| shown(*value));
        let ratio = row.ratio().map(|ratio| format!("× {ratio:.1}")).unwrap_or_default();
        let reached = row.reached().unwrap_or_default();
        line(row.case.name, &figure(&row.ours), &figure(&row.peer), &ratio, &row.goal(), reached);
        for note in row.all_notes() {
            // What concerns several cases of a run is told once.
            if told.insert(note.clone()) {
                eprintln!("    {}", note.replace('\n', "\n    "));
            }
        }
    }
}

/// Where it was measured.
pub fn machine(cores: Cores, journal: &Path) -> Value {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = text("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let (device, kind) = mount(&text("/proc/mounts"), journal);
    json!({
        "cpu": model.map(|(_, model)| model),
        "cores": cores.count,
        "server_core": cores.server,
        "load_core": cores.load,
        "journal_on": { "device": device, "filesystem": kind },
    })
}

/// Device and file system of the longest mount point that holds the path.
fn mount(mounts: &str, path: &Path) -> (String, String) {
    let entry = |line: &str| {
        let mut fields = line.split(' ');
        let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        path.starts_with(point).then(|| (point.len(), device.to_owned(), kind.to_owned()))
    };
    let longest = mounts.lines().filter_map(entry).max();
    longest.map(|(_, device, kind)| (device, kind)).unwrap_or_default()
}

/// Four digits that mean something.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let factor = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * factor).round() / factor
}

fn shown(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::*;

    fn row(name: &str, ours: f64, peer: f64) -> Row {
        let case = CASES.iter().find(|case| case.name == name).unwrap();
        Row::new(case, Ok(ours), Ok(peer), Vec::new())
    }

    #[test]
    fn a_ratio_above_one_is_always_in_our_favour() {
        assert!((row("extended_shares_per_s", 500.0, 50.0).ratio().unwrap() - 10.0).abs() < 1e-9);
        assert!((row("sv1_cpu_us_per_share", 4.0, 40.0).ratio().unwrap() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn goals_are_judged_by_ratio_or_by_limit() {
        assert_eq!(row("extended_shares_per_s", 500.0, 50.0).reached(), Some("aim"));
        assert_eq!(row("extended_shares_per_s", 300.0, 50.0).reached(), Some("least"));
        assert_eq!(row("extended_shares_per_s", 200.0, 50.0).reached(), Some("missed"));
        assert_eq!(row("extended_cpu_us_per_share", 3.0, 19.0).reached(), Some("least"));
        assert_eq!(row("batched_shares_per_s", 1.0, 1.0).reached(), None);
    }

    #[test]
    fn a_figure_that_could_not_be_had_says_why() {
        let case = &CASES[0];
        let row = Row::new(case, Ok(1.0), Err("not installed".into()), Vec::new());
        let json = row.json();
        assert_eq!(json["peer"], Value::Null);
        assert_eq!(json["notes"][0], "peer: not installed");
        assert_eq!(json["reached"], Value::Null);
    }

    #[test]
    fn the_journals_disk_is_the_nearest_mount() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(mount(mounts, Path::new("/tmp/x")), ("tmpfs".into(), "tmpfs".into()));
        assert_eq!(mount(mounts, Path::new("/tmpx")), ("/dev/vda".into(), "ext4".into()));
    }

    #[test]
    fn figures_keep_four_digits() {
        assert!((rounded(51_637.4) - 51_640.0).abs() < 1e-9);
        assert!((rounded(0.012_345) - 0.012_35).abs() < 1e-9);
        assert_eq!([shown(0.136), shown(19.44), shown(51_637.4)], ["0.136", "19.4", "51637"]);
    }
}
