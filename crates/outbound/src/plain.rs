//! The client for URLs that the operator wrote.

use std::io;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A client for URLs that the operator wrote. It follows no redirects and sets no deadline.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The certificates that vouch for servers cannot be read, or there are none.
#[derive(Debug, thiserror::Error)]
#[error("could not read the system's certificates")]
pub struct NoCertificates(#[from] io::Error);

/// A client over TLS by the system's certificates, or plain HTTP where the URL says so.
pub fn http_client() -> Result<HttpClient, NoCertificates> {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}
