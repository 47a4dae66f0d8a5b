//! Client of a process's local API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Problem;

/// How long an answer may take. The servers mostly read their own state.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long what moves money may take: many steps, and others at it.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(600);

/// A client of the API behind one unix socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    http: reqwest::Client,
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers on the socket.
    #[error("no answer on {}: {reason}; is the service running, and may you read its data directory?", socket.display())]
    Unreachable {
        /// Of the service.
        socket: PathBuf,
        /// What the system or the connection said.
        reason: String,
    },
    /// The service refused.
    #[error("{0}")]
    Refused(Problem),
    /// The answer is not of the expected form: client and service differ in version.
    #[error("the answer on {} cannot be read ({reason}); do both programs have the same version?", socket.display())]
    Malformed {
        /// Of the service.
        socket: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

impl Client {
    /// A client for the API on `socket`. Connects at the first call.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the HTTP client cannot be set up.
    pub fn new(socket: impl AsRef<Path>) -> Result<Self, ClientError> {
        let socket = socket.as_ref().to_owned();
        let http = reqwest::Client::builder().unix_socket(socket.as_path()).timeout(TIMEOUT).build();
        match http {
            Ok(http) => Ok(Self { socket, http }),
            Err(error) => Err(ClientError::Unreachable { socket, reason: reason(&error) }),
        }
    }

    /// `GET path`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.http.get(url(path))).await
    }

    /// `GET path` whose answer is text.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let body = self.body(self.http.get(url(path))).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.send(self.http.post(url(path)).json(body)).await
    }

    /// `POST path` with a JSON body, for what may take minutes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post_patiently<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.send(self.http.post(url(path)).timeout(PATIENT_TIMEOUT).json(body)).await
    }

    /// `PUT path` with a JSON body.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn put<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.send(self.http.put(url(path)).json(body)).await
    }

    /// `DELETE path`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.http.delete(url(path))).await
    }

    async fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, ClientError> {
        let body = self.body(request).await?;
        serde_json::from_slice(&body).map_err(|error| self.malformed(error.to_string()))
    }

    /// The body of an answer that is no refusal.
    async fn body(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, ClientError> {
        let unreachable =
            |error| ClientError::Unreachable { socket: self.socket.clone(), reason: reason(&error) };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        let problem =
            serde_json::from_slice(&body).map_err(|_| self.malformed(format!("status {status}")))?;
        Err(ClientError::Refused(problem))
    }

    fn malformed(&self, reason: String) -> ClientError {
        ClientError::Malformed { socket: self.socket.clone(), reason }
    }
}

/// The host is never looked up: the connection goes to the socket.
fn url(path: &str) -> String {
    format!("http://localhost{path}")
}

/// The innermost cause says what the system said ("No such file or directory").
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
