//! `poolbox screen`: what a monitor on the box shows. Where to find it, the code that proves presence, and
//! whether it works. Reads, and changes nothing; keeps going whatever does not answer.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use poolbox_accounting::Network;
use poolbox_api::{mint, pool};

use crate::place::Place;
use crate::status::hashrate;

/// How often it is drawn anew.
const PAUSE: Duration = Duration::from_secs(5);
/// Clears the terminal and hides the cursor.
const CLEAR: &str = "\x1b[2J\x1b[H\x1b[?25l";
/// For documentation only (RFC 5737): nothing is ever sent there.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
/// Columns of the narrowest console.
const WIDTH: usize = 78;

/// What to show.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the box in its network, without `.local`.
    #[arg(long, default_value = "poolbox")]
    name: String,
    /// File with the code that proves that someone stands before the box.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// File with the certificate of the dashboard, whose fingerprint browsers show.
    #[arg(long, value_name = "FILE")]
    certificate_file: Option<PathBuf>,
    /// Draw once and end.
    #[arg(long)]
    once: bool,
}

/// What is known of the box at a moment.
#[derive(Debug, Default)]
struct Seen {
    address: Option<IpAddr>,
    code: Option<String>,
    /// Of the dashboard's certificate.
    fingerprint: Option<String>,
    pool: Option<pool::Status>,
    mint: Option<mint::Status>,
}

/// Runs the command.
pub async fn run(place: &Place, options: &Options) -> anyhow::Result<()> {
    loop {
        let text = draw(&options.name, &Seen::now(place, options).await);
        let mut screen = std::io::stdout().lock();
        if options.once {
            return Ok(screen.write_all(text.as_bytes())?);
        }
        screen.write_all(CLEAR.as_bytes())?;
        screen.write_all(text.as_bytes())?;
        screen.flush()?;
        drop(screen);
        tokio::time::sleep(PAUSE).await;
    }
}

impl Seen {
    async fn now(place: &Place, options: &Options) -> Self {
        let read = |file: &Option<PathBuf>| std::fs::read_to_string(file.as_ref()?).ok();
        let mut seen = Self {
            address: own_address(),
            code: read(&options.code_file).and_then(|code| shown(&code)),
            fingerprint: read(&options.certificate_file).and_then(|pem| poolbox_service::fingerprint(&pem)),
            ..Self::default()
        };
        if let Ok(client) = place.pool() {
            seen.pool = client.get(pool::STATUS).await.ok();
        }
        if let Ok(client) = place.mint() {
            seen.mint = client.get(mint::STATUS).await.ok();
        }
        seen
    }
}

/// The address of this machine in its network: the one it would send from. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

/// The code's first line, if it can be shown.
fn shown(code: &str) -> Option<String> {
    let line = code.lines().next()?.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (!line.is_empty() && line.len() <= 40 && line.chars().all(fits)).then(|| line.to_owned())
}

fn draw(name: &str, seen: &Seen) -> String {
    let mut lines = vec![String::new(), "P O O L B O X".to_owned(), "=".repeat(WIDTH - 4), String::new()];
    match seen.address {
        Some(address) => lines.extend([
            "Open this in a browser, on a phone or computer in the same network:".to_owned(),
            String::new(),
            format!("    http://{name}.local"),
            format!("    http://{address}"),
        ]),
        None => lines.extend([
            "No network yet.".to_owned(),
            String::new(),
            "    Plug a network cable in, from this box to your router.".to_owned(),
        ]),
    }
    if let (Some(_), Some(fingerprint)) = (seen.address, &seen.fingerprint) {
        lines.push(format!("    https://{name}.local, encrypted: the SHA-256 of its certificate is"));
        // In two halves, each as long as the other.
        let (first, second) = fingerprint.split_at(fingerprint.len().div_ceil(2));
        lines.extend([first, second].map(|half| format!("      {half}")));
    }
    if let Some(code) = &seen.code {
        lines.extend([
            String::new(),
            "It asks once for the code that proves that you stand before the box:".to_owned(),
            String::new(),
            format!("    {code}"),
        ]);
    }
    lines.extend([String::new(), "-".repeat(WIDTH - 4), String::new()]);
    lines.extend(pool_lines(seen.pool.as_ref(), name));
    lines.push(format!("mint      {}", mint_line(seen.mint.as_ref())));
    lines.iter().map(|line| format!("  {}\n", clipped(line)).replace("  \n", "\n")).collect()
}

fn pool_lines(status: Option<&pool::Status>, name: &str) -> Vec<String> {
    let Some(status) = status else { return vec!["pool      is starting, or does not answer".to_owned()] };
    let work = match (&status.halted, status.source.height) {
        (Some(_), _) => "MINING STOPPED: see the dashboard".to_owned(),
        (None, Some(height)) if status.source.connected => format!("working on block {height}"),
        _ => "waits for the node, which reads the chain (days, the first time)".to_owned(),
    };
    let network = match status.network {
        Network::Mainnet => String::new(),
        other => format!(" on {other}"),
    };
    vec![
        format!("pool      {work}{network}"),
        format!("miners    {} connected, {}", status.connections, hashrate(status.hashrate.ten_minutes)),
        format!("          point them at stratum+tcp://{name}.local:{}", port(&status.stratum_v1)),
    ]
}

fn mint_line(status: Option<&mint::Status>) -> &'static str {
    match status {
        None => "is starting, or does not answer",
        Some(status) if !status.chain.connected => "waits for the node",
        Some(_) => "works",
    }
}

fn port(url: &str) -> &str {
    url.rsplit(':').next().unwrap_or_default()
}

fn clipped(line: &str) -> &str {
    line.char_indices().nth(WIDTH - 2).map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(address: Option<[u8; 4]>, code: Option<&str>) -> Seen {
        Seen { address: address.map(IpAddr::from), code: code.and_then(shown), ..Seen::default() }
    }

    #[test]
    fn the_screen_tells_where_the_box_is_and_the_code() {
        let text = draw("attic", &seen(Some([192, 168, 1, 20]), Some("0042-1234\n")));
        for part in ["http://attic.local", "http://192.168.1.20", "0042-1234", "does not answer"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn the_fingerprint_is_whole_and_fits_a_console() {
        let fingerprint = vec!["AB"; 32].join(":");
        let seen =
            Seen { fingerprint: Some(fingerprint), ..seen(Some([192, 168, 1, 20]), Some("0042-1234")) };
        let text = draw("poolbox", &seen);
        assert!(
            text.contains("https://poolbox.local")
                && text.contains("certificate is\n")
                && text.matches("AB").count() == 32,
            "{text}"
        );
        assert!(text.lines().count() < 25 && text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn without_a_network_it_says_what_to_do() {
        let text = draw("poolbox", &seen(None, None));
        assert!(text.contains("network cable") && !text.contains("http://"), "{text}");
    }

    #[test]
    fn a_code_that_could_speak_to_the_terminal_is_not_shown() {
        assert_eq!(shown("\x1b[2Jboo"), None);
        assert_eq!(shown(""), None);
        assert_eq!(shown("1234-5678\nmore"), Some("1234-5678".into()));
    }

    #[test]
    fn a_long_line_is_clipped_at_a_character() {
        assert_eq!(clipped(&"é".repeat(200)).chars().count(), WIDTH - 2);
    }
}
