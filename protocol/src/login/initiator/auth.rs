//! The initiator's part of the security stage: proving itself, and having the target prove itself.

use crate::keys::reserved::NONE;
use crate::keys::{Hex, Pairs, TextQueue, binary};
use crate::limits::{BINARY_LEN_MAX, CHALLENGE_LEN_MIN};
use crate::login::LoginError;
use crate::login::chap::{self, Algorithm, Credentials, Secret};

const CHAP: &str = "CHAP";

/// Where authentication stands.
#[derive(Clone, Debug)]
enum State {
    /// AuthMethod was offered and is not answered.
    Method,
    /// CHAP_A was offered; the target's choice, and its question, are due.
    Question,
    /// We have answered and asked in turn: the target's proof is due.
    Proof(Algorithm),
    /// All that we demand of the target was given.
    Proved,
}

#[derive(Clone, Debug)]
pub(super) struct Auth {
    credentials: Option<Credentials>,
    algorithms: Vec<Algorithm>,
    /// For the target.
    id: u8,
    challenge: Vec<u8>,
    state: State,
}

impl Auth {
    pub(super) fn new(
        credentials: Option<Credentials>,
        algorithms: Vec<Algorithm>,
        (id, challenge): (u8, Vec<u8>),
    ) -> Self {
        let mutual = credentials.as_ref().is_some_and(|credentials| credentials.mutual.is_some());
        assert!(!mutual || challenge.len() >= CHALLENGE_LEN_MIN, "the challenge is too short");
        Self { credentials, algorithms, id, challenge, state: State::Method }
    }

    /// What we offer. Who wants the target to prove itself does not offer to go without.
    pub(super) fn offer(&self, text: &mut TextQueue) {
        let offered = match &self.credentials {
            None => NONE,
            Some(Credentials { mutual: None, .. }) => "CHAP,None",
            Some(_) => CHAP,
        };
        text.write("AuthMethod", offered);
    }

    /// Whether we have nothing more to say in the security stage.
    pub(super) fn is_ready(&self) -> bool {
        self.credentials.is_none() || matches!(self.state, State::Proof(_) | State::Proved)
    }

    /// Whether the stage may end.
    pub(super) fn is_proved(&self) -> bool {
        // A target that needs no authentication may leave AuthMethod=None without an answer.
        self.credentials.is_none() || matches!(self.state, State::Proved)
    }

    /// Takes the keys of one text of the security stage, and writes what is to be said next.
    pub(super) fn take(
        &mut self,
        pairs: &Pairs<'_>,
        text: &mut TextQueue,
    ) -> Result<(), LoginError> {
        let method = pairs.value("AuthMethod");
        self.state = match &self.state {
            State::Method => self.on_method(method, text)?,
            _ if method.is_some() => return Err(LoginError::NoAuthentication),
            State::Question => self.on_question(pairs, text)?,
            State::Proof(algorithm) => self.on_proof(*algorithm, pairs)?,
            State::Proved => State::Proved,
        };
        Ok(())
    }

    fn on_method(&self, method: Option<&str>, text: &mut TextQueue) -> Result<State, LoginError> {
        match (&self.credentials, method) {
            (None | Some(Credentials { mutual: None, .. }), Some(NONE)) => Ok(State::Proved),
            (None, None) => Ok(State::Method),
            (Some(_), Some(CHAP)) => {
                text.write("CHAP_A", Algorithm::offer(&self.algorithms));
                Ok(State::Question)
            }
            _ => Err(LoginError::NoAuthentication),
        }
    }

    fn on_question(&self, pairs: &Pairs<'_>, text: &mut TextQueue) -> Result<State, LoginError> {
        let value = |key| pairs.value(key).ok_or(LoginError::Chap(key));
        let algorithm = Algorithm::parse(value("CHAP_A")?);
        let offered = algorithm.filter(|algorithm| self.algorithms.contains(algorithm));
        let algorithm = offered.ok_or(LoginError::Chap("CHAP_A"))?;
        let id = chap::read_id(value("CHAP_I")?).ok_or(LoginError::Chap("CHAP_I"))?;
        let challenge =
            binary(value("CHAP_C")?, BINARY_LEN_MAX).ok_or(LoginError::Chap("CHAP_C"))?;
        let credentials = self.credentials.as_ref().ok_or(LoginError::NoAuthentication)?;
        let Credentials { user, secret, mutual } = credentials;
        if mutual.is_some() && (challenge == self.challenge || credentials.has_same_secrets()) {
            return Err(LoginError::Reflection);
        }
        text.write("CHAP_N", user);
        text.write("CHAP_R", Hex(&algorithm.response(id, secret, &challenge)));
        if mutual.is_none() {
            return Ok(State::Proved);
        }
        text.write("CHAP_I", self.id);
        text.write("CHAP_C", Hex(&self.challenge));
        Ok(State::Proof(algorithm))
    }

    fn on_proof(&self, algorithm: Algorithm, pairs: &Pairs<'_>) -> Result<State, LoginError> {
        let (user, secret): &(String, Secret) = self
            .credentials
            .as_ref()
            .and_then(|credentials| credentials.mutual.as_ref())
            .expect("a proof is asked for with mutual credentials only");
        let response = pairs.value("CHAP_R").and_then(|text| algorithm.read_response(text));
        let proved = match (pairs.value("CHAP_N"), response) {
            (Some(name), Some(response)) => {
                let got = (name, &response[..]);
                algorithm.proves((user, secret), got, self.id, &self.challenge)
            }
            _ => false,
        };
        if proved { Ok(State::Proved) } else { Err(LoginError::TargetNotAuthenticated) }
    }
}
