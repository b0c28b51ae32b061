//! How two values become one, and which key goes by which rule: the table of §13.

use std::ops::RangeInclusive;

use super::{Offer, Params};

/// The lesser of both.
#[must_use]
pub fn minimum(ours: u32, theirs: u32) -> u32 {
    ours.min(theirs)
}

/// The greater of both.
#[must_use]
pub fn maximum(ours: u32, theirs: u32) -> u32 {
    ours.max(theirs)
}

/// Yes if both say so.
#[must_use]
pub fn and(ours: bool, theirs: bool) -> bool {
    ours && theirs
}

/// Yes if either says so.
#[must_use]
pub fn or(ours: bool, theirs: bool) -> bool {
    ours || theirs
}

/// The first of the `offered` list that is among `ours`: the offering side's preference decides
/// (§6.2.1).
#[must_use]
pub fn choice(ours: &[&'static str], offered: &str) -> Option<&'static str> {
    super::list(offered).find_map(|value| ours.iter().copied().find(|own| *own == value))
}

/// When a key may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Used {
    /// In the login only ("LO").
    Login,
    /// In the full feature phase only ("FFPO").
    FullFeature,
    /// Any time.
    Any,
}

/// Who may send a key first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// The initiator.
    Initiator,
    /// The target.
    Target,
    /// Either.
    Both,
}

/// What a key's value holds for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The session ("SW").
    Session,
    /// The connection ("CO").
    Connection,
}

/// A numeric key: its range, what we want, and where the result is kept.
#[derive(Clone, Debug)]
pub struct Number {
    /// Values that the key may have.
    pub range: RangeInclusive<u32>,
    /// Our value.
    pub ours: fn(&Offer) -> u32,
    /// The result.
    pub agreed: fn(&mut Params) -> &mut u32,
}

/// A boolean key: what we want, and where the result is kept.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Our value.
    pub ours: fn(&Offer) -> bool,
    /// The result.
    pub agreed: fn(&mut Params) -> &mut bool,
}

/// A list key: what we take, first preference first, and what becomes of the choice.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Our values.
    pub ours: fn(&Offer) -> &'static [&'static str],
    /// Keeps the result.
    pub agree: fn(&mut Params, &str),
}

/// How a key is settled.
#[derive(Clone, Debug)]
pub enum Rule {
    /// The lesser number.
    Minimum(Number),
    /// The greater number.
    Maximum(Number),
    /// Both must want it.
    And(Flag),
    /// One wanting it is enough.
    Or(Flag),
    /// The first of the offered list that the other side takes.
    Choice(Choice),
    /// MaxRecvDataSegmentLength: each side says its own, and gets no answer.
    ReceiveLimit(RangeInclusive<u32>),
    /// A name or an alias, which the login itself reads; no answer.
    Declared,
    /// A key of the security stage (§12).
    Security,
    /// A question of the full feature phase.
    SendTargets,
    /// Of RFC 3720, with its one answer (§13.25).
    Obsolete(&'static str),
}

/// A key of the standard.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// When it may be sent.
    pub used: Used,
    /// Who may send it first.
    pub by: By,
    /// What it holds for.
    pub scope: Scope,
    /// Whether it means anything in a discovery session.
    pub in_discovery: bool,
    /// How it is settled.
    pub rule: Rule,
}

/// 2^24 - 1, the longest that DataSegmentLength can say.
const SEGMENT_MAX: u32 = (1 << 24) - 1;

const fn row(name: &'static str, by: By, scope: Scope, in_discovery: bool, rule: Rule) -> Row {
    let used = match rule {
        Rule::SendTargets => Used::FullFeature,
        Rule::ReceiveLimit(_) => Used::Any,
        _ => Used::Login,
    };
    Row { name, used, by, scope, in_discovery, rule }
}

const fn declared(name: &'static str, by: By, used: Used) -> Row {
    Row { name, used, by, scope: Scope::Session, in_discovery: true, rule: Rule::Declared }
}

const fn security(name: &'static str) -> Row {
    row(name, By::Both, Scope::Connection, true, Rule::Security)
}

const fn session(name: &'static str, in_discovery: bool, rule: Rule) -> Row {
    row(name, By::Both, Scope::Session, in_discovery, rule)
}

const fn digest(
    name: &'static str,
    ours: fn(&Offer) -> &'static [&'static str],
    agree: fn(&mut Params, &str),
) -> Row {
    row(name, By::Both, Scope::Connection, true, Rule::Choice(Choice { ours, agree }))
}

const fn number(
    range: RangeInclusive<u32>,
    ours: fn(&Offer) -> u32,
    agreed: fn(&mut Params) -> &mut u32,
) -> Number {
    Number { range, ours, agreed }
}

/// Every key of §12.1 and §13. Answers are given in this order, so that FirstBurstLength is settled
/// when the three keys that it depends on are.
pub static TABLE: [Row; 44] = [
    declared("InitiatorName", By::Initiator, Used::Login),
    declared("TargetName", By::Both, Used::Any),
    declared("SessionType", By::Initiator, Used::Login),
    declared("InitiatorAlias", By::Initiator, Used::Any),
    declared("TargetAlias", By::Target, Used::Any),
    declared("TargetAddress", By::Target, Used::Any),
    declared("TargetPortalGroupTag", By::Target, Used::Login),
    row("SendTargets", By::Initiator, Scope::Session, true, Rule::SendTargets),
    security("AuthMethod"),
    security("CHAP_A"),
    security("CHAP_I"),
    security("CHAP_C"),
    security("CHAP_N"),
    security("CHAP_R"),
    security("KRB_AP_REQ"),
    security("KRB_AP_REP"),
    security("TargetAuth"),
    security("SRP_U"),
    security("SRP_GROUP"),
    security("SRP_A"),
    security("SRP_s"),
    security("SRP_B"),
    security("SRP_M"),
    security("SRP_HM"),
    digest(
        "HeaderDigest",
        |offer| offer.header_digest.list(),
        |params, value| params.digests.header = value == "CRC32C",
    ),
    digest(
        "DataDigest",
        |offer| offer.data_digest.list(),
        |params, value| params.digests.data = value == "CRC32C",
    ),
    row(
        "MaxRecvDataSegmentLength",
        By::Both,
        Scope::Connection,
        true,
        Rule::ReceiveLimit(512..=SEGMENT_MAX),
    ),
    // One connection a session, level 0: sessions are how we do more (multipath).
    session(
        "MaxConnections",
        false,
        Rule::Minimum(number(1..=65_535, |_| 1, |params| &mut params.max_connections)),
    ),
    session(
        "ErrorRecoveryLevel",
        true,
        Rule::Minimum(number(0..=2, |_| 0, |params| &mut params.error_recovery_level)),
    ),
    session(
        "InitialR2T",
        false,
        Rule::Or(Flag {
            ours: |offer| offer.initial_r2t,
            agreed: |params| &mut params.initial_r2t,
        }),
    ),
    session(
        "ImmediateData",
        false,
        Rule::And(Flag {
            ours: |offer| offer.immediate_data,
            agreed: |params| &mut params.immediate_data,
        }),
    ),
    session(
        "MaxBurstLength",
        false,
        Rule::Minimum(number(
            512..=SEGMENT_MAX,
            |offer| offer.max_burst_len,
            |params| &mut params.max_burst_len,
        )),
    ),
    session(
        "FirstBurstLength",
        false,
        Rule::Minimum(number(
            512..=SEGMENT_MAX,
            |offer| offer.first_burst_len.min(offer.max_burst_len),
            |params| &mut params.first_burst_len,
        )),
    ),
    session(
        "MaxOutstandingR2T",
        false,
        Rule::Minimum(number(
            1..=65_535,
            |offer| offer.max_outstanding_r2t,
            |params| &mut params.max_outstanding_r2t,
        )),
    ),
    session(
        "DefaultTime2Wait",
        true,
        Rule::Maximum(number(
            0..=3600,
            |offer| offer.time_to_wait,
            |params| &mut params.time_to_wait,
        )),
    ),
    session(
        "DefaultTime2Retain",
        true,
        Rule::Minimum(number(
            0..=3600,
            |offer| offer.time_to_retain,
            |params| &mut params.time_to_retain,
        )),
    ),
    // Data goes in order, always: `Or` makes our Yes the answer to everything.
    session(
        "DataPDUInOrder",
        false,
        Rule::Or(Flag { ours: |_| true, agreed: |params| &mut params.data_pdu_in_order }),
    ),
    session(
        "DataSequenceInOrder",
        false,
        Rule::Or(Flag { ours: |_| true, agreed: |params| &mut params.data_sequence_in_order }),
    ),
    session(
        "TaskReporting",
        false,
        Rule::Choice(Choice { ours: |_| &["RFC3720"], agree: |_, _| () }),
    ),
    session(
        "iSCSIProtocolLevel",
        false,
        Rule::Minimum(number(0..=31, |_| 1, |params| &mut params.protocol_level)),
    ),
    row("IFMarker", By::Both, Scope::Connection, true, Rule::Obsolete("No")),
    row("OFMarker", By::Both, Scope::Connection, true, Rule::Obsolete("No")),
    row("IFMarkInt", By::Both, Scope::Connection, true, Rule::Obsolete("Reject")),
    row("OFMarkInt", By::Both, Scope::Connection, true, Rule::Obsolete("Reject")),
];

impl Row {
    /// The key called `name`, and its place in the table.
    #[must_use]
    pub fn find(name: &str) -> Option<(usize, &'static Self)> {
        TABLE.iter().enumerate().find(|(_, row)| row.name == name)
    }
}
