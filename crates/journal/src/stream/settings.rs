//! How Redis is reached: `[redis]` in the settings of pool and mint. Secrets are in files, which are
//! read anew for each connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};
use serde::Deserialize;

use super::redis_error;
use crate::QueueError;

/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Where the Redis of a quote queue is, and who asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct RedisSettings {
    place: Place,
    address: String,
    ca_file: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Tcp { host: String, port: u16, tls: bool },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    address: String,
    #[serde(default)]
    tls: bool,
    ca_file: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default = "default_prefix")]
    prefix: String,
}

fn default_prefix() -> String {
    "poolbox".to_owned()
}

impl TryFrom<Raw> for RedisSettings {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let Raw { address, tls, ca_file, user, password_file, prefix } = raw;
        let place = if address.starts_with('/') {
            Place::Unix(address.clone().into())
        } else {
            let (host, port) = address
                .rsplit_once(':')
                .and_then(|(host, port)| Some((host, port.parse().ok()?)))
                .filter(|(host, _)| !host.is_empty() && !host.contains('/') && !host.contains('@'))
                .ok_or(
                    "address is host:port or the path of a socket, such as \"queue.lan:6379\"; whether it is TLS says \
                     tls, who asks say user and password_file",
                )?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Place::Tcp { host, port, tls }
        };
        if tls && matches!(place, Place::Unix(_)) {
            return Err(
                "tls = true is for an address host:port; remove it for a socket on this machine".into()
            );
        }
        if ca_file.is_some() && !tls {
            return Err("ca_file is of no use without tls = true".into());
        }
        if user.is_some() && password_file.is_none() {
            return Err("user needs password_file".into());
        }
        if prefix.is_empty()
            || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte))
        {
            return Err(format!("prefix = \"{prefix}\" may have letters, digits, - _ and : only"));
        }
        Ok(Self { place, address, ca_file, user, password_file, prefix })
    }
}

impl RedisSettings {
    /// Where it listens, as in the settings.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the names of all keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether passwords and work cross a network for everybody to read.
    pub fn in_the_clear(&self) -> bool {
        match &self.place {
            Place::Unix(_) => false,
            Place::Tcp { host, tls, .. } => {
                let here = host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
                !tls && !here && host != "localhost"
            }
        }
    }

    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, QueueError> {
        let client = self.client()?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_PATIENCE))
            .set_response_timeout(Some(ANSWER_PATIENCE));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        connection.map_err(|source| redis_error(&self.address, source))
    }

    fn client(&self) -> Result<Client, QueueError> {
        let mut login = RedisConnectionInfo::default();
        if let Some(user) = &self.user {
            login = login.set_username(user);
        }
        if let Some(path) = &self.password_file {
            login = login.set_password(read("password_file", path)?.trim_end_matches(['\r', '\n']));
        }
        let address = match &self.place {
            Place::Unix(path) => ConnectionAddr::Unix(path.clone()),
            Place::Tcp { host, port, tls: false } => ConnectionAddr::Tcp(host.clone(), *port),
            Place::Tcp { host, port, tls: true } => {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            }
        };
        let named = |source| redis_error(&self.address, source);
        let info = address.into_connection_info().map_err(named)?.set_redis_settings(login);
        let client = match &self.ca_file {
            None => Client::open(info),
            Some(path) => {
                let root_cert = Some(read("ca_file", path)?.into_bytes());
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
        };
        client.map_err(named)
    }
}

fn read(setting: &'static str, path: &PathBuf) -> Result<String, QueueError> {
    let text = std::fs::read_to_string(path);
    text.map_err(|source| QueueError::File { setting, path: path.clone(), source: Arc::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(address: &str) -> Raw {
        let prefix = default_prefix();
        Raw { address: address.into(), tls: false, ca_file: None, user: None, password_file: None, prefix }
    }

    #[test]
    fn an_address_is_a_host_with_a_port_or_a_socket() {
        for good in ["queue.lan:6379", "[::1]:6379", "10.0.0.2:1", "/run/redis/redis.sock"] {
            assert_eq!(RedisSettings::try_from(raw(good)).unwrap().address(), good);
        }
        for bad in
            ["", "queue.lan", ":6379", "queue.lan:x", "redis://queue.lan:6379", "me:secret@queue.lan:6379"]
        {
            let error = RedisSettings::try_from(raw(bad)).unwrap_err();
            assert!(error.contains("address") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_mistake_names_its_setting() {
        let tls_socket = Raw { tls: true, ..raw("/run/redis.sock") };
        let ca_alone = Raw { ca_file: Some("/ca".into()), ..raw("a:1") };
        let user_alone = Raw { user: Some("pool".into()), ..raw("a:1") };
        let prefix = Raw { prefix: "a b".into(), ..raw("a:1") };
        for (raw, word) in
            [(tls_socket, "tls"), (ca_alone, "ca_file"), (user_alone, "password_file"), (prefix, "prefix")]
        {
            assert!(RedisSettings::try_from(raw).unwrap_err().contains(word), "{word}");
        }
    }

    #[test]
    fn only_another_machine_without_tls_is_in_the_clear() {
        let clear = |raw| RedisSettings::try_from(raw).unwrap().in_the_clear();
        assert!(clear(raw("queue.lan:6379")));
        assert!(!clear(Raw { tls: true, ..raw("queue.lan:6379") }));
        assert!(
            !clear(raw("127.0.0.1:6379")) && !clear(raw("localhost:6379")) && !clear(raw("/run/redis.sock"))
        );
    }
}
