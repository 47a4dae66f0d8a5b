//! Requests, answers and files that lie here, with this test in the place of the system.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use tempfile::TempDir;

use super::*;

const PASSPHRASE: &str = "four words at random";

struct Rig {
    dir: TempDir,
    backups: Backups,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["requests", "answers", "made", "uploaded", "data"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let backups = open(&dir);
        Self { dir, backups }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        std::fs::write(self.at(path), text).unwrap();
    }

    /// As if it had been written so long ago.
    fn age(&self, path: &str, age: Duration) {
        let file = File::options().write(true).open(self.at(path)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
}

fn open(dir: &TempDir) -> Backups {
    let at = |path: &str| dir.path().join(path);
    let place = BackupPlace {
        requests_dir: at("requests"),
        answers_dir: at("answers"),
        made: at("made/box.age"),
        uploaded: at("uploaded/box.age"),
    };
    Backups::open(place, &at("data"))
}

#[test]
fn a_request_is_for_nobody_else_and_one_at_a_time() {
    let rig = Rig::new();
    assert_eq!(rig.backups.progress(Errand::Backup), Progress::Idle);
    rig.backups.ask(Errand::Backup, PASSPHRASE).unwrap();
    let request = rig.at("requests/backup");
    assert_eq!(std::fs::read_to_string(&request).unwrap(), format!("{PASSPHRASE}\n"));
    assert_eq!(std::fs::metadata(&request).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(rig.backups.progress(Errand::Backup), Progress::Asked);
    for errand in Errand::ALL {
        assert!(rig.backups.ask(errand, PASSPHRASE).unwrap_err().contains("wait for its end"));
    }
    std::fs::remove_file(&request).unwrap();
    rig.put("answers/backup", "making 7\n");
    assert!(rig.backups.ask(Errand::Restore, PASSPHRASE).is_err(), "it is under way");
    rig.put("answers/backup", "failed 8\npoolbox: no room\n");
    assert_eq!(
        rig.backups.progress(Errand::Backup),
        Progress::Failed { at: 8, said: "poolbox: no room".into() }
    );
    rig.backups.ask(Errand::Backup, PASSPHRASE).unwrap();
}

#[test]
fn a_passphrase_that_nobody_takes_does_not_lie_around() {
    let rig = Rig::new();
    rig.backups.ask(Errand::Backup, PASSPHRASE).unwrap();
    rig.backups.tidy_once();
    assert_eq!(rig.backups.progress(Errand::Backup), Progress::Asked);
    rig.age("requests/backup", Duration::from_secs(20));
    rig.backups.tidy_once();
    assert_eq!(rig.backups.progress(Errand::Backup), Progress::Ignored);
    rig.backups.ask(Errand::Restore, PASSPHRASE).unwrap();
    rig.put("requests/backup.partial", PASSPHRASE);
    let again = open(&rig.dir);
    assert_eq!(again.progress(Errand::Restore), Progress::Idle, "nor after a restart");
    assert_eq!(std::fs::read_dir(rig.at("requests")).unwrap().count(), 0);
}

#[test]
fn what_lies_here_long_enough_goes() {
    let rig = Rig::new();
    rig.put("made/box.age", "a backup");
    rig.put("uploaded/box.age", "another");
    rig.backups.tidy_once();
    assert_eq!(rig.backups.progress(Errand::Forget), Progress::Idle);
    rig.age("made/box.age", MADE_LASTS + Duration::from_secs(5));
    rig.age("uploaded/box.age", UPLOADED_LASTS + Duration::from_secs(5));
    rig.backups.tidy_once();
    // The one is the system's to remove, the other is ours.
    assert_eq!(rig.backups.progress(Errand::Forget), Progress::Asked);
    assert_eq!(rig.backups.uploaded(), None);
}

#[test]
fn a_backup_that_was_made_is_there_while_its_file_is_and_that_it_was_fetched_is_kept() {
    let rig = Rig::new();
    rig.put("answers/backup", "done 8\n{\"made_at\": 7, \"network\": \"devnet\", \"files\": [{}]}\n");
    assert_eq!(rig.backups.made(), None);
    rig.put("made/box.age", "a backup");
    let (lying, manifest) = rig.backups.made().unwrap();
    assert_eq!((lying.bytes, manifest.made_at, manifest.network.as_str()), (8, 7, "devnet"));
    assert_eq!(rig.backups.taken(), None);
    rig.backups.note_taken(7);
    assert_eq!(open(&rig.dir).taken(), Some(Taken { made_at: 7 }));
    rig.put("data/backups.json", "?");
    assert_eq!(open(&rig.dir).taken(), None);
}

#[test]
fn a_request_that_cannot_be_written_says_so() {
    let rig = Rig::new();
    std::fs::remove_dir(rig.at("requests")).unwrap();
    assert!(rig.backups.ask(Errand::Backup, PASSPHRASE).unwrap_err().contains("could not be written"));
    // A folder that stands in the way.
    std::fs::create_dir_all(rig.at("requests/backup.partial")).unwrap();
    std::fs::set_permissions(rig.at("requests"), Permissions::from_mode(0o700)).unwrap();
    assert!(rig.backups.ask(Errand::Backup, PASSPHRASE).is_err());
}

#[test]
fn a_passphrase_is_long_enough_typed_twice_and_one_line() {
    assert_eq!(fits(PASSPHRASE, PASSPHRASE), Ok(()));
    assert_eq!(fits("vier wörter, zufällig", "vier wörter, zufällig"), Ok(()));
    for (one, other, told) in [
        (PASSPHRASE, "four words", "not the same"),
        ("short", "short", "at least 10"),
        ("two lines\nof it", "two lines\nof it", "one line"),
        ("with a nul \0 in it", "with a nul \0 in it", "one line"),
    ] {
        let error = fits(one, other).unwrap_err();
        assert!(error.contains(told) && !error.contains(one), "{error}");
    }
    let endless = "x".repeat(PASSPHRASE_MOST + 1);
    assert!(fits(&endless, &endless).unwrap_err().contains("at most"));
}
