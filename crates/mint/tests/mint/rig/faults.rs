//! A mint whose database hangs, or refuses, at a chosen row.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Rig;

/// How long the database is locked without a break when the mint hangs in it.
const HANGING: Duration = Duration::from_millis(400);

/// What happens at the n-th row.
#[derive(Clone, Copy)]
pub enum Fault {
    /// The statement never ends: the process stands exactly there.
    Hang,
    /// The statement is refused, and whatever is written later.
    Refuse,
}

/// Faults in the database of a running mint, by triggers on its tables.
pub struct Faults {
    path: PathBuf,
    tables: Vec<String>,
}

impl Faults {
    /// In all tables.
    pub fn of(rig: &Rig) -> Self {
        let mut faults = Self { path: rig.path("mint/mint.sqlite"), tables: Vec::new() };
        faults.tables = Self::all_tables(&faults.connection());
        faults
    }

    /// In these alone.
    pub fn among(rig: &Rig, tables: &[&str]) -> Self {
        let all = Self::of(rig);
        assert!(tables.iter().all(|table| all.tables.iter().any(|known| known == table)), "{:?}", all.tables);
        Self { tables: tables.iter().map(|table| (*table).to_owned()).collect(), ..all }
    }

    fn connection(&self) -> Connection {
        let connection = Connection::open(&self.path).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection
    }

    fn all_tables(connection: &Connection) -> Vec<String> {
        let mut tables = connection
            .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'fault%'")
            .unwrap();
        tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// From now on the `row`-th row that is written meets `fault`.
    pub fn set(&self, row: u32, fault: Fault) {
        let connection = self.connection();
        let effect = match fault {
            // A billion billion rows to count.
            Fault::Hang => {
                "(SELECT count(*) FROM fault_ten a, fault_ten b, fault_ten c, fault_ten d, fault_ten e, \
                fault_ten f, fault_ten g, fault_ten h, fault_ten i, fault_ten j, fault_ten k, fault_ten l)"
            }
            Fault::Refuse => "RAISE(ABORT, 'database or disk is full')",
        };
        let mut script = format!(
            "BEGIN IMMEDIATE; CREATE TABLE fault (rows_left INTEGER); INSERT INTO fault VALUES ({row});
             CREATE TABLE fault_ten (n INTEGER); INSERT INTO fault_ten VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11),(12),(13),(14),(15),(16),(17),(18),(19),(20),(21),(22),(23),(24),(25),(26),(27),(28),(29),(30),(31),(32);"
        );
        for table in &self.tables {
            for operation in ["INSERT", "UPDATE", "DELETE"] {
                script += &format!(
                    "CREATE TRIGGER fault_{table}_{operation} AFTER {operation} ON {table} BEGIN
                       UPDATE fault SET rows_left = rows_left - 1;
                       SELECT CASE WHEN (SELECT rows_left FROM fault) = 0 THEN {effect} END;
                     END;"
                );
            }
        }
        connection.execute_batch(&format!("{script} COMMIT;")).unwrap();
    }

    pub fn remove(&self) {
        let connection = self.connection();
        let mut script = String::from("BEGIN IMMEDIATE; DROP TABLE fault; DROP TABLE fault_ten;");
        for table in &self.tables {
            for operation in ["INSERT", "UPDATE", "DELETE"] {
                script += &format!("DROP TRIGGER fault_{table}_{operation};");
            }
        }
        connection.execute_batch(&format!("{script} COMMIT;")).unwrap();
    }

    /// Whether the database is locked at this moment.
    fn locked(&self) -> bool {
        let connection = Connection::open(&self.path).unwrap();
        connection.busy_timeout(Duration::ZERO).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK;").is_err()
    }

    /// Waits until the mint hangs at its row, or `done` says that it will not; whether `done` did.
    pub async fn hang_or(&self, done: impl AsyncFn() -> bool) -> bool {
        let mut since = Instant::now();
        while since.elapsed() < HANGING {
            // A question to a mint that hangs is not answered.
            if tokio::time::timeout(HANGING, done()).await == Ok(true) {
                return true;
            }
            if !self.locked() {
                since = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}
