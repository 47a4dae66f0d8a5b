//! How the box's own wallets reach the mint they live in: by a call of its routes, with the rules of
//! the public API and without a socket. So they work whatever address the mint listens on.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request};
use cdk::http_client::{HttpError, RawResponse};
use cdk::nuts::AuthToken;
use cdk::wallet::{BaseHttpClient, HttpTransport};
use poolbox_wallet::Connector;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;
use url::Url;

/// Name of the mint in its own wallets. Nobody else sees it, and it stays when the public one changes:
/// a wallet knows its ecash by it.
pub const URL: &str = "http://mint.invalid/ehash";
/// Largest answer: every keyset of ten thousand epochs.
const MAX_ANSWER: usize = 256 << 20;

/// The mint's routes as a transport of cdk's HTTP client.
#[derive(Clone)]
struct Inside(Router);

/// A way for wallets to the mint with these routes.
///
/// # Errors
/// Never: the name of the mint is a URL.
pub fn connector(routes: Router) -> anyhow::Result<Connector> {
    Ok(Arc::new(BaseHttpClient::with_transport(URL.parse()?, Inside(routes), None)))
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inside(…)")
    }
}

impl Inside {
    async fn send(&self, method: Method, url: &Url, body: Body) -> Result<RawResponse, HttpError> {
        let request =
            Request::builder().method(method).uri(url.path()).header(CONTENT_TYPE, "application/json");
        let request = request.body(body).map_err(|error| HttpError::Build(error.to_string()))?;
        let answer = match self.0.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), MAX_ANSWER).await;
        Ok(RawResponse::new(status, body.map_err(|error| HttpError::Other(error.to_string()))?.to_vec()))
    }
}

#[async_trait]
impl HttpTransport for Inside {
    fn with_proxy(&mut self, _: Url, _: Option<&str>, _: bool) -> Result<(), HttpError> {
        Err(HttpError::Proxy("the mint is in this process".to_owned()))
    }

    async fn http_get<R: DeserializeOwned>(&self, url: Url, auth: Option<AuthToken>) -> Result<R, HttpError> {
        self.http_get_raw(url, auth).await?.json_or_status_error()
    }

    async fn http_get_raw(&self, url: Url, _: Option<AuthToken>) -> Result<RawResponse, HttpError> {
        self.send(Method::GET, &url, Body::empty()).await
    }

    async fn http_post<P: Serialize + Send + Sync, R: DeserializeOwned>(
        &self,
        url: Url,
        _: Option<AuthToken>,
        payload: &P,
    ) -> Result<R, HttpError> {
        let body = serde_json::to_vec(payload)?;
        self.send(Method::POST, &url, Body::from(body)).await?.json_or_status_error()
    }

    async fn http_post_form_raw<P: Serialize + Send + Sync>(
        &self,
        _: Url,
        _: Option<AuthToken>,
        _: &P,
    ) -> Result<RawResponse, HttpError> {
        Err(HttpError::Other("the mint takes no forms".to_owned()))
    }
}
