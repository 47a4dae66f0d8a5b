//! The pages over TLS, as a program and a browser get them: a real dashboard that nobody else answers, its own
//! certificate, and sessions that do not cross from one port to the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is the failure of a test")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use poolbox_testnode::free_port;
use reqwest_tls::header::{CONTENT_TYPE, COOKIE, ORIGIN, SET_COOKIE};
use reqwest_tls::redirect::Policy;
use reqwest_tls::{Certificate, Client, Response};

const PATIENCE: Duration = Duration::from_secs(60);
const FORM: &str = "application/x-www-form-urlencoded";

/// The dashboard as a process.
struct Dashboard {
    child: Child,
    open: String,
    encrypted: String,
}

impl Dashboard {
    async fn start(dir: &Path) -> Self {
        let (open, encrypted) = (free_port(), free_port());
        let shown = dir.display();
        let settings = format!(
            "data_dir = '{shown}/data'\npool_socket = '{shown}/no.sock'\nlisten = '127.0.0.1:{open}'\n\
             listen_tls = '127.0.0.1:{encrypted}'\n"
        );
        let file = dir.join("dashboard.toml");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_poolbox-dashboard"));
        command.arg("--config").arg(&file);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Self {
            child,
            open: format!("http://127.0.0.1:{open}"),
            encrypted: format!("https://localhost:{encrypted}"),
        };
        let deadline = Instant::now() + PATIENCE;
        while Client::new().get(&started.open).send().await.is_err() {
            assert!(Instant::now() < deadline, "the dashboard does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        started
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// A client that trusts this certificate and no authority.
fn trusting(pem: &[u8]) -> Client {
    let client = Client::builder().no_proxy().redirect(Policy::none()).tls_built_in_root_certs(false);
    client.add_root_certificate(Certificate::from_pem(pem).unwrap()).build().unwrap()
}

async fn post(client: &Client, base: &str, path: &str, cookie: &str, form: String) -> Response {
    let request = client.post(format!("{base}{path}")).header(ORIGIN, base).header(COOKIE, cookie);
    request.header(CONTENT_TYPE, FORM).body(form).send().await.unwrap()
}

async fn is_admin(client: &Client, base: &str, cookie: &str) -> bool {
    let asked = client.get(format!("{base}/api/v1/session")).header(COOKIE, cookie).send().await.unwrap();
    asked.text().await.unwrap().contains("\"admin\":true")
}

#[tokio::test]
async fn a_session_over_tls_is_the_certificates_and_serves_the_open_port_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dashboard = Dashboard::start(dir.path()).await;
    let (open, encrypted) = (dashboard.open.as_str(), dashboard.encrypted.as_str());
    let pem = std::fs::read(dir.path().join("data/https.pem")).unwrap();
    let client = trusting(&pem);

    // The open page names the other, and who does not trust the certificate gets nothing.
    let door = client.get(format!("{open}/setup")).send().await.unwrap().text().await.unwrap();
    assert!(door.contains(&encrypted.replace("localhost", "127.0.0.1")), "{door}");
    assert!(Client::new().get(encrypted).send().await.is_err());

    // A slow one, which never speaks, keeps nobody waiting.
    let port = encrypted.rsplit_once(':').unwrap().1.parse().unwrap();
    let _silent = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let code = std::fs::read_to_string(dir.path().join("data/presence.code")).unwrap();
    let form = format!("code={code}&password=a+long+secret&again=a+long+secret");
    let answer = post(&client, encrypted, "/setup", "", form).await;
    assert_eq!(answer.status(), 303);
    let header = answer.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    for attribute in ["__Host-poolbox=", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/;"] {
        assert!(header.contains(attribute), "{attribute} is not in {header}");
    }
    assert!(!header.contains("Domain"), "{header}");
    let safe = header.split(';').next().unwrap().to_owned();
    assert!(is_admin(&client, encrypted, &safe).await);

    // The open port: a session of its own, and neither is of use on the other, whatever it calls itself.
    let answer = post(&client, open, "/login", "", "password=a+long+secret".to_owned()).await;
    let header = answer.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(header.starts_with("poolbox=") && !header.contains("Secure"), "{header}");
    let plain = header.split(';').next().unwrap().to_owned();
    assert!(is_admin(&client, open, &plain).await);
    let (safe_value, plain_value) = (safe.split_once('=').unwrap().1, plain.split_once('=').unwrap().1);
    for name in ["poolbox", "__Host-poolbox"] {
        assert!(!is_admin(&client, open, &format!("{name}={safe_value}")).await, "{name}");
        assert!(!is_admin(&client, encrypted, &format!("{name}={plain_value}")).await, "{name}");
    }

    // A form of the open page is not taken by the encrypted one.
    let request = client.post(format!("{encrypted}/login")).header(ORIGIN, open).header(CONTENT_TYPE, FORM);
    assert_eq!(request.body("password=a+long+secret").send().await.unwrap().status(), 403);
    drop(dashboard);

    // The next start has the same certificate.
    let again = Dashboard::start(dir.path()).await;
    let page = client.get(format!("{}/login", again.encrypted)).send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), std::fs::read(dir.path().join("data/https.pem")).unwrap()),
        (200, pem)
    );
}
