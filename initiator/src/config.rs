//! Which volume to use, as whom, and how patiently.

use std::time::Duration;

use outband_protocol::ids::{Cid, IscsiName, Isid, Lun, Tsih};
use outband_protocol::initiator::{self as core, Timing};
use outband_protocol::keys::{DigestWish, Offer};
use outband_protocol::login::{Algorithm, Credentials, Secret, initiator as login};
use outband_protocol::serial::Sn;

use crate::Error;

/// Requests in flight on one session; more wait their turn.
const REQUESTS_MAX: u16 = 256;

const PORT: u16 = 3260;

/// Which volume to use, as whom, and how patiently.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) portals: Vec<String>,
    target: String,
    initiator: Option<String>,
    chap: Option<Credentials>,
    offer: Offer,
    pub(crate) lun: Lun,
    pub(crate) timing: Timing,
    pub(crate) command_timeout: Duration,
}

impl Config {
    /// For the target of this name, at a portal `host[:port]`.
    #[must_use]
    pub fn new(portal: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            portals: vec![with_port(portal.into())],
            target: target.into(),
            initiator: None,
            chap: None,
            offer: Offer::default(),
            lun: Lun::ZERO,
            timing: Timing::default(),
            command_timeout: Duration::from_secs(30),
        }
        .digests(DigestWish::Prefer)
    }

    /// `iscsi://host[:port]/target/lun`, as `outband-target serve` prints it.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::Config(format!("an iSCSI URL is iscsi://host[:port]/target/lun, not {url:?}"))
        };
        let rest = url.strip_prefix("iscsi://").ok_or_else(wrong)?;
        let (portal, rest) = rest.split_once('/').ok_or_else(wrong)?;
        let (target, lun) = rest.rsplit_once('/').ok_or_else(wrong)?;
        let lun: u8 = lun.parse().map_err(|_| wrong())?;
        if portal.is_empty() || portal.contains('@') || target.is_empty() {
            return Err(wrong());
        }
        Ok(Self::new(portal, target).lun(lun))
    }

    /// The name of this host, an iSCSI name; the volume's grant must name it.
    #[must_use]
    pub fn initiator(self, name: impl Into<String>) -> Self {
        Self { initiator: Some(name.into()), ..self }
    }

    /// One more portal of the target, tried when the others fail.
    #[must_use]
    pub fn portal(mut self, portal: impl Into<String>) -> Self {
        self.portals.push(with_port(portal.into()));
        self
    }

    /// How this host proves its name.
    #[must_use]
    pub fn chap(mut self, user: impl Into<String>, secret: impl Into<Vec<u8>>) -> Self {
        let ours = credentials(&mut self.chap);
        (ours.user, ours.secret) = (user.into(), Secret::new(secret.into()));
        self
    }

    /// How the target must prove itself; goes with [`chap`](Self::chap).
    #[must_use]
    pub fn mutual_chap(mut self, user: impl Into<String>, secret: impl Into<Vec<u8>>) -> Self {
        credentials(&mut self.chap).mutual = Some((user.into(), Secret::new(secret.into())));
        self
    }

    /// Which CHAP algorithms the target may choose from, the most wanted first; all, if nothing is
    /// said. For targets that number them in another way than the standard: tgt takes 7 for SHA-1.
    #[must_use]
    pub fn chap_algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        self.offer.chap_algorithms = algorithms.to_vec();
        self
    }

    /// CRC32C over headers and data. Taken where the target agrees, unless told otherwise.
    #[must_use]
    pub fn digests(mut self, wish: DigestWish) -> Self {
        (self.offer.header_digest, self.offer.data_digest) = (wish, wish);
        self
    }

    /// All that is proposed at login, key by key, for targets that do better with something else
    /// than the default. Digests and CHAP algorithms are a part of it.
    #[must_use]
    pub fn offer(self, offer: Offer) -> Self {
        Self { offer, ..self }
    }

    /// The logical unit; 0, if nothing is said.
    #[must_use]
    pub fn lun(self, number: u8) -> Self {
        Self { lun: Lun(u64::from(number) << 48), ..self }
    }

    /// How long one request may take, over all the connections it needs. 30 s, if nothing is said.
    #[must_use]
    pub fn command_timeout(self, timeout: Duration) -> Self {
        Self { command_timeout: timeout, ..self }
    }

    /// How long everything else may take.
    #[must_use]
    pub fn timing(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// What the session needs, with a name of its own.
    pub(crate) fn session(&self) -> Result<core::Config, Error> {
        let (isid, seed) = random_names()?;
        Ok(core::Config {
            login: login(
                self.initiator.as_deref(),
                Some(&self.target),
                self.chap.as_ref(),
                self.offer.clone(),
                isid,
            )?,
            portals: self.portals.clone(),
            requests_max: REQUESTS_MAX,
            identify: Some(self.lun),
            timing: self.timing,
            seed,
        })
    }
}

/// The login of a session; of a discovery session, if there is no target.
pub(crate) fn login(
    initiator: Option<&str>,
    target: Option<&str>,
    chap: Option<&Credentials>,
    offer: Offer,
    isid: Isid,
) -> Result<login::Config, Error> {
    let iscsi_name = |what: &str, text: &str| {
        IscsiName::new(text).map_err(|error| Error::Config(format!("{what} {text:?}: {error}")))
    };
    let initiator = initiator.ok_or_else(|| {
        Error::Config("the initiator name of this host is missing (iqn.…)".to_owned())
    })?;
    if let Some(credentials) = chap {
        credentials.check()?;
    }
    Ok(login::Config {
        name: iscsi_name("initiator name", initiator)?,
        alias: None,
        target: target.map(|target| iscsi_name("target name", target)).transpose()?,
        isid,
        tsih: Tsih(0),
        cid: Cid(0),
        offer,
        chap: chap.cloned(),
        challenge: (0, Vec::new()),
        cmd_sn: Sn(1),
    })
}

/// A session's own name of the random kind (§11.12.5), and a seed for its jitter.
pub(crate) fn random_names() -> Result<(Isid, u64), Error> {
    let mut bytes = [0; 13];
    fill_random(&mut bytes)?;
    let [a, b, c, d, e, seed @ ..] = bytes;
    Ok((Isid([0x80, a, b, c, d, e]), u64::from_be_bytes(seed)))
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes)
        .map_err(|error| Error::Config(format!("the system gives no random bytes: {error}")))
}

/// What is known so far of how both sides prove themselves; an empty secret is refused later.
pub(crate) fn credentials(chap: &mut Option<Credentials>) -> &mut Credentials {
    chap.get_or_insert_with(|| Credentials {
        user: String::new(),
        secret: Secret::new(Vec::new()),
        mutual: None,
    })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, with the port of iSCSI where none is given.
pub(crate) fn with_port(portal: String) -> String {
    let has_port = match portal.rfind(']') {
        Some(end) => portal[end..].contains(':'),
        None => portal.matches(':').count() == 1,
    };
    match (has_port, portal.starts_with('['), portal.contains(':')) {
        (true, ..) => portal,
        (false, false, true) => format!("[{portal}]:{PORT}"),
        _ => format!("{portal}:{PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_portal_target_and_lun() {
        let config = Config::from_url("iscsi://10.0.0.5/iqn.2026-11.local:a/b/3").unwrap();
        assert_eq!(config.portals, ["10.0.0.5:3260"]);
        assert_eq!(config.target, "iqn.2026-11.local:a/b");
        assert_eq!(config.lun, Lun(3 << 48));
        for url in
            ["10.0.0.5/t/0", "iscsi://h/t", "iscsi:///t/0", "iscsi://h/t/x", "iscsi://u@h/t/0"]
        {
            assert!(matches!(Config::from_url(url), Err(Error::Config(_))), "{url}");
        }
    }

    #[test]
    fn a_portal_without_a_port_gets_that_of_iscsi() {
        for (given, meant) in [
            ("h", "h:3260"),
            ("h:1", "h:1"),
            ("[::1]", "[::1]:3260"),
            ("[::1]:5", "[::1]:5"),
            ("fe80::1", "[fe80::1]:3260"),
        ] {
            assert_eq!(with_port(given.to_owned()), meant);
        }
    }

    #[test]
    fn what_cannot_work_is_told_before_anything_is_sent() {
        let config = || Config::new("h", "iqn.2026-11.local:t").initiator("iqn.2026-11.local:i");
        assert!(config().session().is_ok());
        let nameless = Config::new("h", "iqn.2026-11.local:t");
        assert!(matches!(nameless.session(), Err(Error::Config(_))));
        assert!(matches!(config().initiator("me").session(), Err(Error::Config(_))));
        let short = config().chap("user", "short");
        assert!(matches!(short.session(), Err(Error::Credentials(_))));
        let same = config().chap("user", "twelve bytes").mutual_chap("unit", "twelve bytes");
        assert!(matches!(same.session(), Err(Error::Credentials(_))));
        let half = config().mutual_chap("unit", "twelve bytes");
        assert!(matches!(half.session(), Err(Error::Credentials(_))));
    }
}
