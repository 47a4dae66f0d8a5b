//! An appliance without its system: the real pool, mint and dashboard, folders as the box has them, and a stand-in
//! for systemd's path units `poolbox-apply`, `poolbox-backup` and `poolbox-restore`. The last two have the real command
//! make and restore backups.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use poolbox_testnode::{TestNode, free_port};
use tempfile::TempDir;

use super::from_environment;

/// Pays the public key one, which is everybody's.
const EVERYBODYS: &str = "wpkh(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)";

/// The box on devnet.
pub struct Appliance {
    dir: TempDir,
    services: Arc<Services>,
    port: u16,
    node: Option<TestNode>,
}

/// A program beside the box, ended with its test.
pub struct Beside(Child);

impl Beside {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
    /// Starts it with nothing chosen, and without node and mint: its pool waits for work all the while.
    pub async fn start() -> Self {
        Self::on(None, &["pool", "dashboard"]).await
    }

    /// Starts all of it, with nothing chosen.
    pub async fn whole() -> Self {
        Self::on(Some(TestNode::devnet()), &["mint", "pool", "dashboard"]).await
    }

    async fn on(node: Option<TestNode>, started: &[&'static str]) -> Self {
        let dir = tempfile::Builder::new().prefix("pba").tempdir_in("/tmp").unwrap();
        let root = dir.path();
        let (port, shown) = (free_port(), root.display());
        for folder in ["image/devnet", "chosen", "force", "requests", "answers", "made", "uploaded"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("descriptor"), EVERYBODYS).unwrap();
        let (socket, rpc, cookie) = match &node {
            Some(node) => (node.socket(), node.rpc_url(), node.cookie_file()),
            None => (root.join("node.sock"), "http://127.0.0.1:1".to_owned(), root.join("cookie")),
        };
        let pool = format!(
            "network = 'devnet'\nmode = 'pool'\ndata_dir = '{shown}/pool'\napi_socket = '{shown}/pool.sock'\n\
             coinbase_descriptor_file = '{shown}/descriptor'\n[node]\nipc_socket = '{}'\n\
             [stratum_v1]\nlisten = '127.0.0.1:{}'\n[stratum_v2]\nlisten = '127.0.0.1:{}'\n",
            socket.display(),
            free_port(),
            free_port(),
        );
        let mint = format!(
            "network = 'devnet'\ndata_dir = '{shown}/mint'\njournal = '{shown}/pool/journal.sqlite'\n\
             listen = '127.0.0.1:{}'\n[node]\nrpc_port = {}\ncookie_file = '{}'\n",
            free_port(),
            rpc.rsplit(':').next().unwrap(),
            cookie.display(),
        );
        let programs = from_environment("POOLBOX_BIN_DIR");
        let dashboard = format!(
            "data_dir = '{shown}/dashboard'\nlisten = '127.0.0.1:{port}'\n\
             pool_socket = '{shown}/pool.sock'\nmint_socket = '{shown}/mint/mint.sock'\n\
             [box]\nsettings_dir = '{shown}/chosen'\nin_force_dir = '{shown}/force'\nimage_dir = '{shown}/image'\n\
             network = 'devnet'\nnetworks = ['devnet']\nupdates_from = 'https://example.org/'\nservices = ['pool', 'mint', 'dashboard']\n\
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
        for service in started {
            services.restart(service);
        }
        let unit = Arc::clone(&services);
        std::thread::spawn(move || unit.stand_in_for_the_path_unit());
        let deadline = Instant::now() + Duration::from_secs(120);
        let this = Self { dir, services, port, node };
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
        std::fs::read_to_string(self.dir.path().join("dashboard/presence.code")).unwrap()
    }

    /// What the pool was told last.
    pub fn pool_toml(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("force/pool.toml")).unwrap()
    }

    /// Another pool on the same chain, in mode solo, and its address.
    pub fn another_pool(&self) -> (Beside, String) {
        let (root, port, node) = (self.dir.path(), free_port(), self.node.as_ref().unwrap());
        // A node without any block gives no work.
        node.mine(1);
        let text = format!(
            "network = 'devnet'\nmode = 'solo'\ndata_dir = '{}'\n[node]\nipc_socket = '{}'\n\
             [stratum_v1]\nlisten = '127.0.0.1:{port}'\n[stratum_v2]\nlisten = '127.0.0.1:0'\n",
            root.join("another").display(),
            node.socket().display(),
        );
        std::fs::write(root.join("another.toml"), text).unwrap();
        let mut command = Command::new(from_environment("POOLBOX_BIN_DIR").join("poolbox-pool"));
        command.arg("--config").arg(root.join("another.toml"));
        (Beside::start(command), format!("stratum+tcp://127.0.0.1:{port}"))
    }

    /// A real miner at the box's pool.
    pub fn miner(&self, user: &str) -> Beside {
        let settings: toml::Table = self.pool_toml().parse().unwrap();
        let url = format!("stratum+tcp://{}", settings["stratum_v1"]["listen"].as_str().unwrap());
        let mut command = Command::new(from_environment("POOLBOX_BIN_DIR").join("poolbox-miner"));
        command.args(["--url", &url, "--user", user, "--threads", "1", "--max-hashrate", "700k"]);
        Beside::start(command)
    }

    /// Whether anything is chosen instead of what the image says.
    pub fn has_choice(&self) -> bool {
        self.dir.path().join("chosen/devnet/pool.toml").exists()
    }

    /// Has the command line make a backup.
    pub fn backs_up(&self, backup: &Path, passphrase: &str) {
        let made = poolbox(self.dir.path(), &["backup"], backup, passphrase);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// The words that the mint's keys come of.
    pub fn seed(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("mint/seed")).unwrap()
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
            self.stand_in_for_poolbox_restore();
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
        let tell = |word: &str, said: &[u8]| self.tell("backup", word, said);
        tell("making", b"");
        std::fs::remove_file(&request).unwrap();
        let made = self.root.join("made/box.age");
        let output = poolbox(&self.root, &["backup", "--replace", "--json"], &made, passphrase.trim_end());
        match output.status.success() {
            true => tell("done", &output.stdout),
            false => tell("failed", &output.stderr),
        }
    }

    /// Stands in for `poolbox-restore.service`: checks what was uploaded, stops the box, and has it replaced.
    fn stand_in_for_poolbox_restore(&self) {
        let request = self.root.join("requests/restore");
        let Ok(passphrase) = std::fs::read_to_string(&request) else { return };
        let tell = |word: &str, said: &[u8]| self.tell("restore", word, said);
        tell("checking", b"");
        std::fs::remove_file(&request).unwrap();
        let (uploaded, passphrase) = (self.root.join("uploaded/box.age"), passphrase.trim_end());
        let checked = poolbox(&self.root, &["restore", "--check"], &uploaded, passphrase);
        if !checked.status.success() {
            return tell("failed", &checked.stderr);
        }
        tell("restoring", b"");
        for service in ["dashboard", "pool", "mint"] {
            self.stop(service);
        }
        let password = std::fs::read(self.root.join("dashboard/password")).unwrap();
        let restored = poolbox(&self.root, &["restore", "--set-aside"], &uploaded, passphrase);
        std::fs::create_dir_all(self.root.join("dashboard")).unwrap();
        std::fs::write(self.root.join("dashboard/password"), password).unwrap();
        std::fs::remove_file(&uploaded).unwrap();
        match restored.status.success() {
            true => tell("done", &restored.stdout),
            false => tell("failed", &restored.stderr),
        }
        for service in ["mint", "pool", "dashboard"] {
            self.restart(service);
        }
    }

    fn tell(&self, errand: &str, word: &str, said: &[u8]) {
        let (answer, new) = (self.root.join("answers").join(errand), self.root.join("answers/new"));
        std::fs::write(&new, [format!("{word} 1\n").as_bytes(), said].concat()).unwrap();
        std::fs::rename(new, answer).unwrap();
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
        for word in ["node-size", "updates"] {
            let (chosen, force) = (self.root.join("chosen").join(word), self.root.join("force").join(word));
            if std::fs::copy(chosen, &force).is_err() {
                // Not chosen.
                let _ = std::fs::remove_file(force);
            }
        }
    }

    fn stop(&self, service: &str) {
        if let Some(mut child) = self.running.lock().unwrap().remove(service) {
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            child.wait().unwrap();
        }
    }

    fn restart(&self, service: &'static str) {
        self.stop(service);
        let mut running = self.running.lock().unwrap();
        if self.over.load(Ordering::Relaxed) {
            return;
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
