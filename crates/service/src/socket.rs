//! Sockets that a process serves: TCP ports with a clear word when taken, and its local API.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use poolbox_api::Problem;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::Misconfigured;

/// `sun_path` holds 108 bytes with the closing zero.
const MAX_SOCKET_PATH: usize = 107;
/// Owner and group: on the box the dashboard's user is in the group.
const SOCKET_MODE: u32 = 0o660;

/// Listens on `address`; `setting` is the key that a person changes when it is taken.
///
/// # Errors
/// [`Misconfigured`] naming the port, the reason and the setting.
pub async fn bind_tcp(setting: &str, address: SocketAddr) -> Result<TcpListener, Misconfigured> {
    TcpListener::bind(address).await.map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::AddrInUse => "is in use by another program".to_owned(),
            std::io::ErrorKind::PermissionDenied => "may not be opened by this user".to_owned(),
            _ => format!("cannot be opened ({error})"),
        };
        Misconfigured::new(format!("{address} {reason}; stop that program or change {setting}"))
    })
}

/// An answer of a local API that is no success.
#[derive(Debug)]
pub struct Answer(StatusCode, Problem);

impl Answer {
    /// 400: the request is at fault.
    pub const fn bad_request(problem: Problem) -> Self {
        Self(StatusCode::BAD_REQUEST, problem)
    }

    /// 403: who asks may not.
    pub const fn forbidden(problem: Problem) -> Self {
        Self(StatusCode::FORBIDDEN, problem)
    }

    /// 404: nothing by that name.
    pub const fn not_found(problem: Problem) -> Self {
        Self(StatusCode::NOT_FOUND, problem)
    }

    /// 429: asked too often.
    pub const fn too_many(problem: Problem) -> Self {
        Self(StatusCode::TOO_MANY_REQUESTS, problem)
    }

    /// 503: the process cannot answer now.
    pub const fn unavailable(problem: Problem) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, problem)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// The JSON body of a request to a local API. One that does not fit is answered with 400 and the reason.
#[derive(Debug)]
pub struct Input<T>(pub T);

impl<S: Send + Sync, T> FromRequest<S> for Input<T>
where
    Json<T>: FromRequest<S, Rejection = JsonRejection>,
{
    type Rejection = Answer;

    async fn from_request(request: Request, state: &S) -> Result<Self, Answer> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(refused) => Err(Answer::bad_request(Problem::new(refused.body_text()))),
        }
    }
}

/// A bound unix socket, ready to serve a process's local API.
#[derive(Debug)]
pub struct LocalApi {
    path: PathBuf,
    listener: UnixListener,
}

impl LocalApi {
    /// Binds `path`. A socket file left by a process that died is replaced; one that answers is not.
    ///
    /// # Errors
    /// [`Misconfigured`] when the path is too long, taken by another kind of file, or answered by a
    /// running process.
    pub async fn bind(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(Misconfigured::new(format!(
                "api_socket {shown} is longer than {MAX_SOCKET_PATH} bytes; use a shorter directory"
            ))
            .into());
        }
        if let Ok(found) = std::fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(Misconfigured::new(format!(
                    "api_socket {shown} is a file; remove it or change api_socket"
                ))
                .into());
            }
            if UnixStream::connect(path).await.is_ok() {
                return Err(Misconfigured::new(format!(
                    "another process already serves {shown}; stop it or change api_socket"
                ))
                .into());
            }
            std::fs::remove_file(path).with_context(|| format!("remove the stale socket {shown}"))?;
        }
        let listener = UnixListener::bind(path).with_context(|| format!("open the local API at {shown}"))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))
            .with_context(|| format!("set the mode of {shown}"))?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Serves `router` until `stop`, then removes the socket.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { path, listener } = self;
        let router =
            router.fallback(|| async { Answer::not_found(Problem::new("no such path in the local API")) });
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        // The next start would replace it anyway.
        let _ = std::fs::remove_file(&path);
        served.with_context(|| format!("serve the local API at {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use poolbox_api::{Client, ClientError};

    use super::*;

    #[tokio::test]
    async fn a_live_socket_is_kept_and_a_stale_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.sock");
        let stop = CancellationToken::new();
        let api = LocalApi::bind(&path).await.unwrap();
        let router = Router::new()
            .route("/status", get(|| async { Json("well") }))
            .route("/bad", get(|| async { Answer::bad_request(Problem::new("no").remedy("try yes")) }));
        let server = tokio::spawn(api.serve(router, stop.clone()));

        let client = Client::new(&path).unwrap();
        assert_eq!(client.get::<String>("/status").await.unwrap(), "well");
        let refused = client.get::<String>("/bad").await.unwrap_err();
        assert!(matches!(&refused, ClientError::Refused(problem) if problem.remedy.is_some()), "{refused}");
        assert!(LocalApi::bind(&path).await.unwrap_err().downcast_ref::<Misconfigured>().is_some());

        stop.cancel();
        server.await.unwrap().unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(LocalApi::bind(&path).await.is_ok(), "a stale socket is replaced");
        let gone = Client::new(dir.path().join("none.sock")).unwrap().get::<String>("/").await.unwrap_err();
        assert!(gone.to_string().contains("No such file"), "{gone}");
    }

    #[tokio::test]
    async fn a_taken_port_names_the_setting() {
        let first = bind_tcp("listen", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind_tcp("listen", first.local_addr().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("listen"), "{error}");
    }
}
