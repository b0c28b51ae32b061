//! Which station to believe: one whose certificate a given CA made, or one whose own CA has a
//! given fingerprint. The station shows its CA in the handshake, so a fingerprint is enough.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use sha2::{Digest, Sha256};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// PEM text of the CA, such as the station's `ca.pem`. The name in the URL is checked too.
    Ca(String),
    /// SHA-256 of the station's CA certificate. The name is not checked: that CA signs nothing
    /// but its station.
    Fingerprint([u8; 32]),
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is not a fingerprint; it has the form SHA256: and 64 hexadecimal digits")]
pub struct BadTrust(String);

/// Reads a fingerprint as [`Trust`] shows it; colons between the digits are accepted.
impl FromStr for Trust {
    type Err = BadTrust;

    fn from_str(text: &str) -> Result<Self, BadTrust> {
        let bad = || BadTrust(text.to_owned());
        let digits = text.strip_prefix("SHA256:").ok_or_else(bad)?;
        let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b':').collect();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad());
        }
        let mut fingerprint = [0; 32];
        for (byte, pair) in fingerprint.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self::Fingerprint(fingerprint))
    }
}

impl Trust {
    /// The fingerprint of the first certificate in a PEM text.
    pub fn fingerprint_of(pem: &str) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        Some(Self::Fingerprint(Sha256::digest(&certificate).into()))
    }

    pub(crate) fn tls_config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?;
        Ok(match self {
            Self::Ca(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
            Self::Fingerprint(fingerprint) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned {
                    fingerprint: *fingerprint,
                    provider,
                }))
                .with_no_client_auth(),
        })
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ca(_) => f.write_str("a CA certificate"),
            Self::Fingerprint(bytes) => {
                f.write_str("SHA256:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

fn roots(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("the CA is not PEM: {error:?}"))?;
        roots.add(certificate).map_err(|error| format!("the CA is not usable: {error}"))?;
    }
    if roots.is_empty() {
        return Err("the CA file holds no certificate".to_owned());
    }
    Ok(roots)
}

/// Believes a chain that the pinned CA, itself shown in the chain, has signed.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let matches = |certificate: &&CertificateDer<'_>| {
            Sha256::digest(certificate.as_ref())[..] == self.fingerprint[..]
        };
        let unknown = || TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        let pinned = intermediates.iter().find(matches).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|_| unknown())?;
        let verified =
            verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        match verified {
            // WebPki checks the name last: everything else was found good.
            Err(_) if is_only_the_name(end_entity, name, &verified) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_only_the_name(
    end_entity: &CertificateDer<'_>,
    name: &ServerName<'_>,
    verified: &Result<ServerCertVerified, TlsError>,
) -> bool {
    let Err(TlsError::InvalidCertificate(error)) = verified else {
        return false;
    };
    let about_name = matches!(
        error,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    );
    about_name
        && ParsedCertificate::try_from(end_entity)
            .is_ok_and(|certificate| verify_server_name(&certificate, name).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_as_it_is_shown() {
        let trust = Trust::Fingerprint(std::array::from_fn(|i| u8::try_from(i * 7).unwrap_or(9)));
        assert_eq!(trust.to_string().parse(), Ok(trust));
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        for text in ["", "SHA256:", "SHA256:00", &format!("SHA256:{}", "zz".repeat(32))] {
            assert!(text.parse::<Trust>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_ca_without_a_certificate_is_refused() {
        assert!(Trust::Ca("nothing".into()).tls_config().is_err());
    }
}
