//! The one way in which the mint asks strangers over the web: HTTPS, public addresses alone, no
//! redirects, little time and little data.

use std::net::SocketAddr;
use std::time::Duration;

use poolbox_accounting::Sats;
use reqwest_tls::redirect::Policy;
use reqwest_tls::{Client, Url};

use super::reach::is_public;

/// How long a host's name may take to be found.
const LOOKUP: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take altogether.
const ANSWER: Duration = Duration::from_secs(15);
/// Largest answer. Metadata may hold a small picture.
const MAX_ANSWER: usize = 256 * 1024;
/// Longest URL that is asked.
const MAX_URL: usize = 2_048;

/// Why nothing came of asking.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A URL that is not asked.
    #[error("the URL \"{url}\" is not asked: {reason}")]
    Url {
        /// Its beginning.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// The name leads nowhere.
    #[error("the host {host} is not found ({reason}); check the address, or try later")]
    NotFound {
        /// The host.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// The name leads into a network that strangers have no business in.
    #[error("the host {0} is at a private or local address, and such are never asked")]
    NotPublic(String),
    /// No answer, or not a whole one.
    #[error("the host {host} does not answer ({reason})")]
    NoAnswer {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// An answer that cannot be one.
    #[error("the host {0} sends more than {MAX_ANSWER} bytes")]
    TooLarge(String),
}

/// Asks.
#[derive(Clone, Debug)]
pub struct Web {
    stand_in: Option<SocketAddr>,
}

impl Web {
    /// `stand_in` is asked in place of every host, in plain HTTP: for tests.
    pub const fn new(stand_in: Option<SocketAddr>) -> Self {
        Self { stand_in }
    }

    /// Where the host of an address is asked first (LUD-16).
    ///
    /// # Errors
    /// [`WebError::Url`].
    pub fn first(&self, host: &str, name: &str) -> Result<Url, WebError> {
        self.parse(&format!("https://{host}/.well-known/lnurlp/{name}"))
    }

    /// The callback with the amount in it.
    ///
    /// # Errors
    /// [`WebError::Url`].
    pub fn callback(&self, callback: &str, amount: Sats) -> Result<Url, WebError> {
        let mut url = self.parse(callback)?;
        let msat = amount.get().saturating_mul(1_000);
        url.query_pairs_mut().append_pair("amount", &msat.to_string());
        Ok(url)
    }

    fn parse(&self, text: &str) -> Result<Url, WebError> {
        let refuse = |reason| WebError::Url { url: text.chars().take(120).collect(), reason };
        if text.len() > MAX_URL {
            return Err(refuse("it is too long"));
        }
        let url: Url = text.parse().map_err(|_| refuse("it is none"))?;
        if url.scheme() != "https" {
            return Err(refuse("only https is"));
        }
        if url.domain().is_none_or(|host| !host.contains('.')) {
            return Err(refuse("it names no host of the internet"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("it carries a login"));
        }
        Ok(url)
    }

    /// `GET`: the body, whatever the status.
    ///
    /// # Errors
    /// [`WebError`].
    pub async fn get(&self, url: &Url) -> Result<Vec<u8>, WebError> {
        let host = url.domain().unwrap_or_default().to_owned();
        let no_answer = |reason: String| WebError::NoAnswer { host: host.clone(), reason };
        // Nothing about the surroundings, such as a proxy set for other programs, changes who is asked.
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .user_agent("poolbox");
        let (client, url) = match self.stand_in {
            Some(address) => (client, at_stand_in(url, address)),
            None => {
                let addresses = lookup(&host, url.port_or_known_default().unwrap_or(443)).await?;
                // The name is not looked up a second time: its owner could give another address then.
                (client.https_only(true).resolve_to_addrs(&host, &addresses), url.clone())
            }
        };
        let client = client.build().map_err(|error| no_answer(cause(&error)))?;
        let answer = client.get(url).header("accept", "application/json").send().await;
        let mut answer = answer.map_err(|error| no_answer(cause(&error)))?;
        if answer.status().is_redirection() {
            return Err(no_answer("it redirects elsewhere, which is not followed".to_owned()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| no_answer(cause(&error)))? {
            body.extend_from_slice(&part);
            if body.len() > MAX_ANSWER {
                return Err(WebError::TooLarge(host));
            }
        }
        Ok(body)
    }
}

/// The addresses of a host; every one of them has to be public.
async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, WebError> {
    let not_found = |reason: String| WebError::NotFound { host: host.to_owned(), reason };
    let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| not_found("no answer".to_owned()))?;
    let addresses: Vec<SocketAddr> = found.map_err(|error| not_found(error.to_string()))?.collect();
    if addresses.is_empty() {
        return Err(not_found("it has no address".to_owned()));
    }
    if !addresses.iter().all(|address| is_public(address.ip())) {
        return Err(WebError::NotPublic(host.to_owned()));
    }
    Ok(addresses)
}

/// The same path at the stand-in.
fn at_stand_in(url: &Url, address: SocketAddr) -> Url {
    let mut asked = url.clone();
    // Neither fails for an address and a URL of the web.
    let _ = asked.set_scheme("http");
    let _ = asked.set_ip_host(address.ip());
    let _ = asked.set_port(Some(address.port()));
    asked
}

/// The innermost cause: without the URL, in the system's words.
fn cause(error: &reqwest_tls::Error) -> String {
    if error.is_timeout() {
        return "it takes too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_https_urls_of_named_hosts_are_asked() {
        let web = Web::new(None);
        let with_amount = web.callback("https://example.com/cb?user=bob", Sats::new(21)).unwrap();
        assert_eq!(with_amount.as_str(), "https://example.com/cb?user=bob&amount=21000");
        let refused = [
            "http://example.com/cb",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://localhost/",
            "https://user:pass@example.com/",
            "example.com/cb",
            "",
        ];
        for url in refused {
            assert!(matches!(web.callback(url, Sats::new(1)), Err(WebError::Url { .. })), "{url}");
        }
        assert!(web.callback(&format!("https://example.com/{}", "x".repeat(3_000)), Sats::new(1)).is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_into_the_box_is_not_asked() {
        // What every resolver answers without asking anybody.
        let error = lookup("localhost", 443).await.unwrap_err();
        assert!(matches!(error, WebError::NotPublic(_)), "{error}");
    }

    /// A server that answers everything with these bytes, and how often it was asked.
    async fn server(answer: Vec<u8>) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.read(&mut [0; 4_096]).await;
                let _ = socket.write_all(&answer).await;
            }
        });
        Web::new(Some(address))
    }

    #[tokio::test]
    async fn redirects_and_floods_are_refused() {
        let there =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n".to_vec();
        let web = server(there).await;
        let url = web.first("example.com", "bob").unwrap();
        let error = web.get(&url).await.unwrap_err();
        assert!(error.to_string().contains("redirects"), "{error}");

        let mut flood = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        flood.resize(MAX_ANSWER + 100, b'x');
        let web = server(flood).await;
        assert!(matches!(web.get(&url).await, Err(WebError::TooLarge(_))));
    }

    #[tokio::test]
    async fn an_answer_is_read_whatever_its_status() {
        let web = server(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}".to_vec()).await;
        let url = web.first("example.com", "bob").unwrap();
        assert_eq!(web.get(&url).await.unwrap(), b"{}");
    }
}
