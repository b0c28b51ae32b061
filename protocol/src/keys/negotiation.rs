//! One login's negotiation: what was offered, what was settled, what is still open.

use super::negotiate::{self, By, Row, Rule, TABLE, Used};
use super::reserved::{IRRELEVANT, NOT_UNDERSTOOD, REJECT};
use super::{
    DigestWish, Offer, Pairs, Params, SessionType, TextQueue, Value, boolean, list, number,
};
use crate::pdu::Stage;

/// Which side we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The initiator.
    Initiator,
    /// The target.
    Target,
}

/// The peer broke the rules of the negotiation, or there is no common ground.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NegotiationError {
    /// A key that was settled came again (§6.2).
    #[error("key {0} was negotiated already")]
    Again(&'static str),
    /// An operational key in the security stage (§12).
    #[error("key {0} has no place in the security stage")]
    WrongStage(&'static str),
    /// A reserved answer to a key that was never offered.
    #[error("an answer to key {0}, which was not offered")]
    NotOffered(String),
    /// An answer that is not among what was offered.
    #[error("key {0} was answered with a value outside of what was offered")]
    OutsideOffer(&'static str),
    /// A declared value out of its range.
    #[error("key {0} was declared with a value that it cannot have")]
    BadDeclaration(&'static str),
    /// A digest that this side insists on was not agreed.
    #[error("the other side does not take the digest that this side requires")]
    DigestRequired,
}

/// The state of a negotiation, on either side.
#[derive(Clone, Debug)]
pub struct Negotiation {
    role: Role,
    offer: Offer,
    params: Params,
    /// Keys of the table that the peer has sent, by their place.
    settled: u64,
    /// Keys that we offered and that were not answered yet.
    offered: u64,
    declared: bool,
}

const _: () = assert!(TABLE.len() <= 64, "a key's place is a bit of a u64");

impl Negotiation {
    /// Nothing said yet.
    #[must_use]
    pub fn new(role: Role, session: SessionType, offer: Offer) -> Self {
        let params = Params { session, ..Params::default() };
        Self { role, offer, params, settled: 0, offered: 0, declared: false }
    }

    /// Writes our MaxRecvDataSegmentLength, once.
    pub fn declare(&mut self, text: &mut TextQueue) {
        if !std::mem::replace(&mut self.declared, true) {
            self.params.max_recv_ours = self.offer.max_recv.clamp(512, (1 << 24) - 1);
            text.write("MaxRecvDataSegmentLength", self.params.max_recv_ours);
        }
    }

    /// Writes our proposal for every key whose default is not good enough. For the initiator.
    pub fn propose(&mut self, text: &mut TextQueue) {
        self.declare(text);
        let discovery = self.params.session == SessionType::Discovery;
        for (place, row) in TABLE.iter().enumerate() {
            // These two have a good default and are unknown to older targets.
            let quiet = matches!(row.name, "TaskReporting" | "iSCSIProtocolLevel");
            if quiet
                || discovery && !row.in_discovery
                || (self.offered | self.settled) >> place & 1 != 0
            {
                continue;
            }
            match &row.rule {
                Rule::Minimum(rule) | Rule::Maximum(rule) => {
                    text.write(row.name, clamped(rule, &self.offer));
                }
                Rule::And(flag) | Rule::Or(flag) => {
                    text.write(row.name, Value::Flag((flag.ours)(&self.offer)));
                }
                Rule::Choice(choice) => text.write(row.name, (choice.ours)(&self.offer).join(",")),
                _ => continue,
            }
            self.offered |= 1 << place;
        }
    }

    /// Takes the peer's keys of `stage`: settles what it answers, answers what it offers.
    pub fn take(
        &mut self,
        pairs: &Pairs<'_>,
        stage: Stage,
        text: &mut TextQueue,
    ) -> Result<(), NegotiationError> {
        for (place, row) in TABLE.iter().enumerate() {
            if let Some(value) = pairs.value(row.name) {
                self.take_key(place, row, value, stage, text)?;
            }
        }
        for pair in pairs.iter().filter(|pair| Row::find(pair.key).is_none()) {
            if is_answer(pair.value) {
                return Err(NegotiationError::NotOffered(pair.key.to_owned()));
            }
            text.write(pair.key, NOT_UNDERSTOOD);
        }
        Ok(())
    }

    fn take_key(
        &mut self,
        place: usize,
        row: &'static Row,
        value: &str,
        stage: Stage,
        text: &mut TextQueue,
    ) -> Result<(), NegotiationError> {
        match &row.rule {
            Rule::Declared if self.may_send(row) => return Ok(()),
            Rule::Security if stage == Stage::Security => return Ok(()),
            // Targets have their habits; what they say early is no harm.
            Rule::Declared => {}
            _ if stage == Stage::Security && self.role == Role::Target => {
                return Err(NegotiationError::WrongStage(row.name));
            }
            _ => {}
        }
        let bit = 1 << place;
        if self.settled & bit != 0 {
            return Err(NegotiationError::Again(row.name));
        }
        self.settled |= bit;
        if self.offered & bit != 0 {
            self.offered &= !bit;
            return self.settle(row, value);
        }
        if is_answer(value) {
            return Err(NegotiationError::NotOffered(row.name.to_owned()));
        }
        if let Rule::ReceiveLimit(range) = &row.rule {
            self.params.max_recv_theirs = number(value)
                .filter(|len| range.contains(len))
                .ok_or(NegotiationError::BadDeclaration(row.name))?;
            return Ok(());
        }
        text.write(row.name, self.answer(row, value));
        Ok(())
    }

    /// Whether `row` may come from the other side in a login.
    fn may_send(&self, row: &Row) -> bool {
        let wrong = if self.role == Role::Target { By::Target } else { By::Initiator };
        row.by != wrong && row.used != Used::FullFeature
    }

    /// Our answer to an offered `value`, which also becomes the agreement.
    fn answer(&mut self, row: &'static Row, value: &str) -> Value<'static> {
        if self.params.session == SessionType::Discovery && !row.in_discovery {
            return Value::Text(IRRELEVANT);
        }
        if row.name == "FirstBurstLength" && self.params.initial_r2t && !self.params.immediate_data
        {
            return Value::Text(IRRELEVANT);
        }
        self.agree(row, value).unwrap_or(Value::Text(REJECT))
    }

    /// Applies the key's rule to the offered `value`; `None` when that value cannot be taken.
    fn agree(&mut self, row: &'static Row, value: &str) -> Option<Value<'static>> {
        let combine_numbers =
            |rule: &negotiate::Number, offer: &Offer, how: fn(u32, u32) -> u32| {
                let theirs = number(value).filter(|number| rule.range.contains(number))?;
                Some(how(clamped(rule, offer), theirs))
            };
        let combine_flags = |rule: &negotiate::Flag, offer: &Offer, how: fn(bool, bool) -> bool| {
            Some(how((rule.ours)(offer), boolean(value)?))
        };
        match &row.rule {
            Rule::Minimum(rule) | Rule::Maximum(rule) => {
                let minimum = matches!(row.rule, Rule::Minimum(_));
                let how = if minimum { negotiate::minimum } else { negotiate::maximum };
                let mut agreed = combine_numbers(rule, &self.offer, how)?;
                if row.name == "FirstBurstLength" {
                    agreed = agreed.min(self.params.max_burst_len);
                }
                *(rule.agreed)(&mut self.params) = agreed;
                Some(Value::Number(agreed))
            }
            Rule::And(rule) | Rule::Or(rule) => {
                let both = matches!(row.rule, Rule::And(_));
                let how = if both { negotiate::and } else { negotiate::or };
                let agreed = combine_flags(rule, &self.offer, how)?;
                *(rule.agreed)(&mut self.params) = agreed;
                Some(Value::Flag(agreed))
            }
            Rule::Choice(rule) => {
                let chosen = negotiate::choice((rule.ours)(&self.offer), value)?;
                (rule.agree)(&mut self.params, chosen);
                Some(Value::Text(chosen))
            }
            Rule::Obsolete(answer) => Some(Value::Text(answer)),
            Rule::ReceiveLimit(_) | Rule::Declared | Rule::Security | Rule::SendTargets => None,
        }
    }

    /// Takes the peer's answer to what we offered, if the rule allows it. A key that was refused or
    /// not understood keeps its default.
    fn settle(&mut self, row: &'static Row, value: &str) -> Result<(), NegotiationError> {
        if is_answer(value) {
            return Ok(());
        }
        let outside = || NegotiationError::OutsideOffer(row.name);
        match &row.rule {
            Rule::Minimum(rule) | Rule::Maximum(rule) => {
                let ours = clamped(rule, &self.offer);
                let minimum = matches!(row.rule, Rule::Minimum(_));
                let agreed = number(value)
                    .filter(|number| rule.range.contains(number))
                    .filter(|number| if minimum { *number <= ours } else { *number >= ours })
                    .ok_or_else(outside)?;
                *(rule.agreed)(&mut self.params) = agreed;
            }
            Rule::And(rule) | Rule::Or(rule) => {
                let ours = (rule.ours)(&self.offer);
                // Our No decides an `and`, our Yes decides an `or`; otherwise the peer is free.
                let decided = ours == matches!(row.rule, Rule::Or(_));
                let agreed = boolean(value)
                    .filter(|agreed| !decided || *agreed == ours)
                    .ok_or_else(outside)?;
                *(rule.agreed)(&mut self.params) = agreed;
            }
            Rule::Choice(rule) => {
                if list(value).count() != 1 || !(rule.ours)(&self.offer).contains(&value) {
                    return Err(outside());
                }
                (rule.agree)(&mut self.params, value);
            }
            _ => return Err(outside()),
        }
        Ok(())
    }

    /// Whether the peer has not answered all that we offered.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.offered != 0
    }

    /// What was agreed.
    pub fn finish(&self) -> Result<Params, NegotiationError> {
        let mut params = self.params.clone();
        self.apply_unanswered(&mut params);
        let missing = |wish, agreed: bool| wish == DigestWish::Require && !agreed;
        if missing(self.offer.header_digest, params.digests.header)
            || missing(self.offer.data_digest, params.digests.data)
        {
            return Err(NegotiationError::DigestRequired);
        }
        params.first_burst_len = params.first_burst_len.min(params.max_burst_len);
        Ok(params)
    }

    /// A boolean that our own value decides need not be answered (§6.2.2): it holds all the same.
    fn apply_unanswered(&self, params: &mut Params) {
        for (place, row) in TABLE.iter().enumerate() {
            if self.offered >> place & 1 == 0 {
                continue;
            }
            if let Rule::And(rule) | Rule::Or(rule) = &row.rule {
                let ours = (rule.ours)(&self.offer);
                if ours == matches!(row.rule, Rule::Or(_)) {
                    *(rule.agreed)(params) = ours;
                }
            }
        }
    }
}

fn clamped(rule: &negotiate::Number, offer: &Offer) -> u32 {
    (rule.ours)(offer).clamp(*rule.range.start(), *rule.range.end())
}

/// Values that only an answer can have.
pub(crate) fn is_answer(value: &str) -> bool {
    [REJECT, IRRELEVANT, NOT_UNDERSTOOD].contains(&value)
}
