//! An appliance without its system: the real pool and dashboard, folders as the box has them, and a stand-in for
//! systemd's path units `poolbox-apply` and `poolbox-backup`. The second has the real command make the backup.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{free, from_environment};

/// Pays the public key one, which is everybody's.
const EVERYBODYS: &str = "wpkh(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)";

/// The box on devnet, without a node: its pool waits for work all the while.
pub struct Appliance {
    dir: TempDir,
    services: Arc<Services>,
    port: u16,
}

/// What the stand-in for systemd looks after.
struct Services {
    root: PathBuf,
    running: Mutex<BTreeMap<&'static str, Child>>,
    /// Whether the stand-in takes up what is asked for.
    works: AtomicBool,
    over: AtomicBool,
}

impl Appliance {
    /// Starts it with nothing chosen.
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("pba").tempdir_in("/tmp").unwrap();
        let root = dir.path();
        let (port, shown) = (free(), root.display());
        for folder in ["image/devnet", "chosen", "force", "data", "requests", "answers", "made", "uploaded"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("descriptor"), EVERYBODYS).unwrap();
        let pool = format!(
            "network = 'devnet'\nmode = 'pool'\ndata_dir = '{shown}/pool'\napi_socket = '{shown}/pool.sock'\n\
             coinbase_descriptor_file = '{shown}/descriptor'\n[node]\nipc_socket = '{shown}/node.sock'\n\
             [stratum_v1]\nlisten = '127.0.0.1:{}'\n[stratum_v2]\nlisten = '127.0.0.1:{}'\n",
            free(),
            free(),
        );
        let mint = format!(
            "network = 'devnet'\ndata_dir = '{shown}/mint'\njournal = '{shown}/pool/journal.sqlite'\n\
             [node]\nrpc_port = 1\ncookie_file = '{shown}/cookie'\n"
        );
        let programs = from_environment("POOLBOX_BIN_DIR");
        let dashboard = format!(
            "data_dir = '{shown}/data'\nlisten = '127.0.0.1:{port}'\npool_socket = '{shown}/pool.sock'\n\
             [box]\nsettings_dir = '{shown}/chosen'\nin_force_dir = '{shown}/force'\nimage_dir = '{shown}/image'\n\
             network = 'devnet'\nnetworks = ['devnet']\nservices = ['pool', 'mint', 'dashboard']\n\
             pool_program = '{0}/poolbox-pool'\nmint_program = '{0}/poolbox-mint'\n\
             [box.backup]\nrequests_dir = '{shown}/requests'\nanswers_dir = '{shown}/answers'\n\
             made = '{shown}/made/box.age'\nuploaded = '{shown}/uploaded/box.age'\n",
            programs.display(),
        );
        for (file, text) in [("pool.toml", pool), ("mint.toml", mint), ("dashboard.toml", dashboard)] {
            std::fs::write(root.join("image/devnet").join(file), text).unwrap();
        }
        let services = Arc::new(Services {
            root: root.to_owned(),
            running: Mutex::default(),
            works: AtomicBool::new(true),
            over: AtomicBool::new(false),
        });
        services.put_into_place();
        services.make_a_seed();
        services.restart("pool");
        services.restart("dashboard");
        let unit = Arc::clone(&services);
        std::thread::spawn(move || unit.stand_in_for_the_path_unit());
        let deadline = Instant::now() + Duration::from_secs(120);
        let this = Self { dir, services, port };
        while reqwest::get(this.url("/")).await.is_err() {
            assert!(Instant::now() < deadline, "the dashboard does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        this
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn presence_code(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("data/presence.code")).unwrap()
    }

    /// What the pool was told last.
    pub fn pool_toml(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("force/pool.toml")).unwrap()
    }

    /// Whether anything is chosen instead of what the image says.
    pub fn has_choice(&self) -> bool {
        self.dir.path().join("chosen/devnet/pool.toml").exists()
    }

    /// Has the command line read a backup through.
    pub fn checks(&self, backup: &Path, passphrase: &str) -> bool {
        poolbox(self.dir.path(), &["backup", "--check"], backup, passphrase).status.success()
    }

    /// Restarts the dashboard, as a crash or an update would.
    pub fn restart_dashboard(&self) {
        self.services.restart("dashboard");
    }

    /// Whether the stand-in for the path unit works.
    pub fn takes_up(&self, works: bool) {
        self.services.works.store(works, Ordering::Relaxed);
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.services.over.store(true, Ordering::Relaxed);
        for child in self.services.running.lock().unwrap().values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Services {
    /// Stands in for `poolbox-apply.path` and its service: when `apply` is there, it is taken away, the files
    /// are put into place, and the services it names are restarted.
    fn stand_in_for_the_path_unit(&self) {
        let apply = self.root.join("chosen/apply");
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
            if !self.works.load(Ordering::Relaxed) {
                continue;
            }
            self.stand_in_for_poolbox_backup();
            let Ok(words) = std::fs::read_to_string(&apply) else { continue };
            std::fs::remove_file(&apply).unwrap();
            self.put_into_place();
            for service in ["pool", "dashboard"] {
                if words.split_whitespace().any(|word| word == service) {
                    self.restart(service);
                }
            }
        }
    }

    /// Stands in for `poolbox-backup.service`: takes the passphrase away, and has the backup made.
    fn stand_in_for_poolbox_backup(&self) {
        let request = self.root.join("requests/backup");
        let Ok(passphrase) = std::fs::read_to_string(&request) else { return };
        let tell = |word: &str, said: &[u8]| {
            let text = [format!("{word} 1\n").as_bytes(), said].concat();
            std::fs::write(self.root.join("answers/backup.new"), text).unwrap();
            std::fs::rename(self.root.join("answers/backup.new"), self.root.join("answers/backup")).unwrap();
        };
        tell("making", b"");
        std::fs::remove_file(&request).unwrap();
        let made = self.root.join("made/box.age");
        let output = poolbox(&self.root, &["backup", "--replace", "--json"], &made, passphrase.trim_end());
        match output.status.success() {
            true => tell("done", &output.stdout),
            false => tell("failed", &output.stderr),
        }
    }

    /// What the mint does at its first start.
    fn make_a_seed(&self) {
        let mut command = Command::new(from_environment("POOLBOX_BIN_DIR").join("poolbox-mint"));
        command.arg("--config").arg(self.root.join("force/mint.toml")).arg("init");
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    }

    /// Stands in for `poolbox-settings`.
    fn put_into_place(&self) {
        for file in ["pool.toml", "mint.toml", "dashboard.toml"] {
            let chosen = self.root.join("chosen/devnet").join(file);
            let image = self.root.join("image/devnet").join(file);
            let from: &Path = if file != "dashboard.toml" && chosen.exists() { &chosen } else { &image };
            std::fs::copy(from, self.root.join("force").join(file)).unwrap();
        }
    }

    fn restart(&self, service: &'static str) {
        let mut running = self.running.lock().unwrap();
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        if let Some(mut child) = running.remove(service) {
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            child.wait().unwrap();
        }
        let program = from_environment("POOLBOX_BIN_DIR").join(format!("poolbox-{service}"));
        let mut command = Command::new(program);
        command.arg("--config").arg(self.root.join(format!("force/{service}.toml")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        running.insert(service, command.spawn().unwrap());
    }
}

/// The command line on the box's files, with a passphrase on its standard input.
fn poolbox(root: &Path, arguments: &[&str], file: &Path, passphrase: &str) -> Output {
    let mut command = Command::new(from_environment("POOLBOX_BIN_DIR").join("poolbox"));
    command.arg("--state").arg(root).args(arguments).arg(file).args(["--passphrase-file", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{passphrase}").unwrap();
    child.wait_with_output().unwrap()
}
