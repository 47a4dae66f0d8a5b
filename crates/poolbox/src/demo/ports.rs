//! Ports of loopback that the demo is reached at.

use std::net::{Ipv4Addr, TcpListener};

use poolbox_service::{Misconfigured, free_port};

use super::Options;

/// Where browsers see the box unless said otherwise, and where they see it encrypted.
pub const DASHBOARD: u16 = 3380;
const DASHBOARD_TLS: u16 = 3443;

/// Where the demo's processes listen.
#[derive(Clone, Copy)]
pub struct Ports {
    /// Where Sv1 miners connect.
    pub stratum_v1: u16,
    /// Where Sv2 miners connect.
    pub stratum_v2: u16,
    /// Where wallets connect.
    pub mint: u16,
    /// Where browsers see the box.
    pub dashboard: u16,
    /// Where they see it encrypted.
    pub dashboard_tls: u16,
}

impl Ports {
    /// Those that a person chose.
    ///
    /// # Errors
    /// When one is taken or two are the same, with the flag that chooses another.
    pub fn check(options: &Options) -> anyhow::Result<Self> {
        let dashboard_tls = match options.dashboard_tls_port {
            Some(port) => port,
            None => usual_or_free(options.dashboard_port)?,
        };
        let ports = [
            ("--stratum-port", options.stratum_port),
            ("--stratum-v2-port", options.stratum_v2_port),
            ("--mint-port", options.mint_port),
            ("--dashboard-port", options.dashboard_port),
            ("--dashboard-tls-port", dashboard_tls),
        ];
        for (nth, (flag, port)) in ports.iter().enumerate() {
            can_listen(*port).map_err(|error| {
                let reason = match error.kind() {
                    std::io::ErrorKind::AddrInUse => "is in use by another program".to_owned(),
                    _ => format!("cannot be used ({error})"),
                };
                Misconfigured::new(format!(
                    "port {port} {reason}; stop that program or choose another with {flag}"
                ))
            })?;
            if let Some((other, _)) = ports.iter().take(nth).find(|(_, other)| other == port) {
                return Err(Misconfigured::new(format!("{other} and {flag} must differ")).into());
            }
        }
        Ok(Self {
            stratum_v1: options.stratum_port,
            stratum_v2: options.stratum_v2_port,
            mint: options.mint_port,
            dashboard: options.dashboard_port,
            dashboard_tls,
        })
    }
}

fn can_listen(port: u16) -> std::io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

/// The encrypted port of a dashboard on `beside`: nobody has asked for a certain one, so none that is taken.
fn usual_or_free(beside: u16) -> std::io::Result<u16> {
    if beside == DASHBOARD && can_listen(DASHBOARD_TLS).is_ok() { Ok(DASHBOARD_TLS) } else { free_port() }
}
