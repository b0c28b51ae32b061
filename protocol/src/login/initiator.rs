//! The initiator's login: [`Login`] sends requests until the target has let it in, sent it away or
//! shown that it cannot be believed.

mod auth;

use std::collections::VecDeque;

use self::auth::Auth;
use super::{Credentials, LoginError, PIECE_LEN_MAX, is_forward};
use crate::framer::{Frame, Framer};
use crate::ids::{Cid, IscsiName, Isid, Itt, Tsih};
use crate::keys::{
    Negotiation, Offer, Pairs, Params, PortalAddress, Role, SessionType, TextBuffer, TextQueue,
    number,
};
use crate::limits::{LOGIN_ROUNDS_MAX, LOGIN_SEGMENT_LEN_MAX};
use crate::pdu::{Bhs, LoginRequest, LoginResponse, LoginStatus, Order, Response, Sequence, Stage};
use crate::serial::Sn;
use crate::transmit::{Body, Digests, Transmit};

/// Every request of a login bears this tag; no task can have been started yet.
const ITT: Itt = Itt(0);

/// Who logs in, where, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// InitiatorName.
    pub name: IscsiName,
    /// InitiatorAlias.
    pub alias: Option<String>,
    /// TargetName; `None` for a discovery session.
    pub target: Option<IscsiName>,
    /// Our part of the session's name.
    pub isid: Isid,
    /// 0 for a new session, the old handle to reinstate a connection of a session that lives.
    pub tsih: Tsih,
    /// The connection's name.
    pub cid: Cid,
    /// What we propose.
    pub offer: Offer,
    /// What proves us. With `mutual`, the target must prove itself too.
    pub chap: Option<Credentials>,
    /// CHAP_I and CHAP_C for the target: unpredictable, at least 16 bytes, for this login alone.
    /// Used with `mutual` only.
    pub challenge: (u8, Vec<u8>),
    /// CmdSN that the session starts with.
    pub cmd_sn: Sn,
}

/// A session that was let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedIn {
    /// What was agreed.
    pub params: Params,
    /// The session's handle.
    pub tsih: Tsih,
    /// StatSN of the next response.
    pub exp_stat_sn: Sn,
    /// CmdSN of the first command.
    pub cmd_sn: Sn,
    /// CmdSN of the last command that may be sent now.
    pub max_cmd_sn: Sn,
    /// TargetPortalGroupTag.
    pub target_portal_group_tag: Option<u16>,
    /// TargetAlias, for people.
    pub target_alias: Option<String>,
}

/// How a login ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The session stands.
    Done(LoggedIn),
    /// The target is elsewhere. The application bounds the number of hops.
    Redirect {
        /// Where.
        address: PortalAddress,
        /// Whether to remember it.
        permanent: bool,
    },
    /// The target turned us away.
    Refused(LoginStatus),
}

/// A login as the initiator sees it.
#[derive(Debug)]
pub struct Login {
    config: Config,
    framer: Framer,
    stage: Stage,
    /// The last request, which is sent anew with other text and stages.
    request: LoginRequest,
    /// The response being read.
    response: Option<LoginResponse>,
    rounds: u32,
    exp_stat_sn: Option<Sn>,
    incoming: TextBuffer,
    outgoing: TextQueue,
    auth: Auth,
    negotiation: Negotiation,
    target_portal_group_tag: Option<u16>,
    target_alias: Option<String>,
    transmits: VecDeque<Transmit>,
    over: bool,
}

impl Login {
    /// Starts a login: its first request is there to be sent.
    ///
    /// # Panics
    ///
    /// When the target must prove itself and the challenge has less than 16 bytes.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let session =
            if config.target.is_some() { SessionType::Normal } else { SessionType::Discovery };
        let mut login = Self {
            framer: Framer::new(Digests::default(), LOGIN_SEGMENT_LEN_MAX),
            stage: Stage::Security,
            request: first_request(&config),
            response: None,
            rounds: 0,
            exp_stat_sn: None,
            incoming: TextBuffer::default(),
            outgoing: TextQueue::default(),
            auth: Auth::new(
                config.chap.clone(),
                config.offer.chap_algorithms.clone(),
                config.challenge.clone(),
            ),
            negotiation: Negotiation::new(Role::Initiator, session, config.offer.clone()),
            target_portal_group_tag: None,
            target_alias: None,
            transmits: VecDeque::new(),
            over: false,
            config,
        };
        login.introduce(session);
        login.ask();
        login
    }

    /// Takes bytes off the front of `input` and says how the login ended, once it has.
    pub fn next_event(&mut self, input: &mut &[u8]) -> Result<Option<Event>, LoginError> {
        while !self.over {
            match self.framer.next(input)? {
                None => break,
                Some(Frame::Header(bhs)) => self.on_header(&bhs)?,
                Some(Frame::Data { bytes, .. }) => self.incoming.add(bytes)?,
                Some(Frame::End { .. }) => {
                    if let Some(event) = self.on_end()? {
                        self.over = true;
                        return Ok(Some(event));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The next PDU to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn introduce(&mut self, session: SessionType) {
        self.outgoing.write("InitiatorName", &self.config.name);
        if let Some(alias) = &self.config.alias {
            self.outgoing.write("InitiatorAlias", alias);
        }
        self.outgoing.write("SessionType", session.as_str());
        if let Some(target) = &self.config.target {
            self.outgoing.write("TargetName", target);
        }
        self.auth.offer(&mut self.outgoing);
    }

    /// Sends the next piece of what there is to say, and asks to move on when all is said.
    fn ask(&mut self) {
        let (text, more) = self.outgoing.next_piece(PIECE_LEN_MAX);
        let next = match self.stage {
            Stage::Security => Stage::Operational,
            _ => Stage::FullFeature,
        };
        let ready = !more && (self.stage != Stage::Security || self.auth.is_ready());
        self.request.current = self.stage;
        self.request.more = more;
        self.request.transit = ready.then_some(next);
        self.request.order.exp_stat_sn = self.exp_stat_sn.unwrap_or_default();
        let body = if text.is_empty() { Body::None } else { Body::Bytes(text) };
        let transmit = Transmit::new(self.request.build(), body, Digests::default());
        self.transmits.push_back(transmit);
    }

    fn on_header(&mut self, bhs: &Bhs) -> Result<(), LoginError> {
        let Response::Login(response) = Response::parse(bhs)? else {
            return Err(LoginError::NotALogin(bhs.opcode()));
        };
        self.rounds += 1;
        if self.rounds > LOGIN_ROUNDS_MAX {
            return Err(LoginError::TooManyRounds);
        }
        if response.itt != ITT {
            return Err(LoginError::WrongField("ITT"));
        }
        if response.status == LoginStatus::SUCCESS {
            self.check_progress(&response)?;
        }
        self.response = Some(response);
        Ok(())
    }

    /// What only a response that goes on with the login must have right.
    fn check_progress(&mut self, response: &LoginResponse) -> Result<(), LoginError> {
        let stat_sn = response.sequence.stat_sn;
        let wrong = if response.isid != self.config.isid {
            Some("ISID")
        } else if response.version_active != 0 {
            Some("version")
        } else if response.current != self.stage {
            Some("CSG")
        } else if self.exp_stat_sn.is_some_and(|expected| expected != stat_sn) {
            Some("StatSN")
        } else if response.more && response.transit.is_some() {
            Some("T with C")
        } else if response.transit.is_some() && self.request.transit.is_none() {
            Some("T")
        } else if response.transit.is_some_and(|next| self.is_too_far(next)) {
            Some("NSG")
        } else {
            None
        };
        self.exp_stat_sn = Some(stat_sn.next());
        wrong.map_or(Ok(()), |field| Err(LoginError::WrongField(field)))
    }

    /// Only the stage that we asked for is left to the target: it lies right after ours.
    fn is_too_far(&self, next: Stage) -> bool {
        !is_forward(self.stage, next) || self.request.transit != Some(next)
    }

    fn on_end(&mut self) -> Result<Option<Event>, LoginError> {
        let response = self.response.take().expect("a header came before the end of its PDU");
        if response.status != LoginStatus::SUCCESS {
            let text = self.incoming.end_of_pdu(false)?.unwrap_or_default();
            return turned_away(response.status, &text).map(Some);
        }
        if self.request.more {
            // The target waits for the rest of our text, and has nothing to say before.
            if response.more || !self.incoming.is_empty() {
                return Err(LoginError::WrongField("text"));
            }
            self.ask();
            return Ok(None);
        }
        let Some(text) = self.incoming.end_of_pdu(response.more)? else {
            self.ask();
            return Ok(None);
        };
        self.on_keys(&Pairs::parse(&text)?)?;
        self.go_on(&response)
    }

    fn on_keys(&mut self, pairs: &Pairs<'_>) -> Result<(), LoginError> {
        if let Some(tag) = pairs.value("TargetPortalGroupTag") {
            let tag = number(tag).and_then(|tag| u16::try_from(tag).ok());
            self.target_portal_group_tag =
                Some(tag.ok_or(LoginError::WrongField("TargetPortalGroupTag"))?);
        }
        if let Some(alias) = pairs.value("TargetAlias") {
            self.target_alias = Some(alias.to_owned());
        }
        if self.stage == Stage::Security {
            self.auth.take(pairs, &mut self.outgoing)?;
        }
        Ok(self.negotiation.take(pairs, self.stage, &mut self.outgoing)?)
    }

    fn go_on(&mut self, response: &LoginResponse) -> Result<Option<Event>, LoginError> {
        match response.transit {
            // T is not asked for before, so this holds by itself; it is too dear to rest on that.
            Some(_) if self.stage == Stage::Security && !self.auth.is_proved() => {
                return Err(LoginError::TargetNotAuthenticated);
            }
            // An offer that we would have to answer cannot come with the end of the login.
            Some(Stage::FullFeature) if !self.outgoing.is_empty() => {
                return Err(LoginError::WrongField("T while keys wait for an answer"));
            }
            Some(Stage::FullFeature) => return self.done(response).map(Some),
            Some(next) => {
                self.stage = next;
                self.negotiation.propose(&mut self.outgoing);
            }
            None => {}
        }
        self.ask();
        Ok(None)
    }

    fn done(&self, response: &LoginResponse) -> Result<Event, LoginError> {
        if response.tsih == Tsih(0) {
            return Err(LoginError::WrongField("TSIH"));
        }
        let Sequence { stat_sn, exp_cmd_sn, max_cmd_sn } = response.sequence;
        // A window that ends before it begins by more than one is not looked at (§4.2.2.1).
        let window_is_sane = !exp_cmd_sn.minus(1).after(max_cmd_sn);
        let cmd_sn = self.config.cmd_sn;
        Ok(Event::Done(LoggedIn {
            params: self.negotiation.finish()?,
            tsih: response.tsih,
            exp_stat_sn: stat_sn.next(),
            cmd_sn,
            max_cmd_sn: if window_is_sane { max_cmd_sn } else { cmd_sn.minus(1) },
            target_portal_group_tag: self.target_portal_group_tag,
            target_alias: self.target_alias.clone(),
        }))
    }
}

fn first_request(config: &Config) -> LoginRequest {
    LoginRequest {
        transit: None,
        more: false,
        current: Stage::Security,
        version_max: 0,
        version_min: 0,
        isid: config.isid,
        tsih: config.tsih,
        itt: ITT,
        cid: config.cid,
        order: Order { immediate: true, cmd_sn: config.cmd_sn, exp_stat_sn: Sn(0) },
    }
}

/// A status other than success: elsewhere, or nowhere.
fn turned_away(status: LoginStatus, text: &[u8]) -> Result<Event, LoginError> {
    if status.class != LoginStatus::MOVED_TEMPORARILY.class {
        return Ok(Event::Refused(status));
    }
    let address = Pairs::parse(text)?
        .value("TargetAddress")
        .and_then(|address| address.parse::<PortalAddress>().ok())
        .ok_or(LoginError::BadRedirect)?;
    Ok(Event::Redirect { address, permanent: status == LoginStatus::MOVED_PERMANENTLY })
}
