//! The stage `disks`: the appliance's partition definitions, as evaluated, on files that stand for disks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::evaluator::{BOX, Evaluator};
use crate::failure::shown;
use crate::{cache, packages};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// What a compressed store takes in the image; it is grown to its slot at the first start.
const STORE_IN_IMAGE: u64 = 1500 * MIB;
/// Types of partitions as GPT knows them.
const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const USR: &str = "8484680C-9521-48C6-9C11-B0720656F69E";
const USR_VERITY: &str = "77FF5F63-E7B6-4633-ACF4-1565B864C0E6";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

/// A partition: type, label, bytes.
type Partition = (String, String, u64);

/// Runs the stage.
pub fn run(evaluator: &Evaluator) -> Result<Value> {
    packages::install_for_disks()?;
    let folder = cache::folder()?.join("disks");
    let _lock = cache::lock(&cache::folder()?.join("disks.lock"), "another box makes disks")?;
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let result = Bench { folder: &folder }.all(&evaluator.units(BOX)?);
    let _ = std::fs::remove_dir_all(&folder);
    result
}

struct Bench<'a> {
    folder: &'a Path,
}

impl Bench<'_> {
    fn all(&self, units: &Value) -> Result<Value> {
        let files = units["etc"].as_object().context("the evaluation names no files")?;
        for name in ["one-disk", "system-disk", "data-disk", "install"] {
            let start = format!("poolbox/{name}.d/");
            let mut found = 0;
            for (path, entry) in files.iter().filter(|(path, _)| path.starts_with(&start)) {
                let text = text_of(units, entry).with_context(|| format!("{path} has no text"))?;
                self.define(name, &path[start.len()..], &text)?;
                found += 1;
            }
            ensure!(found > 0, "the appliance has no definitions {start}");
        }
        // The image: as the appliance's, but with a store of no content. Its size is that of a real one.
        let size = format!(
            "[Partition]\nType=usr-x86-64\nLabel=store_1\nSizeMinBytes={STORE_IN_IMAGE}\nSizeMaxBytes={STORE_IN_IMAGE}\n"
        );
        for part in ["10-esp.conf", "20-verity-a.conf"] {
            let text = std::fs::read_to_string(self.folder.join("one-disk.d").join(part))?;
            self.define("image", part, &text)?;
        }
        self.define("image", "30-store-a.conf", &size)?;
        let image = self.folder.join("image");
        self.repart("image", "create", &image, &["--size=auto"])?;

        let tables = [
            ("32 GB", self.flashed(&image, 32)?),
            ("2 TB", self.flashed(&image, 2000)?),
            ("32 GB, copied to 64 GB", self.grown(&image)?),
            ("data on a disk of 500 GB of its own", self.beside(&image)?),
            ("installed on 128 GB", self.installed()?),
        ];
        self.too_small(&image)?;
        let shown = tables.iter().map(|(disk, table)| (disk.to_string(), spoken(table))).collect();
        Ok(Value::Object(shown))
    }

    /// A disk of `gib` that the image was written to, after its first start.
    fn flashed(&self, image: &Path, gib: u64) -> Result<Vec<Partition>> {
        let disk = self.copy(image, "flashed", gib)?;
        self.repart("one-disk", "refuse", &disk, &[])?;
        let table = self.table(&disk)?;
        ensure_slots(&table, "store_1")?;
        ensure_data(&table, gib, 9 * GIB)?;
        // A second start changes nothing.
        self.repart("one-disk", "refuse", &disk, &[])?;
        ensure!(self.table(&disk)? == table, "a second start changed the table");
        Ok(table)
    }

    /// The same disk copied to a larger one.
    fn grown(&self, image: &Path) -> Result<Vec<Partition>> {
        let before = self.flashed(image, 32)?;
        let disk = self.copy(&self.folder.join("flashed"), "grown", 64)?;
        self.repart("one-disk", "refuse", &disk, &[])?;
        let table = self.table(&disk)?;
        ensure!(table[..5] == before[..5], "growing moved or changed a slot: {}", spoken(&table));
        ensure_data(&table, 64, 9 * GIB)?;
        Ok(table)
    }

    /// A small disk for the system, and a large blank one.
    fn beside(&self, image: &Path) -> Result<Vec<Partition>> {
        let system = self.copy(image, "system", 16)?;
        self.repart("system-disk", "refuse", &system, &[])?;
        let table = self.table(&system)?;
        ensure!(table.len() == 5, "the system's disk has {} partitions", table.len());
        ensure_slots(&table, "store_1")?;
        let data = self.blank("data", 500)?;
        self.repart("data-disk", "allow", &data, &[])?;
        let table = self.table(&data)?;
        ensure!(table.len() == 1, "the data disk has {} partitions", table.len());
        ensure_data(&table, 500, GIB)?;
        Ok(table)
    }

    /// What the installer makes of a blank disk. What it copies from the running system is left out here.
    fn installed(&self) -> Result<Vec<Partition>> {
        let disk = self.blank("internal", 128)?;
        let definitions = self.folder.join("install.d");
        let mut copied = 0;
        for file in std::fs::read_dir(&definitions)? {
            let path = file?.path();
            let text = std::fs::read_to_string(&path)?;
            copied += text.matches("CopyBlocks=auto").count();
            std::fs::write(&path, text.replace("CopyBlocks=auto\n", ""))?;
        }
        ensure!(copied == 3, "the installer copies {copied} partitions, not boot, hashes and store");
        self.repart("install", "force", &disk, &[])?;
        let table = self.table(&disk)?;
        ensure!(table.len() == 6, "the installed disk has {} partitions", table.len());
        ensure_data(&table, 128, 9 * GIB)?;
        Ok(table)
    }

    /// Nothing is written where it does not fit.
    fn too_small(&self, image: &Path) -> Result<()> {
        let disk = self.copy(image, "small", 8)?;
        let before = self.table(&disk)?;
        ensure!(self.repart("one-disk", "refuse", &disk, &[]).is_err(), "a disk of 8 GiB was taken");
        ensure!(self.table(&disk)? == before, "a disk that is too small was changed");
        Ok(())
    }

    fn define(&self, name: &str, file: &str, text: &str) -> Result<()> {
        let folder = self.folder.join(format!("{name}.d"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(file), text).with_context(|| format!("cannot write {name}/{file}"))
    }

    fn copy(&self, from: &Path, name: &str, gib: u64) -> Result<PathBuf> {
        let disk = self.folder.join(name);
        let mut copy = Command::new("cp");
        copy.arg("--sparse=always").arg(from).arg(&disk);
        crate::failure::run(&mut copy)?;
        File::options().write(true).open(&disk)?.set_len(gib * GIB)?;
        Ok(disk)
    }

    fn blank(&self, name: &str, gib: u64) -> Result<PathBuf> {
        let disk = self.folder.join(name);
        File::create(&disk)?.set_len(gib * GIB)?;
        Ok(disk)
    }

    fn repart(&self, definitions: &str, empty: &str, disk: &Path, more: &[&str]) -> Result<()> {
        let mut command = Command::new("systemd-repart");
        command.arg(format!("--definitions={}", self.folder.join(format!("{definitions}.d")).display()));
        command.args(["--dry-run=no", &format!("--empty={empty}")]).args(more).arg(disk).stdin(Stdio::null());
        let output = command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {}", shown(&command), said.trim());
        Ok(())
    }

    /// The disk's partitions in order of their place.
    fn table(&self, disk: &Path) -> Result<Vec<Partition>> {
        let mut command = Command::new("sfdisk");
        command.arg("--json").arg(disk);
        let output = command.output().with_context(|| format!("cannot start {}", shown(&command)))?;
        table(&output.stdout).with_context(|| format!("{} has no table that can be read", disk.display()))
    }
}

/// The text of an evaluated file, whether it stands beside it or in a file of its own.
fn text_of(units: &Value, entry: &Value) -> Option<String> {
    let source = || units["files"][entry["source"].as_str()?]["text"].as_str();
    entry["text"].as_str().or_else(source).map(str::to_owned)
}

fn table(json: &[u8]) -> Result<Vec<Partition>> {
    let value: Value = serde_json::from_slice(json)?;
    let rows = value["partitiontable"]["partitions"].as_array().context("no partitions")?;
    let mut rows: Vec<(u64, Partition)> = rows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let size = row["size"].as_u64().unwrap_or_default() * 512;
            (row["start"].as_u64().unwrap_or_default(), (text("type"), text("name"), size))
        })
        .collect();
    rows.sort();
    Ok(rows.into_iter().map(|(_, partition)| partition).collect())
}

/// Boot partition, then the running slot, then the empty one.
fn ensure_slots(table: &[Partition], running: &str) -> Result<()> {
    let slots: Vec<(&str, u64)> =
        table.iter().take(5).map(|(kind, _, size)| (kind.as_str(), *size)).collect();
    let wanted =
        [(ESP, 512 * MIB), (USR_VERITY, 64 * MIB), (USR, 4 * GIB), (USR_VERITY, 64 * MIB), (USR, 4 * GIB)];
    ensure!(slots == wanted, "the slots are not as intended: {}", spoken(table));
    ensure!(table[2].1 == running, "the running store is called {}", table[2].1);
    ensure!(
        table[3].1 == "_empty" && table[4].1 == "_empty",
        "the second slot is not empty: {}",
        spoken(table)
    );
    Ok(())
}

/// The data partition is last and takes all that the others leave.
fn ensure_data(table: &[Partition], disk_gib: u64, others: u64) -> Result<()> {
    let (kind, label, size) = table.last().context("there is no partition")?;
    ensure!(
        kind == LINUX && label == "poolbox-data",
        "the last partition is not the data: {}",
        spoken(table)
    );
    let left = (disk_gib * GIB).saturating_sub(*size);
    ensure!(left <= others, "the data partition leaves {left} bytes of the disk: {}", spoken(table));
    Ok(())
}

fn spoken(table: &[Partition]) -> Value {
    let name = |kind: &str| match kind {
        ESP => "esp",
        USR => "store",
        USR_VERITY => "verity",
        LINUX => "data",
        _ => "unknown",
    };
    let line =
        |(kind, label, size): &Partition| json!(format!("{} {:?} {} MiB", name(kind), label, size / MIB));
    table.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_in_order_of_place() {
        let json = br#"{"partitiontable": {"partitions": [
            {"start": 4096, "size": 2048, "type": "B", "name": "two"},
            {"start": 2048, "size": 2048, "type": "A"}]}}"#;
        assert_eq!(table(json).unwrap(), [("A".into(), String::new(), MIB), ("B".into(), "two".into(), MIB)]);
        assert!(table(b"{}").is_err());
    }

    #[test]
    fn data_that_leaves_room_is_noticed() {
        let data = vec![(LINUX.to_owned(), "poolbox-data".to_owned(), 20 * GIB)];
        assert!(ensure_data(&data, 32, 9 * GIB).is_err());
        assert!(ensure_data(&data, 28, 9 * GIB).is_ok());
    }
}
