//! The target's part of the security stage: what the initiator has still to prove.

use super::Demand;
use crate::keys::reserved::NONE;
use crate::keys::{Hex, Pairs, Rule, TABLE, TextQueue, binary, list};
use crate::limits::{BINARY_LEN_MAX, CHALLENGE_LEN_MIN};
use crate::login::chap::{self, Algorithm, Credentials};
use crate::pdu::LoginStatus;

const CHAP: &str = "CHAP";

/// CHAP as demanded: what must be known, and what is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    credentials: Credentials,
    id: u8,
    challenge: Vec<u8>,
}

/// Where authentication stands. Each state is left by one key.
#[derive(Clone, Debug)]
pub(super) enum Auth {
    /// Nothing is demanded; AuthMethod may still come.
    Free,
    /// AuthMethod is due.
    Method(Question),
    /// CHAP_A is due.
    Algorithm(Question),
    /// CHAP_N and CHAP_R are due.
    Response(Question, Algorithm),
    /// The initiator has proved its name.
    Passed,
    /// It has failed to, or the step is being taken: nothing comes of it.
    Failed,
}

impl Auth {
    pub(super) fn new(demand: Demand) -> Self {
        match demand {
            Demand::None => Self::Free,
            Demand::Chap { credentials, id, challenge } => {
                assert!(challenge.len() >= CHALLENGE_LEN_MIN, "the challenge is too short");
                Self::Method(Question { credentials, id, challenge })
            }
        }
    }

    /// Whether the login may leave the security stage.
    pub(super) fn is_passed(&self) -> bool {
        matches!(self, Self::Free | Self::Passed)
    }

    /// Takes the keys of one text of the security stage and writes the answers. `leaving` says that the
    /// initiator asks to go on to the next stage. Keys and values that do not belong into the step have
    /// a status of their own; of a proof that is wrong nobody is told in what (§9.2).
    pub(super) fn take(
        &mut self,
        pairs: &Pairs<'_>,
        leaving: bool,
        answer: &mut TextQueue,
    ) -> Result<(), LoginStatus> {
        let state = std::mem::replace(self, Self::Failed);
        *self = state.step(pairs, leaving, answer)?;
        Ok(())
    }

    /// The security keys that may come in this state.
    const fn due(&self) -> &'static [&'static str] {
        match self {
            Self::Free | Self::Method(_) => &["AuthMethod"],
            Self::Algorithm(_) => &["CHAP_A"],
            Self::Response(..) => &["CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"],
            Self::Passed | Self::Failed => &[],
        }
    }

    fn step(
        self,
        pairs: &Pairs<'_>,
        leaving: bool,
        answer: &mut TextQueue,
    ) -> Result<Self, LoginStatus> {
        let mut security = TABLE.iter().filter(|row| matches!(row.rule, Rule::Security));
        let due = self.due();
        if security.any(|row| pairs.value(row.name).is_some() && !due.contains(&row.name)) {
            return Err(LoginStatus::INITIATOR_ERROR);
        }
        let says_nothing = pairs.iter().next().is_none();
        match self {
            Self::Free => match pairs.value("AuthMethod") {
                Some(offered) if !offers(offered, NONE) => Err(LoginStatus::AUTHENTICATION_FAILURE),
                Some(_) => {
                    answer.write("AuthMethod", NONE);
                    Ok(Self::Passed)
                }
                None => Ok(Self::Free),
            },
            Self::Method(question) => match pairs.value("AuthMethod") {
                Some(offered) if offers(offered, CHAP) => {
                    answer.write("AuthMethod", CHAP);
                    Ok(Self::Algorithm(question))
                }
                // Who asks to leave the stage without a word of a method means to prove nothing.
                None if !leaving => Ok(Self::Method(question)),
                _ => Err(LoginStatus::AUTHENTICATION_FAILURE),
            },
            Self::Algorithm(_) | Self::Response(..) if says_nothing => Ok(self),
            Self::Algorithm(question) => {
                let offered = pairs.value("CHAP_A").ok_or(LoginStatus::MISSING_PARAMETER)?;
                let algorithm =
                    Algorithm::choose(offered).ok_or(LoginStatus::AUTHENTICATION_FAILURE)?;
                answer.write("CHAP_A", algorithm.number());
                answer.write("CHAP_I", question.id);
                answer.write("CHAP_C", Hex(&question.challenge));
                Ok(Self::Response(question, algorithm))
            }
            Self::Response(question, algorithm) => {
                verify(&question, algorithm, pairs, answer).map(|()| Self::Passed)
            }
            Self::Passed => Ok(Self::Passed),
            Self::Failed => Err(LoginStatus::AUTHENTICATION_FAILURE),
        }
    }
}

fn offers(offered: &str, method: &str) -> bool {
    list(offered).any(|value| value == method)
}

/// Whether CHAP_N and CHAP_R are right; if so, answers the initiator's own question, if it has one.
fn verify(
    question: &Question,
    algorithm: Algorithm,
    pairs: &Pairs<'_>,
    answer: &mut TextQueue,
) -> Result<(), LoginStatus> {
    let (Some(name), Some(response)) = (pairs.value("CHAP_N"), pairs.value("CHAP_R")) else {
        return Err(LoginStatus::MISSING_PARAMETER);
    };
    let response = algorithm.read_response(response).ok_or(LoginStatus::INITIATOR_ERROR)?;
    let Credentials { user, secret, .. } = &question.credentials;
    let got = (name, &response[..]);
    if !algorithm.proves((user, secret), got, question.id, &question.challenge) {
        return Err(LoginStatus::AUTHENTICATION_FAILURE);
    }
    answer_mutual(question, algorithm, pairs, answer)
}

fn answer_mutual(
    question: &Question,
    algorithm: Algorithm,
    pairs: &Pairs<'_>,
    answer: &mut TextQueue,
) -> Result<(), LoginStatus> {
    let (id, challenge) = match (pairs.value("CHAP_I"), pairs.value("CHAP_C")) {
        (None, None) => return Ok(()),
        (Some(id), Some(challenge)) => (id, challenge),
        _ => return Err(LoginStatus::MISSING_PARAMETER),
    };
    let (Some(id), Some(challenge)) = (chap::read_id(id), binary(challenge, BINARY_LEN_MAX)) else {
        return Err(LoginStatus::INITIATOR_ERROR);
    };
    let Some((user, secret)) = &question.credentials.mutual else {
        return Err(LoginStatus::AUTHENTICATION_FAILURE);
    };
    // Our own question sent back: the answer would be one that the initiator can replay to us.
    if challenge == question.challenge || question.credentials.has_same_secrets() {
        return Err(LoginStatus::AUTHENTICATION_FAILURE);
    }
    answer.write("CHAP_N", user);
    answer.write("CHAP_R", Hex(&algorithm.response(id, secret, &challenge)));
    Ok(())
}
