//! From the end of a login to a session that stands: redirections are followed, the logical unit is
//! asked who it is, and what cannot be repeated there is given up.

use std::time::Instant;

use super::identity::{Answer, Probe, is_same};
use super::keepalive::Keepalive;
use super::{
    Action, Config, Conn, DownReason, Event, Outcome, RESET, SLOTS_MAX, Session, State, Terms,
    login,
};
use crate::keys::PortalAddress;

impl Session {
    pub(super) fn on_login(&mut self, event: login::Event, now: Instant) {
        match event {
            login::Event::Done(logged_in) => self.on_logged_in(&logged_in, now),
            login::Event::Redirect { address, permanent } => {
                let address = PortalAddress { tag: None, ..address }.to_string();
                if self.portals.on_redirect(address.clone(), permanent) {
                    self.actions.push_back(Action::Close { abort: false });
                    self.news.push_back(Event::Down { reason: DownReason::Redirected(address) });
                    self.connect(now);
                } else {
                    self.lose(DownReason::TooManyRedirects, RESET, now);
                }
            }
            login::Event::Refused(status) => self.lose(DownReason::Refused(status), RESET, now),
        }
    }

    fn on_logged_in(&mut self, logged_in: &login::LoggedIn, now: Instant) {
        let group = logged_in.target_portal_group_tag;
        let slots = slots(&self.config);
        let terms = Terms { cid: self.config.login.cid, ..logged_in.into() };
        // One slot more, for the question who it is.
        let conn = Box::new(Conn::new(terms, slots + 1));
        match self.config.identify {
            Some(lun) => {
                let probe = Box::new(Probe::new(lun, slots));
                let give_up = now + self.config.timing.login;
                self.state = State::Identifying { conn, group, probe, give_up };
            }
            None => self.stand(conn, group, now),
        }
    }

    pub(super) fn on_answer(&mut self, answer: Answer, now: Instant) {
        let names = match answer {
            Answer::Awaited => return,
            Answer::Busy => return self.lose(DownReason::Busy, RESET, now),
            Answer::Leave => return self.lose(DownReason::Asked, RESET, now),
            Answer::Names(names) => names,
        };
        if !is_same(&self.identity, &names) {
            return self.lose(DownReason::AnotherUnit, RESET, now);
        }
        if self.identity.is_empty() {
            self.identity = names;
        }
        let state = std::mem::replace(&mut self.state, State::Over);
        if let State::Identifying { conn, group, .. } = state {
            self.stand(conn, group, now);
        }
    }

    fn stand(&mut self, conn: Box<Conn>, group: Option<u16>, now: Instant) {
        // Reinstatement ends the old nexus only where it was: at the same portal group. A target
        // that sent us here by itself has seen to the old one before (fencing); otherwise the fate
        // of a write that is on its way elsewhere is not known, and it is not repeated.
        self.news.push_back(Event::Up);
        if self.was_up && group != self.group && !self.portals.is_redirected() {
            let news = &mut self.news;
            self.requests.disown(|task| {
                news.push_back(Event::Done { task, outcome: Outcome::Unknown });
            });
        }
        self.group = group;
        self.state = State::Up(conn);
        self.keepalive = Keepalive::new(now);
        self.was_up = true;
    }
}

/// Requests that a connection of this session can have.
pub(super) fn slots(config: &Config) -> u16 {
    config.requests_max.clamp(1, SLOTS_MAX - 1)
}
