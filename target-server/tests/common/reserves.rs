//! PERSISTENT RESERVE, as a session says it.

use outband_protocol::ids::Itt;
use outband_protocol::pdu::{Request, Response, ScsiCommand};
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::cdb::{ReserveIn, ReserveOut, ReserveOutAction as Action};
use outband_protocol::scsi::reserve::{Kind, List, parse_keys, parse_reservation};

use super::raw::Raw;

/// What whoever was preempted is told (REGISTRATIONS PREEMPTED).
pub(crate) const GONE: &str = "02 6/2a05";

/// Hosts that say PERSISTENT RESERVE.
pub(crate) trait Reserves {
    fn out(&mut self, action: Action, kind: Option<Kind>, list: &List) -> Itt;
    fn told(&mut self, what: ReserveIn) -> Vec<u8>;

    fn register(&mut self, key: u64, persist: bool) -> Itt {
        let list = List { service_key: key, persist, ..List::default() };
        self.out(Action::RegisterAndIgnore, None, &list)
    }

    fn reserve(&mut self, key: u64, kind: Kind) -> Itt {
        self.out(Action::Reserve, Some(kind), &List { key, ..List::default() })
    }

    fn preempt(&mut self, key: u64, other: u64, kind: Kind, abort: bool) -> Itt {
        let action = if abort { Action::PreemptAndAbort } else { Action::Preempt };
        self.out(action, Some(kind), &List { key, service_key: other, ..List::default() })
    }

    fn keys(&mut self) -> Vec<u64> {
        parse_keys(&self.told(ReserveIn::ReadKeys)).unwrap().1
    }

    fn held(&mut self) -> Option<(u64, Kind)> {
        parse_reservation(&self.told(ReserveIn::ReadReservation)).unwrap().1
    }
}

impl Reserves for Raw {
    fn out(&mut self, action: Action, kind: Option<Kind>, list: &List) -> Itt {
        let list = list.build();
        let len = u32::try_from(list.len()).unwrap();
        let command =
            self.command(&Cdb::PersistentReserveOut(ReserveOut::new(action, kind, len)).build());
        self.send(
            Request::Command(ScsiCommand { write: true, expected_len: len, ..command }),
            &list,
        );
        command.itt
    }

    fn told(&mut self, what: ReserveIn) -> Vec<u8> {
        let command = self.command(&Cdb::PersistentReserveIn { what, allocation: 4096 }.build());
        self.send(Request::Command(ScsiCommand { read: true, expected_len: 4096, ..command }), &[]);
        let said = self.said();
        match said.response {
            Response::DataIn(data) if data.status.is_some() => said.data,
            other => panic!("no data: {other:?}"),
        }
    }
}

/// Says something, and it is done.
pub(crate) fn does(session: &mut Raw, what: impl FnOnce(&mut Raw) -> Itt) {
    let itt = what(session);
    session.ends(itt, "00");
}
