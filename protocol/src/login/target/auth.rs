//! The target's part of the security stage: what the initiator has still to prove.

use super::Demand;
use crate::keys::reserved::NONE;
use crate::keys::{Hex, Pairs, TextQueue, binary, list};
use crate::limits::{BINARY_LEN_MAX, CHALLENGE_LEN_MIN};
use crate::login::chap::{self, Algorithm, Credentials};

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

    /// Takes the keys of one text of the security stage and writes the answers. False when
    /// authentication has failed; nobody is told in what. `leaving` says that the initiator asks to go
    /// on to the next stage.
    pub(super) fn take(
        &mut self,
        pairs: &Pairs<'_>,
        leaving: bool,
        answer: &mut TextQueue,
    ) -> bool {
        let state = std::mem::replace(self, Self::Passed);
        match state.step(pairs, leaving, answer) {
            Some(next) => {
                *self = next;
                true
            }
            None => false,
        }
    }

    fn step(self, pairs: &Pairs<'_>, leaving: bool, answer: &mut TextQueue) -> Option<Self> {
        let method = pairs.value("AuthMethod");
        if let (Self::Algorithm(_) | Self::Response(..) | Self::Passed, Some(_)) = (&self, method) {
            return None;
        }
        match self {
            Self::Free => match method {
                Some(offered) if !offers(offered, NONE) => None,
                Some(_) => {
                    answer.write("AuthMethod", NONE);
                    Some(Self::Free)
                }
                None => Some(Self::Free),
            },
            Self::Method(question) => match method {
                Some(offered) if offers(offered, CHAP) => {
                    answer.write("AuthMethod", CHAP);
                    Some(Self::Algorithm(question)).filter(|_| pairs.value("CHAP_A").is_none())
                }
                Some(_) => None,
                // Who asks to leave the stage without a word of a method means to prove nothing.
                None => (!leaving).then_some(Self::Method(question)),
            },
            Self::Algorithm(question) => {
                let Some(offered) = pairs.value("CHAP_A") else {
                    return Some(Self::Algorithm(question));
                };
                let algorithm = Algorithm::choose(offered)?;
                answer.write("CHAP_A", algorithm.number());
                answer.write("CHAP_I", question.id);
                answer.write("CHAP_C", Hex(&question.challenge));
                Some(Self::Response(question, algorithm))
            }
            Self::Response(question, algorithm) => {
                let keys = (pairs.value("CHAP_N"), pairs.value("CHAP_R"));
                if keys == (None, None) {
                    return Some(Self::Response(question, algorithm));
                }
                verify(&question, algorithm, pairs, answer).then_some(Self::Passed)
            }
            Self::Passed => Some(Self::Passed),
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
) -> bool {
    let (Some(name), Some(response)) = (pairs.value("CHAP_N"), pairs.value("CHAP_R")) else {
        return false;
    };
    let Some(response) = algorithm.read_response(response) else {
        return false;
    };
    let Credentials { user, secret, .. } = &question.credentials;
    let got = (name, &response[..]);
    algorithm.proves((user, secret), got, question.id, &question.challenge)
        && answer_mutual(question, algorithm, pairs, answer)
}

fn answer_mutual(
    question: &Question,
    algorithm: Algorithm,
    pairs: &Pairs<'_>,
    answer: &mut TextQueue,
) -> bool {
    let (id, challenge) = match (pairs.value("CHAP_I"), pairs.value("CHAP_C")) {
        (None, None) => return true,
        (Some(id), Some(challenge)) => (id, challenge),
        _ => return false,
    };
    let (Some(id), Some(challenge)) = (chap::read_id(id), binary(challenge, BINARY_LEN_MAX)) else {
        return false;
    };
    let Some((user, secret)) = &question.credentials.mutual else {
        return false;
    };
    // Our own question sent back: the answer would be one that the initiator can replay to us.
    if challenge == question.challenge || question.credentials.has_same_secrets() {
        return false;
    }
    answer.write("CHAP_N", user);
    answer.write("CHAP_R", Hex(&algorithm.response(id, secret, &challenge)));
    true
}
