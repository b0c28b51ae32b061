//! The station's own CA, made at its first start, and the certificate it shows. Clients trust
//! `ca.pem` or its fingerprint; the certificate itself is made anew at each start, for the names
//! in the configuration.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::state_dir::StateDir;

pub(crate) const CA_FILE: &str = "ca.pem";
pub(crate) const KEY_FILE: &str = "ca.key";
const COMMON_NAME: &str = "Outband station CA";

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot keep the station's CA in the state directory")]
    State(#[from] io::Error),
    #[error(
        "cannot make a certificate; ca.pem and ca.key in the state directory must be as the station made them"
    )]
    Certificate(#[from] rcgen::Error),
    #[error("ca.pem in the state directory is not a certificate")]
    Unreadable,
    #[error("cannot use the certificate")]
    Tls(#[from] rustls::Error),
}

#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) ca_pem: String,
    pub(crate) server: Arc<ServerConfig>,
}

pub(crate) fn identity(
    state: &StateDir,
    listen: SocketAddr,
    names: &[String],
) -> Result<Identity, TlsError> {
    let (ca_pem, key) = authority(state)?;
    let issuer = Issuer::new(ca_params(), key);
    let server_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(all_names(listen, names))?;
    params.distinguished_name = named("Outband station");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&server_key, &issuer)?;
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|_| TlsError::Unreadable)?;
    let private = PrivateKeyDer::Pkcs8(server_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // The CA goes along, so that a client that knows its fingerprint needs nothing else.
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone(), ca], private)?;
    Ok(Identity { ca_pem, server: Arc::new(server) })
}

/// As stored, or made and stored. The key is written first: a certificate without its key would
/// be trusted and useless.
fn authority(state: &StateDir) -> Result<(String, KeyPair), TlsError> {
    if let (Some(pem), Some(key)) = (state.read(CA_FILE)?, state.read(KEY_FILE)?) {
        return Ok((pem, KeyPair::from_pem(&key)?));
    }
    let key = KeyPair::generate()?;
    let pem = ca_params().self_signed(&key)?.pem();
    state.write(KEY_FILE, &key.serialize_pem(), 0o600)?;
    state.write(CA_FILE, &pem, 0o644)?;
    Ok((pem, key))
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(COMMON_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn all_names(listen: SocketAddr, names: &[String]) -> Vec<String> {
    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listen.ip().is_unspecified() {
        all.push(listen.ip().to_string());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    all.push(host.trim().to_owned());
    all.extend(names.iter().cloned());
    all.retain(|name| name.parse::<IpAddr>().is_ok() || is_dns_name(name));
    all.sort();
    all.dedup();
    all
}

fn is_dns_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !name.is_empty() && name.bytes().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_is_made_once_and_its_key_is_for_the_station_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(&directory.path().join("state")).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let first = identity(&state, listen, &[]).unwrap();
        let second = identity(&state, listen, &["station.example".into()]).unwrap();
        assert_eq!(first.ca_pem, second.ca_pem);
        let mode = std::fs::metadata(state.path(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
