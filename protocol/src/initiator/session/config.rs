//! What a session needs to know.

use std::time::Duration;

use crate::ids::Lun;
use crate::login::initiator as login;

/// Who connects to what, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who logs in where, and with what. Its challenge is made anew at each login, and its TSIH
    /// must be 0: then a login ends what was left of the one before.
    pub login: login::Config,
    /// `address:port` of each portal of the target; at least one.
    pub portals: Vec<String>,
    /// Requests taken before the first of them is over; less than
    /// [`SLOTS_MAX`](crate::initiator::SLOTS_MAX).
    pub requests_max: u16,
    /// The logical unit that must be the same after every login. It is asked before anything is
    /// repeated; `None` asks nothing.
    pub identify: Option<Lun>,
    /// How long things may take.
    pub timing: Timing,
    /// Makes the jitter of the back-off; differs from host to host.
    pub seed: u64,
}

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until a login is done.
    pub login: Duration,
    /// Silence after which the target is pinged.
    pub keepalive_interval: Duration,
    /// Silence after the ping that means the connection is dead.
    pub keepalive_timeout: Duration,
    /// Until a request to abort is answered; after that the session is made anew.
    pub abort: Duration,
    /// Until a logout is answered.
    pub logout: Duration,
    /// The first delay between two attempts; each next one doubles.
    pub back_off_first: Duration,
    /// The longest delay between two attempts.
    pub back_off_max: Duration,
    /// How long the first login is tried against a target that answers, but has no time.
    pub first_login: Duration,
    /// How long a lost session is tried to be made anew.
    pub replacement: Duration,
    /// The first delay after BUSY or TASK SET FULL; each next one doubles.
    pub busy_first: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            login: Duration::from_secs(15),
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(5),
            abort: Duration::from_secs(2),
            logout: Duration::from_secs(2),
            back_off_first: Duration::from_millis(100),
            back_off_max: Duration::from_secs(2),
            first_login: Duration::from_secs(15),
            replacement: Duration::from_secs(120),
            busy_first: Duration::from_millis(10),
        }
    }
}
