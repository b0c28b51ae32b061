//! In a steady state no command costs an allocation.

use outband_protocol::ids::{Itt, Lun};
use outband_protocol::pdu::{Bhs, DataOut, Order, Request, Response, ScsiCommand, TaskAttribute};
use outband_protocol::serial::Sn;
use outband_protocol::target::{Conn, Event, Outcome};

use crate::world::{admitted, session};

const LEN: u32 = 4096;

/// The PDU with a segment of `len`, built without help of the heap.
fn header(request: Request, len: u16) -> Bhs {
    let mut bhs = request.build();
    bhs.0[6..8].copy_from_slice(&len.to_be_bytes());
    bhs
}

fn command(number: u32, write: bool) -> Request {
    Request::Command(ScsiCommand {
        order: Order { immediate: false, cmd_sn: Sn(number), exp_stat_sn: Sn(0) },
        last: true,
        read: !write,
        write,
        attribute: TaskAttribute::Simple,
        lun: Lun::ZERO,
        itt: Itt(number),
        expected_len: 2 * LEN,
        cdb: [0; 16],
    })
}

fn feed(conn: &mut Conn, mut input: &[u8]) {
    while let Some(event) = conn.next_event(&mut input).unwrap() {
        match event {
            Event::Command(command) if command.read => {
                let (data_in, wanted) = (2 * LEN, u64::from(2 * LEN));
                conn.send_data(command.task, LEN);
                conn.complete(command.task, Outcome { data_in, wanted, ..Outcome::default() });
            }
            Event::Command(command) => conn.accept_data(command.task, 2 * LEN),
            Event::WriteReady(task) => conn.complete(task, Outcome::default()),
            _ => {}
        }
    }
}

/// Reads and writes, eight at a time; half of each write's data is immediate, half asked for.
fn round(conn: &mut Conn, first: u32) {
    let data = [7; LEN as usize];
    for number in first..first + 8 {
        let write = number.is_multiple_of(2);
        feed(conn, &header(command(number, write), if write { 4096 } else { 0 }).0);
        if write {
            feed(conn, &data);
        }
    }
    while let Some(transmit) = conn.poll_transmit() {
        if let Ok(Response::R2t(r2t)) = Response::parse(&transmit.bhs()) {
            let out = DataOut {
                last: true,
                lun: r2t.lun,
                itt: r2t.itt,
                ttt: r2t.ttt,
                exp_stat_sn: Sn(0),
                data_sn: Sn(0),
                offset: r2t.offset,
            };
            feed(conn, &header(Request::DataOut(out), 4096).0);
            feed(conn, &data);
        }
    }
}

#[test]
fn commands_cost_no_allocation_once_the_tables_have_grown() {
    let mut conn = Conn::new(admitted(&session(|_| ())));
    let mut first = 1;
    let mut rounds = |count: u32| {
        for _ in 0..count {
            round(&mut conn, first);
            assert_eq!(conn.in_flight(), 0);
            first += 8;
        }
    };
    rounds(4);
    let counted = allocation_counter::measure(|| rounds(100));
    assert_eq!(counted.count_total, 0);
}
