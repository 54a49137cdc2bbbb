//! TLS for listeners (RFC 8446): the certificate and key of `tls.cert` and `tls.key`.
//!
//! It knows nothing of what is served.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Reads certificate and key, which must belong together.
pub(crate) fn acceptor(tls: &Tls) -> anyhow::Result<TlsAcceptor> {
    let chain = certificates(&tls.cert)?;
    let pem = keys::read_private(&tls.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .with_context(|| format!("`{}` does not hold a private key in PEM", tls.key.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("`tls.cert` and `tls.key` do not belong together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unreadable = || format!("could not read the certificate `{}`", path.display());
    let pem = std::fs::read(path).with_context(unreadable)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.with_context(unreadable)?;
    ensure!(!chain.is_empty(), "`{}` holds no certificate in PEM", path.display());
    Ok(chain)
}
