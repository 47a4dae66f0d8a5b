//! Mistakes of a person: each is answered with status 2 and a sentence that names what to change,
//! and changes nothing.
#![allow(clippy::unwrap_used, reason = "a failure here is the failure of a test")]

mod rig;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rig::{Ended, Rig, files, listen, port};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where the genesis block's reward went.
const MAINNET_ADDRESS: &str = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";
/// Of the secret key 1.
const PUBLIC_KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

impl Rig {
    fn demo_ends(&self, flags: &[&str]) -> Ended {
        self.demo(flags).ended_within(PATIENCE)
    }
}

#[test]
fn unknown_flags_and_values() {
    let rig = Rig::new();
    rig.demo_ends(&["--frseh"]).refused_at_length(&["--frseh", "--fresh"]);
    rig.demo_ends(&["settled"]).refused_at_length(&["settled"]);
    rig.demo_ends(&["--until", "done"]).refused_at_length(&["--until", "first-share", "settled"]);
    rig.demo_ends(&["--timeout", "0"]).refused_at_length(&["--timeout"]);
    rig.demo_ends(&["--bin-dir", "/etc"]).refused(&["poolbox-pool is not in /etc", "--bin-dir"]);
    rig.poolbox(&["lgos"]).refused_at_length(&["lgos", "logs"]);
    rig.run("poolbox-pool", &["--confg", "x"]).refused_at_length(&["--confg"]);
    rig.run("poolbox-mint", &["--confg", "x"]).refused_at_length(&["--confg"]);
    rig.run("poolbox-miner", &["--ulr", "x"]).refused_at_length(&["--ulr"]);
    assert!(!rig.state().exists());
}

#[test]
fn ports_that_cannot_be_had() {
    let taken = listen();
    let mut rig = Rig::new();
    let free = (rig.stratum_port, rig.mint_port);
    let number = port(&taken).to_string();
    (rig.stratum_port, rig.mint_port) = (port(&taken), free.1);
    rig.demo_ends(&[]).refused(&[&number, "in use", "--stratum-port"]);
    (rig.stratum_port, rig.mint_port) = (free.0, port(&taken));
    rig.demo_ends(&[]).refused(&[&number, "in use", "--mint-port"]);
    (rig.stratum_port, rig.mint_port) = (free.0, free.0);
    rig.demo_ends(&[]).refused(&["--stratum-port and --mint-port must differ"]);
    (rig.stratum_port, rig.mint_port) = (0, free.1);
    rig.demo_ends(&[]).refused_at_length(&["--stratum-port"]);
    assert!(!rig.state().exists());
}

#[test]
fn nodes_that_are_none() {
    let mut rig = Rig::new();
    let fake = rig.beside("fake-old-node");
    write_program(&fake, "#!/bin/sh\necho Bitcoin Core daemon version v29.1.0");
    let remedy = ["Bitcoin Core 31 or later", "--node", "BITCOIN_NODE"];
    let cases = [
        ("/bin/true", "/bin/true is no Bitcoin Core node"),
        ("/no/such/node", "/no/such/node cannot be started"),
        ("/etc", "/etc cannot be started"),
        (fake.to_str().unwrap(), "is Bitcoin Core 29"),
    ];
    for (node, reason) in cases {
        rig.node = node.into();
        let answer = rig.demo_ends(&[]);
        answer.refused(&remedy);
        answer.refused(&[reason]);
    }
    assert!(!rig.state().exists());
}

#[test]
fn directories_that_are_not_the_demos() {
    let rig = Rig::new();
    let state = rig.state();
    std::fs::write(&state, "a file").unwrap();
    rig.demo_ends(&["--fresh"]).refused(&["--state", "box"]);
    std::fs::remove_file(&state).unwrap();

    std::fs::create_dir(&state).unwrap();
    std::fs::create_dir(state.join("node")).unwrap();
    std::fs::write(state.join("node/diary.txt"), "dear diary").unwrap();
    unchanged(&state, || rig.demo_ends(&["--fresh"]).refused(&["--state", "not empty", "empty directory"]));

    std::fs::write(state.join("network"), "mainnet\n").unwrap();
    unchanged(&state, || rig.demo_ends(&["--fresh"]).refused(&["belongs to mainnet", "another directory"]));
}

#[test]
fn settings_of_the_pool() {
    let rig = Rig::new();
    assert_eq!(init(&rig, "").status, Some(0));
    let pool = rig.beside("pool");
    let descriptor = rig.beside("mint/coinbase.descriptor");
    let settings = |network: &str, stratum_port: u16| {
        format!(
            "network = '{network}'\ndata_dir = '{}'\ncoinbase_descriptor_file = '{}'\n\
             [node]\nipc_socket = '/no/node.sock'\n[stratum_v1]\nlisten = '127.0.0.1:{stratum_port}'\n\
             [stratum_v2]\nlisten = '127.0.0.1:{}'\n",
            pool.display(),
            descriptor.display(),
            rig.stratum_v2_port,
        )
    };
    let file = rig.beside("pool.toml");
    let runs = |text: &str| {
        std::fs::write(&file, text).unwrap();
        rig.run("poolbox-pool", &["--config", file.to_str().unwrap()])
    };
    let right = settings("devnet", rig.stratum_port);

    rig.run("poolbox-pool", &["--config", "/no/pool.toml"]).refused(&["/no/pool.toml", "--config"]);
    runs(&right.replacen("listen", "lisen", 1)).refused(&["pool.toml, line 7", "lisen", "listen"]);
    runs(&right.replace("devnet", "devnett")).refused(&["pool.toml, line 1", "devnett", "devnet"]);
    runs(&settings("mainnet", rig.stratum_port)).refused(&["coinbase_descriptor_file", "another network"]);
    let taken = listen();
    let port = port(&taken);
    runs(&settings("devnet", port)).refused(&[&port.to_string(), "in use", "stratum_v1.listen"]);
    assert!(!pool.exists());

    std::fs::create_dir(&pool).unwrap();
    std::fs::write(pool.join("network"), "signet\n").unwrap();
    unchanged(&pool, || runs(&right).refused(&["belongs to signet", "another directory"]));
}

#[test]
fn settings_of_the_mint() {
    let rig = Rig::new();
    let mint = rig.beside("mint");
    let file = rig.beside("mint.toml");
    let runs = |text: &str| {
        std::fs::write(&file, text).unwrap();
        rig.run("poolbox-mint", &["--config", file.to_str().unwrap()])
    };
    let right = mint_settings(&rig, rig.mint_port);

    rig.run("poolbox-mint", &["--config", "/no/mint.toml"]).refused(&["/no/mint.toml", "--config"]);
    init(&rig, "sead = 'x'\n").refused(&["mint.toml, line 1", "sead"]);
    runs(&right.replace("cookie_file", "cokie_file")).refused(&["mint.toml, line 7", "cokie_file"]);
    let taken = listen();
    let port = port(&taken);
    runs(&mint_settings(&rig, port)).refused(&[&port.to_string(), "in use", "listen"]);
    assert!(!mint.exists());

    assert_eq!(init(&rig, "").status, Some(0));
    unchanged(&mint, || runs(&right.replace("devnet", "signet")).refused(&["belongs to devnet", "network"]));
    let seed = mint.join("seed");
    std::fs::write(&seed, "twelve words they are not").unwrap();
    unchanged(&mint, || runs(&right).refused(&["seed", "backup"]));
}

#[test]
fn settings_that_are_only_checked() {
    let rig = Rig::new();
    let log = "log_file = '/no/folder/log'\n";
    let pool = format!(
        "network = 'devnet'\ndata_dir = '/no/pool'\nmode = 'solo'\n{log}[node]\nipc_socket = '/no'\n"
    );
    let mint = format!("{log}{}", mint_settings(&rig, rig.mint_port));
    let limits = "[payouts]\nonchain_threshold_sat = 10\n";
    for (program, right, wrong, words) in [
        (
            "poolbox-pool",
            &pool,
            pool.replace("solo", "pool"),
            ["coinbase_descriptor_file", "poolbox-mint init"],
        ),
        ("poolbox-mint", &mint, format!("{mint}{limits}"), ["payouts.onchain_threshold_sat = 10", "1000"]),
    ] {
        let file = rig.beside(program);
        let file = file.to_str().unwrap();
        std::fs::write(file, right).unwrap();
        let checked = rig.run(program, &["--config", file, "check"]);
        assert_eq!((checked.status, checked.stdout.as_str(), checked.stderr.as_str()), (Some(0), "OK\n", ""));
        std::fs::write(file, wrong).unwrap();
        rig.run(program, &["--config", file, "check"]).refused(&words);
    }
    assert!(!rig.beside("mint").exists());
}

#[test]
fn commands_with_nothing_running() {
    let rig = Rig::new();
    let status = rig.poolbox(&["status"]);
    assert_eq!(status.status, Some(0), "{status:?}");
    for process in ["pool", "mint"] {
        let socket = format!("no answer on {}", rig.state().join(process).display());
        assert!(status.stdout.contains(&socket) && status.stdout.contains("running"), "{status:?}");
    }
    assert!(rig.status()["pool"].is_null());
    let claim = rig.poolbox(&["claim", "garage"]);
    assert_eq!(claim.status, Some(1), "{claim:?}");
    assert!(claim.stderr.contains("is the service running"), "{claim:?}");
    rig.poolbox(&["logs"]).refused(&["no logs", "--state"]);
    rig.poolbox_reads(&["receive"], "not a token\n").refused(&["no Cashu token", "cashu"]);
    assert!(!rig.state().exists());
}

#[test]
fn questions_to_a_running_box() {
    let mut rig = Rig::new();
    let first = rig.demo(&[]);
    rig.until("pool and mint answer", PATIENCE, |now| !now["pool"].is_null() && !now["mint"].is_null());

    // The same command once more, and with ports of its own: which it is does not matter.
    let ports = (rig.stratum_port, rig.mint_port);
    rig.demo_ends(&["--fresh"]).refused(&["another demo runs in", "--state"]);
    (rig.stratum_port, rig.mint_port) = (port(&listen()), port(&listen()));
    rig.demo_ends(&["--fresh"]).refused(&["another demo runs in", "--state"]);
    (rig.stratum_port, rig.mint_port) = ports;

    rig.poolbox(&["claim", MAINNET_ADDRESS]).refused(&[MAINNET_ADDRESS, "another network", "devnet"]);
    rig.poolbox(&["claim", "a garage"]).refused(&["user name", "a garage"]);
    rig.poolbox(&["claim", PUBLIC_KEY]).refused(&["--key-file"]);
    rig.poolbox(&["claim", PUBLIC_KEY, "--key-file", "/no/key"]).refused(&["--key-file /no/key"]);
    rig.poolbox(&["logs", "--service", "pol"]).refused(&["no logs of pol"]);
    // A wallet is a folder; the key of the demo's payee is a file.
    let mut wallets = std::fs::read_dir(rig.state().join("wallets")).unwrap();
    assert!(wallets.all(|entry| entry.unwrap().path().is_file()), "a refused claim made a wallet");
    assert_eq!(first.stopped().status, Some(0));
}

/// `poolbox-mint init` with `extra` lines before the right settings.
fn init(rig: &Rig, extra: &str) -> Ended {
    let file = rig.beside("mint.toml");
    std::fs::write(&file, extra.to_owned() + &mint_settings(rig, rig.mint_port)).unwrap();
    rig.run("poolbox-mint", &["init", "--config", file.to_str().unwrap()])
}

fn mint_settings(rig: &Rig, listen: u16) -> String {
    let (mint, journal) = (rig.beside("mint"), rig.beside("pool/journal.sqlite"));
    format!(
        "network = 'devnet'\ndata_dir = '{}'\njournal = '{}'\nlisten = '127.0.0.1:{listen}'\n\
         [node]\nrpc_port = 1\ncookie_file = '/no/.cookie'\n",
        mint.display(),
        journal.display(),
    )
}

fn unchanged(folder: &Path, mistake: impl FnOnce()) {
    let before = files(folder);
    mistake();
    assert!(files(folder) == before, "{} was changed", folder.display());
}

/// Written by another process: a file that this one has open for writing cannot be run, and a test
/// beside this one may just be starting a program that inherits it.
fn write_program(file: &Path, script: &str) {
    let write = ["-c", "echo \"$1\" > \"$0\" && chmod +x \"$0\""];
    assert!(Command::new("sh").args(write).arg(file).arg(script).status().unwrap().success());
}
