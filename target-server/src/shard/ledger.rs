//! Where a target's reservations are kept over power loss: a small file with two slots that are
//! written in turn. What the records mean is `scsi/reservations`' business; here they are only
//! written, one at a time, durably.

use outband_ring::{Buf, Completion, Fd, Op};
use uuid::Uuid;

use crate::layer::{Linear, Segment};
use crate::media::ZeroWith;
use crate::scsi::{LogicalUnit, SLOT_LEN, slot_at};
use crate::store::{Io, Step, StoreError, Work};

/// The kept reservations of one target.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: Fd,
    layers: Linear,
    /// Number of the last record that is known to be good.
    number: u64,
    /// Which state of the reservations the file has.
    kept: u64,
    /// Which state could not be written.
    failed: Option<u64>,
    /// The slot after `number`'s may hold anything.
    in_doubt: bool,
    /// The record on its way, and of which state it is.
    writing: Option<(u64, Io)>,
}

impl Ledger {
    /// In `file`, whose newest good record is number `number` and holds the state of now.
    pub(crate) fn new(file: Fd, number: u64) -> Self {
        let len = 2 * SLOT_LEN as u64;
        let segment = Segment::file(Uuid::nil(), file, 0, len, ZeroWith::Writes);
        let layers = Linear::new(vec![segment]);
        let (failed, in_doubt, writing) = (None, false, None);
        Self { file, layers, number, kept: 0, failed, in_doubt, writing }
    }

    /// The file.
    pub(crate) const fn file(&self) -> Fd {
        self.file
    }

    /// Whether a record is on its way.
    pub(crate) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// How it went with this state of the reservations; `None` while that is not known.
    pub(crate) fn outcome(&self, version: u64) -> Option<Result<(), StoreError>> {
        if self.kept >= version {
            return Some(Ok(()));
        }
        self.failed.filter(|failed| *failed >= version).map(|_| Err(StoreError::NotKept))
    }

    /// A state that could not be written is tried again.
    pub(crate) fn forget_failure(&mut self) {
        self.failed = None;
    }

    /// Begins to write the state of now, unless the file has it or a record is on its way.
    pub(crate) fn write(&mut self, unit: &LogicalUnit) -> Option<Op> {
        let version = unit.reservations_version();
        if self.writing.is_some() || self.outcome(version).is_some() {
            return None;
        }
        // A record that failed left its slot in doubt: the next one goes there too, so that the good
        // one in the other slot is never at risk.
        self.number += if std::mem::take(&mut self.in_doubt) { 2 } else { 0 };
        let number = self.number + 1;
        let record = unit.reservations_record(number);
        let mut buf = Buf::zeroed(record.len());
        buf[..record.len()].copy_from_slice(&record);
        let work = Work::Write { buf, durable: true };
        let mut io = Io::new(work, slot_at(number), record.len() as u64);
        let step = io.step(&mut self.layers);
        self.writing = Some((version, io));
        self.go_on(step)
    }

    /// The operation of the last step has ended; the next one, if there is one.
    pub(crate) fn completed(&mut self, completion: Completion) -> Option<Op> {
        let (_, io) = self.writing.as_mut()?;
        let step = match io.completed(completion.result, completion.op, &self.layers) {
            Ok(()) => io.step(&mut self.layers),
            Err(error) => io.end(Err(error)),
        };
        self.go_on(step)
    }

    fn go_on(&mut self, step: Step) -> Option<Op> {
        let done = match step {
            Step::Submit(op) => return Some(op),
            Step::Done(done) => done,
        };
        let (version, _) = self.writing.take()?;
        match done.result {
            Ok(()) => {
                self.number += 1;
                self.kept = version;
            }
            Err(error) => {
                tracing::error!(%error, "reservations could not be kept for after a power loss");
                self.failed = Some(version);
                self.in_doubt = true;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use outband_protocol::ids::Isid;
    use outband_protocol::scsi::Cdb;
    use outband_protocol::scsi::cdb::{ReserveOut, ReserveOutAction};
    use outband_protocol::scsi::reserve::{InitiatorPort, List};
    use outband_ring::{Descriptors, Done, Errno, Token};

    use super::*;
    use crate::exports::DEFAULT_GROUP;
    use crate::scsi::{Kept, LuConfig, NexusId, TargetPort};

    const HOST: NexusId = NexusId(1);

    /// A logical unit with a host that registers key after key, and the file beside it.
    struct Bench {
        unit: LogicalUnit,
        ledger: Ledger,
        file: Vec<u8>,
    }

    fn config() -> LuConfig {
        let target = "iqn.2026-11.local.outband:test:v".to_owned();
        LuConfig::new(Uuid::from_u128(7), TargetPort::first(target), 8, 512)
    }

    impl Bench {
        fn new() -> Self {
            let mut unit = LogicalUnit::new(config());
            unit.restore_reservations(None);
            let name = "iqn.2026-11.local.host:a".parse().unwrap();
            let isid = Isid([0x80, 0, 0, 0, 0, 1]);
            unit.attach(HOST, InitiatorPort { name, isid }, DEFAULT_GROUP);
            let ledger = Ledger::new(Descriptors::new().adopt(()), 0);
            Self { unit, ledger, file: vec![0; 2 * SLOT_LEN] }
        }

        fn register(&mut self, key: u64) {
            let list = List { service_key: key, persist: true, ..List::default() }.build();
            let action = ReserveOutAction::RegisterAndIgnore;
            let cdb = Cdb::PersistentReserveOut(ReserveOut::new(action, None, 24));
            let before = self.unit.reservations_version();
            self.unit.with_parameters(HOST, &cdb, &list);
            assert!(self.unit.reservations_version() > before);
        }

        /// Ends the write on its way, after `len` bytes of it if it fails. True if another comes.
        fn end(&mut self, op: Op, fails_after: Option<usize>) -> Option<Op> {
            let Op::Write { offset, buf, at, dsync: true, .. } = &op else {
                panic!("no durable write: {op:?}");
            };
            let offset = usize::try_from(*offset).unwrap();
            let len = fails_after.unwrap_or_else(|| at.len());
            self.file[offset..offset + len].copy_from_slice(&buf[..len]);
            let result = match fails_after {
                None => Ok(Done::Bytes(u32::try_from(len).unwrap())),
                Some(_) => Err(Errno::from_raw(5)),
            };
            self.ledger.completed(Completion { token: Token(0), result, op })
        }

        fn write(&mut self, fails_after: Option<usize>) {
            let op = self.ledger.write(&self.unit).expect("there is news");
            assert!(self.end(op, fails_after).is_none());
        }

        fn kept(&self) -> Option<Kept> {
            Kept::load(&self.file, Uuid::from_u128(7)).unwrap()
        }
    }

    #[test]
    fn records_are_written_in_turn_and_only_when_there_is_news() {
        let mut bench = Bench::new();
        assert!(bench.ledger.write(&bench.unit).is_none());
        for number in 1..5 {
            bench.register(number);
            assert_eq!(bench.ledger.outcome(bench.unit.reservations_version()), None);
            bench.write(None);
            let outcome = bench.ledger.outcome(bench.unit.reservations_version());
            assert_eq!((outcome, bench.kept().unwrap().number()), (Some(Ok(())), number));
        }
        assert!(bench.ledger.write(&bench.unit).is_none());
    }

    #[test]
    fn one_record_is_on_its_way_at_a_time_and_the_next_has_all_the_news() {
        let mut bench = Bench::new();
        bench.register(1);
        let first = bench.unit.reservations_version();
        let op = bench.ledger.write(&bench.unit).unwrap();
        bench.register(2);
        bench.register(3);
        assert!(bench.ledger.write(&bench.unit).is_none());
        assert!(bench.end(op, None).is_none());
        assert_eq!(bench.ledger.outcome(first), Some(Ok(())));
        assert_eq!(bench.ledger.outcome(bench.unit.reservations_version()), None);
        bench.write(None);
        assert_eq!(bench.kept().unwrap().number(), 2);
    }

    #[test]
    fn a_record_that_fails_never_costs_the_good_one() {
        let mut bench = Bench::new();
        bench.register(1);
        bench.write(None);
        let good = bench.kept();
        for round in 0..3 {
            bench.register(10 + round);
            bench.ledger.forget_failure();
            bench.write(Some(30));
            let outcome = bench.ledger.outcome(bench.unit.reservations_version());
            assert_eq!(outcome, Some(Err(StoreError::NotKept)));
            assert!(bench.ledger.write(&bench.unit).is_none(), "nobody has asked again");
            assert_eq!(bench.kept(), good, "round {round}");
        }
        bench.ledger.forget_failure();
        bench.write(None);
        assert_ne!(bench.kept(), good);
        assert_eq!(bench.ledger.outcome(bench.unit.reservations_version()), Some(Ok(())));
    }
}
