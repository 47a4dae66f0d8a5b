//! Asks a miner over HTTP. Addresses of the local network only, nothing followed, nothing long read.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::device::Device;

/// Small devices answer slowly, and never at length.
const TIMEOUT: Duration = Duration::from_secs(6);
const MAX_BYTES: usize = 64 << 10;

/// Where a miner is: an address of a private network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Its address.
    pub ip: Ipv4Addr,
    /// 80 unless said otherwise.
    pub port: u16,
}

impl Address {
    /// Checks that it is one of the local network; `loopback` allows this machine too, for tests.
    ///
    /// # Errors
    /// One sentence for people.
    pub fn parse(text: &str, loopback: bool) -> Result<Self, String> {
        let text = text.trim().trim_start_matches("http://").trim_end_matches('/');
        let (host, port) = match text.split_once(':') {
            None => (text, 80),
            Some((host, port)) => match port.parse::<u16>() {
                Ok(port @ 1..) => (host, port),
                _ => {
                    return Err(format!(
                        "“{text}” has no usable port. Type an address such as 192.168.1.50."
                    ));
                }
            },
        };
        let Ok(ip) = Ipv4Addr::from_str(host) else {
            return Err(format!("“{text}” is no address. Type one such as 192.168.1.50."));
        };
        if ip.is_private() || (loopback && ip.is_loopback()) {
            return Ok(Self { ip, port });
        }
        Err(format!("{ip} is not in a private network. Only miners at home are touched."))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port == 80 { write!(f, "{}", self.ip) } else { write!(f, "{}:{}", self.ip, self.port) }
    }
}

/// Asks miners.
#[derive(Clone, Debug)]
pub struct AxeOs {
    http: reqwest::Client,
}

impl AxeOs {
    /// One client for all.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()
            .context("set up the client for miners")?;
        Ok(Self { http })
    }

    /// Reads a miner.
    ///
    /// # Errors
    /// When nobody answers, or no such miner.
    pub async fn read(&self, address: Address) -> anyhow::Result<Device> {
        self.read_within(address, TIMEOUT).await
    }

    /// The same with less patience.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_within(&self, address: Address, limit: Duration) -> anyhow::Result<Device> {
        let request = self.http.get(url(address, "info")).timeout(limit);
        let body = answer(request).await?;
        let info: Value = serde_json::from_slice(&body).context("what answers there is no AxeOS miner")?;
        Device::read(&info).context("what answers there is no AxeOS miner")
    }

    /// Writes settings.
    ///
    /// # Errors
    /// When the miner does not take them.
    pub async fn write(&self, address: Address, body: &Value) -> anyhow::Result<()> {
        let url = format!("http://{}:{}/api/system", address.ip, address.port);
        answer(self.http.patch(url).json(body)).await.map(drop)
    }

    /// Restarts it, as settings take effect then.
    ///
    /// # Errors
    /// When it refuses. A miner that restarts before it answers is fine.
    pub async fn restart(&self, address: Address) -> anyhow::Result<()> {
        match self.http.post(url(address, "restart")).send().await {
            Ok(answer) if answer.status().is_client_error() || answer.status().is_server_error() => {
                bail!("the miner does not restart (status {})", answer.status().as_u16())
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_connect() => bail!("the miner does not answer any more"),
            Err(_) => Ok(()),
        }
    }
}

fn url(address: Address, what: &str) -> String {
    format!("http://{}:{}/api/system/{what}", address.ip, address.port)
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Vec<u8>> {
    let mut answer = request.send().await.map_err(|error| {
        anyhow::anyhow!(if error.is_timeout() {
            "it does not answer in time"
        } else {
            "nobody answers there"
        })
    })?;
    if answer.status().is_redirection() {
        bail!("it sends us elsewhere, which is not followed");
    }
    if !answer.status().is_success() {
        bail!("it refuses (status {})", answer.status().as_u16());
    }
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|_| anyhow::anyhow!("its answer broke off"))? {
        body.extend_from_slice(&part);
        if body.len() > MAX_BYTES {
            bail!("its answer is too long for a miner's");
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_addresses_are_asked() {
        for fine in ["192.168.1.50", "10.0.0.9:8080", " http://172.16.3.4/ "] {
            assert!(Address::parse(fine, false).is_ok(), "{fine}");
        }
        let bad = [
            "8.8.8.8",
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "miner.example",
            "192.168.1.5@8.8.8.8",
            "",
            "192.168.1.5:0",
            "192.168.1.5/admin",
            "192.168.1.5:80:80",
            "172.32.0.1",
            "0300.0250.1.1",
        ];
        for bad in bad {
            assert!(Address::parse(bad, false).is_err(), "{bad}");
        }
        assert!(Address::parse("127.0.0.1:9000", true).is_ok());
    }
}
