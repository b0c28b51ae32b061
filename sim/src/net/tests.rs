use super::*;

/// A network whose events are carried out in order.
struct Bench {
    net: Net,
    rng: Rng,
    now: Moment,
    queue: BTreeMap<(Moment, u64), Event>,
    count: u64,
}

impl Bench {
    fn new(seed: u64, segment_len_max: usize) -> Self {
        let faults = Faults { segment_len_max, window: 4096, ..Faults::default() };
        let (net, rng) = (Net::new(faults), Rng::new(seed));
        Self { net, rng, now: Moment::ZERO, queue: BTreeMap::new(), count: 0 }
    }

    fn connected(&mut self) -> ConnId {
        let portal = "10.0.0.1:3260".parse().unwrap();
        let listener = self.net.listen(portal);
        let host = "10.0.1.1:5000".parse().unwrap();
        let conn = self.net.connect(host, portal, self.now, &mut self.rng);
        let news = self.run();
        assert_eq!(news, [News::Acceptable(listener), News::Connected(conn)]);
        assert_eq!(self.net.accept(listener), Some(conn));
        conn
    }

    /// Everything that happens until nothing does.
    fn run(&mut self) -> Vec<News> {
        let mut news = self.net.take_news();
        loop {
            for (due, event) in self.net.take_due() {
                self.count += 1;
                self.queue.insert((due, self.count), event);
            }
            let Some(((due, _), event)) = self.queue.pop_first() else {
                return news;
            };
            self.now = self.now.max(due);
            self.net.handle(event, self.now, &mut self.rng);
            news.extend(self.net.take_news());
        }
    }

    fn write(&mut self, conn: ConnId, side: Side, bytes: &[u8]) -> Written {
        self.net.write(conn, side, std::iter::once(bytes), self.now, &mut self.rng)
    }

    fn read(&mut self, conn: ConnId, side: Side) -> (Vec<u8>, Read) {
        let (mut all, mut buf) = (Vec::new(), [0; 100]);
        loop {
            match self.net.read(conn, side, &mut buf, &mut self.rng) {
                Read::Bytes(count) if count > 0 => all.extend_from_slice(&buf[..count]),
                end => return (all, end),
            }
        }
    }
}

#[test]
fn a_stream_arrives_whole_and_in_order_however_it_is_cut() {
    for seed in 0..20 {
        let mut bench = Bench::new(seed, 1 + 7 * usize::try_from(seed).unwrap());
        let conn = bench.connected();
        let sent: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let (mut rest, mut got) = (&sent[..], Vec::new());
        while !rest.is_empty() {
            if let Written::Bytes(count) = bench.write(conn, Side::Host, rest) {
                rest = &rest[count..];
            }
            bench.run();
            got.extend(bench.read(conn, Side::Target).0);
        }
        assert_eq!(got, sent);
    }
}

#[test]
fn what_was_sent_before_a_close_arrives_when_the_network_heals() {
    let mut bench = Bench::new(1, 64);
    let conn = bench.connected();
    bench.net.block(conn, Side::Target);
    bench.write(conn, Side::Host, b"ghost");
    bench.net.close(conn, Side::Host, bench.now, &mut bench.rng);
    assert_eq!(bench.run(), []);
    assert_eq!(bench.read(conn, Side::Target), (vec![], Read::Nothing));
    bench.net.unblock(conn, Side::Target, bench.now);
    bench.run();
    let (bytes, end) = bench.read(conn, Side::Target);
    assert!(b"ghost".starts_with(&bytes[..]) && !bytes.is_empty());
    assert_eq!(end, Read::Bytes(0));
}

#[test]
fn a_reset_is_told_to_the_other_side() {
    let mut bench = Bench::new(1, 64);
    let conn = bench.connected();
    bench.net.reset(conn, Side::Host, bench.now, &mut bench.rng);
    bench.run();
    assert_eq!(bench.read(conn, Side::Target), (vec![], Read::Broken(Errno::CONNRESET)));
    assert_eq!(bench.write(conn, Side::Target, b"x"), Written::Broken(Errno::PIPE));
}

#[test]
fn a_target_without_power_is_silent_and_with_power_resets_what_it_does_not_know() {
    let mut bench = Bench::new(1, 64);
    let conn = bench.connected();
    bench.net.lose_power();
    bench.write(conn, Side::Host, b"anybody there?");
    assert_eq!(bench.run(), []);
    bench.net.restore_power();
    bench.write(conn, Side::Host, b"and now?");
    bench.run();
    assert_eq!(bench.read(conn, Side::Host).1, Read::Broken(Errno::CONNRESET));
}

#[test]
fn nobody_listening_is_a_refusal() {
    let mut bench = Bench::new(1, 64);
    let (host, at) = ("10.0.1.1:5000".parse().unwrap(), "10.0.0.1:3260".parse().unwrap());
    let conn = bench.net.connect(host, at, bench.now, &mut bench.rng);
    assert_eq!(bench.run(), [News::Refused(conn)]);
}
