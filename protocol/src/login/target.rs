//! The target's login: [`Login`] takes requests until the application has let the initiator in or
//! turned it away.

mod auth;

use std::collections::VecDeque;

use bytes::Bytes;

use self::auth::Auth;
use super::{Credentials, LoginError, PIECE_LEN_MAX, is_forward};
use crate::framer::{Frame, Framer};
use crate::ids::{Cid, IscsiName, Isid, Tsih};
use crate::keys::{Negotiation, Offer, Pairs, Params, Role, SessionType, TextBuffer, TextQueue};
use crate::limits::{LOGIN_ROUNDS_MAX, LOGIN_SEGMENT_LEN_MAX, TASKS_INITIAL};
use crate::pdu::{
    Bhs, HeaderError, LoginRequest, LoginResponse, LoginStatus, Request, Sequence, Stage,
};
use crate::serial::Sn;
use crate::transmit::{Body, Digests, Transmit};

/// What a portal says of itself in every login.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is ready to agree on.
    pub offer: Offer,
    /// TargetPortalGroupTag.
    pub target_portal_group_tag: u16,
    /// TargetAlias.
    pub alias: Option<String>,
}

/// Who logs in, and to what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// InitiatorName. It is proved only once the login is [`Event::Ready`].
    pub initiator: IscsiName,
    /// TargetName; `None` in a discovery session.
    pub target: Option<IscsiName>,
    /// SessionType.
    pub session: SessionType,
    /// The initiator's part of the session's name.
    pub isid: Isid,
    /// 0 for a new session, perhaps in place of an older one with the same ISID. Else the session
    /// whose connection of the same CID this one is to replace (§6.3.4); a session has one, so any
    /// other CID is one too many.
    pub tsih: Tsih,
    /// The connection's name.
    pub cid: Cid,
    /// InitiatorAlias, for people.
    pub alias: Option<String>,
}

impl Identity {
    /// Whether `pairs` name nobody else. The names belong into the first request, but libiscsi says
    /// them again when it comes to the operational stage.
    fn is_repeated_by(&self, pairs: &Pairs<'_>) -> bool {
        let same = |key, own: Option<&IscsiName>| match pairs.value(key) {
            Some(text) => own.is_none_or(|own| IscsiName::new(text).as_ref() == Ok(own)),
            None => true,
        };
        same("InitiatorName", Some(&self.initiator))
            && same("TargetName", self.target.as_ref())
            && pairs.value("SessionType").is_none_or(|text| text == self.session.as_str())
    }
}

/// What an initiator must do to prove its name.
#[derive(Clone, Debug)]
pub enum Demand {
    /// Nothing.
    None,
    /// CHAP.
    Chap {
        /// What it must know; [`Credentials::decoy`] for an unknown initiator.
        credentials: Credentials,
        /// CHAP_I.
        id: u8,
        /// CHAP_C: unpredictable, at least 16 bytes, for this login alone.
        challenge: Vec<u8>,
    },
}

/// What the application must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The initiator has said who it is. Answer with [`Login::require`], [`Login::refuse`] or
    /// [`Login::redirect`].
    Identified(Identity),
    /// All is agreed and proved. Answer with [`Login::admit`], [`Login::refuse`] or
    /// [`Login::redirect`].
    Ready(Identity),
    /// The login has failed. Send what is to be sent, then close.
    Refused(LoginStatus),
}

/// A login that was let in: what the full feature phase starts from.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The final Login Response, to be sent first, without digests.
    pub last: Transmit,
    /// What was agreed.
    pub params: Params,
    /// With whom.
    pub identity: Identity,
    /// The session's handle.
    pub tsih: Tsih,
    /// StatSN of the next response.
    pub next_stat_sn: Sn,
    /// CmdSN of the first command. The window given with `last` is `TASKS_INITIAL` wide.
    pub exp_cmd_sn: Sn,
}

#[derive(Clone, Debug)]
enum State {
    /// Taking requests.
    Requests,
    /// The application must say what it demands. The first text waits.
    Identified { text: Vec<u8> },
    /// The application must admit. The text of the final response waits.
    Ready { text: Bytes, params: Box<Params> },
    /// Nothing more is taken.
    Over,
}

/// A login as the target sees it.
#[derive(Debug)]
pub struct Login {
    settings: Settings,
    framer: Framer,
    state: State,
    stage: Stage,
    /// The request being read or answered; the first one gives the names that all must bear.
    request: Option<LoginRequest>,
    rounds: u32,
    text: TextBuffer,
    answer: TextQueue,
    identity: Option<Identity>,
    auth: Auth,
    negotiation: Negotiation,
    stat_sn: Sn,
    event: Option<Event>,
    transmits: VecDeque<Transmit>,
}

impl Login {
    /// For a new connection.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let offer = settings.offer.clone();
        Self {
            settings,
            framer: Framer::new(Digests::default(), LOGIN_SEGMENT_LEN_MAX).without_ahs(),
            state: State::Requests,
            stage: Stage::Security,
            request: None,
            rounds: 0,
            text: TextBuffer::default(),
            answer: TextQueue::default(),
            identity: None,
            auth: Auth::new(Demand::None),
            negotiation: Negotiation::new(Role::Target, SessionType::Normal, offer),
            stat_sn: Sn(0),
            event: None,
            transmits: VecDeque::new(),
        }
    }

    /// Takes bytes off the front of `input` and says what came of them. While an answer of the
    /// application is due, and after the end, nothing is taken.
    pub fn next_event(&mut self, input: &mut &[u8]) -> Result<Option<Event>, LoginError> {
        loop {
            if let Some(event) = self.event.take() {
                return Ok(Some(event));
            }
            if !matches!(self.state, State::Requests) {
                return Ok(None);
            }
            match self.framer.next(input)? {
                None => return Ok(None),
                Some(Frame::Header(bhs)) => self.on_header(&bhs)?,
                Some(Frame::Data { bytes, .. }) => {
                    if self.text.add(bytes).is_err() {
                        self.refuse(LoginStatus::INITIATOR_ERROR);
                    }
                }
                Some(Frame::End { .. }) => self.on_end(),
            }
        }
    }

    /// What the initiator must prove: the answer to [`Event::Identified`].
    ///
    /// # Panics
    ///
    /// When that was not the last event, or the challenge has less than 16 bytes.
    pub fn require(&mut self, demand: Demand) {
        let State::Identified { text } = std::mem::replace(&mut self.state, State::Requests) else {
            panic!("a demand answers Event::Identified");
        };
        self.auth = Auth::new(demand);
        let session = self.identity().session;
        self.negotiation = Negotiation::new(Role::Target, session, self.settings.offer.clone());
        if let Some(alias) = &self.settings.alias
            && session == SessionType::Normal
        {
            self.answer.write("TargetAlias", alias);
        }
        // In every type of session (§6.3.1).
        self.answer.write("TargetPortalGroupTag", self.settings.target_portal_group_tag);
        self.on_keys(&Pairs::parse(&text).expect("it was read before"));
    }

    /// Turns the initiator away, at any time.
    pub fn refuse(&mut self, status: LoginStatus) {
        self.end(status, Bytes::new());
    }

    /// Sends the initiator elsewhere: `address` is host and port, without a portal group tag.
    pub fn redirect(&mut self, address: &str, permanent: bool) {
        let mut text = TextQueue::default();
        text.write("TargetAddress", address);
        let status =
            if permanent { LoginStatus::MOVED_PERMANENTLY } else { LoginStatus::MOVED_TEMPORARILY };
        self.end(status, text.next_piece(PIECE_LEN_MAX).0);
    }

    /// Lets the initiator in: the answer to [`Event::Ready`].
    ///
    /// # Panics
    ///
    /// When that was not the last event.
    #[must_use]
    pub fn admit(mut self, tsih: Tsih) -> Admitted {
        let State::Ready { text, params } = std::mem::replace(&mut self.state, State::Over) else {
            panic!("admission answers Event::Ready");
        };
        let mut response = self.response(LoginStatus::SUCCESS);
        response.transit = Some(Stage::FullFeature);
        response.tsih = tsih;
        self.send(response, text);
        let exp_cmd_sn = self.request().order.cmd_sn;
        Admitted {
            last: self.transmits.pop_back().expect("it was just queued"),
            params: *params,
            identity: self.identity.expect("a login that is ready was identified"),
            tsih,
            next_stat_sn: self.stat_sn,
            exp_cmd_sn,
        }
    }

    /// The next PDU to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Whether the login was refused or redirected.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    fn request(&self) -> &LoginRequest {
        self.request.as_ref().expect("a request is being answered")
    }

    fn identity(&self) -> &Identity {
        self.identity.as_ref().expect("the first text was read")
    }

    fn on_header(&mut self, bhs: &Bhs) -> Result<(), LoginError> {
        let (request, readable) = match Request::parse(bhs) {
            Ok(Request::Login(request)) => (request, true),
            Err(HeaderError::Field(_)) => match Request::parse(&without_stages(bhs)) {
                Ok(Request::Login(request)) => (request, false),
                _ => return self.on_other(bhs),
            },
            _ => return self.on_other(bhs),
        };
        let first = self.request.is_none();
        if first {
            self.stage = request.current;
            self.stat_sn = request.order.exp_stat_sn;
        }
        let same = self.request.is_none_or(|last| {
            (last.itt, last.isid, last.tsih, last.cid)
                == (request.itt, request.isid, request.tsih, request.cid)
        });
        self.request = Some(request);
        self.rounds += 1;
        let stages = request.current == self.stage
            && request.current != Stage::FullFeature
            && request.transit.is_none_or(|next| is_forward(request.current, next))
            && !(request.more && request.transit.is_some());
        if first && request.version_min > 0 {
            self.refuse(LoginStatus::UNSUPPORTED_VERSION);
        } else if !readable || !same || !stages || self.rounds > LOGIN_ROUNDS_MAX {
            self.refuse(LoginStatus::INITIATOR_ERROR);
        }
        Ok(())
    }

    /// Something else than a login: no answer to a stranger, a status to one who is logging in.
    fn on_other(&mut self, bhs: &Bhs) -> Result<(), LoginError> {
        if self.request.is_none() {
            return Err(LoginError::NotALogin(bhs.opcode()));
        }
        self.refuse(LoginStatus::INVALID_DURING_LOGIN);
        Ok(())
    }

    fn on_end(&mut self) {
        let more = self.request().more;
        if !self.answer.is_empty() {
            // The rest of our text is due, and it is asked for by a request without text (§6.2).
            if more || !self.text.is_empty() {
                return self.refuse(LoginStatus::INITIATOR_ERROR);
            }
            return self.respond();
        }
        match self.text.end_of_pdu(more) {
            Err(_) => self.refuse(LoginStatus::INITIATOR_ERROR),
            Ok(None) => self.respond(),
            Ok(Some(text)) => self.on_text(text),
        }
    }

    fn on_text(&mut self, text: Vec<u8>) {
        let Ok(pairs) = Pairs::parse(&text) else {
            return self.refuse(LoginStatus::INITIATOR_ERROR);
        };
        if let Some(identity) = &self.identity {
            if !identity.is_repeated_by(&pairs) {
                return self.refuse(LoginStatus::INITIATOR_ERROR);
            }
            return self.on_keys(&pairs);
        }
        match identify(self.request(), &pairs) {
            Ok(identity) => {
                self.identity = Some(identity.clone());
                self.event = Some(Event::Identified(identity));
                self.state = State::Identified { text };
            }
            Err(status) => self.refuse(status),
        }
    }

    fn on_keys(&mut self, pairs: &Pairs<'_>) {
        if let (Some(alias), Some(identity)) = (pairs.value("InitiatorAlias"), &mut self.identity) {
            identity.alias = Some(alias.to_owned());
        }
        let leaving = self.request().transit.is_some();
        let proved = match self.stage {
            Stage::Security => self.auth.take(pairs, leaving, &mut self.answer),
            _ if self.auth.is_passed() => Ok(()),
            _ => Err(LoginStatus::AUTHENTICATION_FAILURE),
        };
        if let Err(status) = proved {
            return self.refuse(status);
        }
        if self.stage == Stage::Operational {
            self.negotiation.declare(&mut self.answer);
        }
        match self.negotiation.take(pairs, self.stage, &mut self.answer) {
            Ok(()) => self.respond(),
            Err(_) => self.refuse(LoginStatus::INITIATOR_ERROR),
        }
    }

    /// Answers the request with the next piece of what there is to say, and moves on if both can.
    fn respond(&mut self) {
        let (text, more) = self.answer.next_piece(PIECE_LEN_MAX);
        let transit = self.request().transit.filter(|_| !more && self.auth.is_passed());
        if transit == Some(Stage::FullFeature) {
            match self.negotiation.finish() {
                Ok(params) => {
                    self.state = State::Ready { text, params: Box::new(params) };
                    self.event = Some(Event::Ready(self.identity().clone()));
                }
                Err(_) => self.refuse(LoginStatus::INITIATOR_ERROR),
            }
            return;
        }
        let response = LoginResponse { transit, more, ..self.response(LoginStatus::SUCCESS) };
        self.send(response, text);
        self.stage = transit.unwrap_or(self.stage);
    }

    fn end(&mut self, status: LoginStatus, text: Bytes) {
        if self.is_over() {
            return;
        }
        self.state = State::Over;
        if self.request.is_some() {
            self.send(self.response(status), text);
        }
        self.event = Some(Event::Refused(status));
    }

    fn response(&self, status: LoginStatus) -> LoginResponse {
        let request = self.request();
        let cmd_sn = request.order.cmd_sn;
        LoginResponse {
            transit: None,
            more: false,
            current: self.stage,
            version_max: 0,
            version_active: 0,
            isid: request.isid,
            tsih: request.tsih,
            itt: request.itt,
            sequence: Sequence {
                stat_sn: self.stat_sn,
                exp_cmd_sn: cmd_sn,
                max_cmd_sn: cmd_sn.plus(TASKS_INITIAL - 1),
            },
            status,
        }
    }

    fn send(&mut self, response: LoginResponse, text: Bytes) {
        let body = if text.is_empty() { Body::None } else { Body::Bytes(text) };
        self.transmits.push_back(Transmit::new(response.build(), body, Digests::default()));
        self.stat_sn = self.stat_sn.next();
    }
}

/// The same header with stages that can be read, so that a request with others gets an answer.
fn without_stages(bhs: &Bhs) -> Bhs {
    let mut bhs = *bhs;
    bhs.0[1] = 0;
    bhs
}

/// Reads the names that the first text must have (§6.3.1).
fn identify(request: &LoginRequest, pairs: &Pairs<'_>) -> Result<Identity, LoginStatus> {
    let session = match pairs.value("SessionType") {
        None | Some("Normal") => SessionType::Normal,
        Some("Discovery") => SessionType::Discovery,
        Some(_) => return Err(LoginStatus::SESSION_TYPE_UNSUPPORTED),
    };
    let name = |key| {
        let text = pairs.value(key).ok_or(LoginStatus::MISSING_PARAMETER)?;
        IscsiName::new(text).map_err(|_| LoginStatus::INITIATOR_ERROR)
    };
    let target = match session {
        SessionType::Normal => Some(name("TargetName")?),
        SessionType::Discovery => None,
    };
    Ok(Identity {
        initiator: name("InitiatorName")?,
        target,
        session,
        isid: request.isid,
        tsih: request.tsih,
        cid: request.cid,
        alias: None,
    })
}
