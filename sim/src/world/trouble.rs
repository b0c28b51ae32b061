//! What goes wrong on the network: silence, resets, strangers.

use super::*;

impl World {
    pub(super) fn any_conn(&mut self) -> Option<(usize, ConnId)> {
        let host = self.rng.index(self.hosts.len());
        self.hosts[host].conn().map(|conn| (host, conn))
    }

    /// The network keeps what goes one way, or either, for a while.
    pub(super) fn block(&mut self) {
        let Some((_, conn)) = self.any_conn() else {
            return;
        };
        let sides: &[Side] = match self.rng.index(3) {
            0 => &[Side::Host],
            1 => &[Side::Target],
            _ => &[Side::Host, Side::Target],
        };
        let most = self.rng.pick(&[20, 500, 10_000]);
        let after = self.rng.time(Duration::ZERO..Duration::from_millis(most));
        let mut hardware = self.hardware.borrow_mut();
        hardware.note(format_args!("{conn:?} is blocked to {sides:?} for {after:?}"));
        let at = hardware.now() + after;
        for side in sides {
            hardware.net.block(conn, *side);
            hardware.schedule(at, Event::Alarm(Alarm::Unblock(conn, *side)));
        }
    }

    /// A connection is reset, for both sides or, as far as the target knows, not at all.
    pub(super) fn reset(&mut self) {
        let Some((host, conn)) = self.any_conn() else {
            return;
        };
        let half = self.rng.coin();
        {
            let mut hardware = self.hardware.borrow_mut();
            hardware.note(format_args!("{conn:?} is reset, half {half}"));
            if half {
                hardware.net.block(conn, Side::Target);
                let at = hardware.now() + Duration::from_secs(10);
                hardware.schedule(at, Event::Alarm(Alarm::Unblock(conn, Side::Target)));
            }
            hardware.on_net(|net, now, rng| net.reset(conn, Side::Host, now, rng));
        }
        self.with_host(host, |host, ctx| host.on_disconnected(conn, ctx));
    }

    /// Somebody connects who says nothing, or nothing that makes sense, or stops in the middle.
    pub(super) fn send_stranger(&mut self) {
        let mut words = vec![0; self.rng.index(2000)];
        self.rng.fill(&mut words);
        if let Some(first) = words.first_mut().filter(|_| self.rng.coin()) {
            // Like a Login Request, at first.
            *first = 0x43;
        }
        let portal = self.setup.portal(self.rng.index(self.setup.shards));
        let from = SocketAddr::from((
            [10, 0, 9, 9],
            1024 + u16::try_from(self.strangers.len()).unwrap_or(0),
        ));
        let mut hardware = self.hardware.borrow_mut();
        let conn = hardware.connect(from, portal);
        hardware.note(format_args!("a stranger with {} bytes", words.len()));
        self.strangers.insert(conn, words);
    }

    pub(super) fn on_stranger(&mut self, news: News, conn: ConnId) {
        let Some(words) = self.strangers.get(&conn).filter(|_| news == News::Connected(conn))
        else {
            return;
        };
        let mut hardware = self.hardware.borrow_mut();
        hardware.on_net(|net, now, rng| {
            let words = std::iter::once(words.as_slice()).filter(|words| !words.is_empty());
            net.write(conn, Side::Host, words, now, rng)
        });
    }
}
