//! What a broken or hostile target sends, and that it costs the connection and nothing else.

use super::*;
use crate::ids::Tsih;
use crate::pdu::{Bhs, LoginResponse, LoginStatus, Stage};

/// What the target does wrong, and what we call it.
#[test]
fn an_offence_ends_the_connection() {
    type Offence = fn(&mut Talk) -> Result<Vec<String>, PeerError>;
    let reads: [(&str, Offence); 10] = [
        ("DataInBeyondEnd", |talk| talk.data_in(0, 0, 9 * KIB, true)),
        ("DataInOutOfOrder", |talk| talk.data_in(512, 0, 512, false)),
        ("DataInOutOfOrder", |talk| talk.data_in(0, 1, 512, false)),
        ("DataInOutOfOrder", |talk| {
            talk.data_in(0, 0, 512, false)?;
            talk.data_in(0, 1, 512, false)
        }),
        ("SegmentTooLong", |talk| talk.data_in(0, 0, 17 * KIB, false)),
        ("R2tNotAllowed", |talk| talk.r2t(0, 0, 512)),
        ("StatSn", |talk| {
            talk.stat_sn = talk.stat_sn.next();
            talk.respond(0, &[])
        }),
        ("UnknownTask", |talk| {
            talk.respond(0, &[])?;
            talk.respond(0, &[])
        }),
        ("UnknownTask", |talk| {
            // Answered before it was sent: the tag was guessed.
            talk.respond(0, &[])?;
            talk.conn.start(TASK, &read(512)).unwrap();
            talk.respond(0, &[])
        }),
        ("UnknownTask", |talk| {
            talk.data_in(0, 0, 512, true)?;
            talk.data_in(0, 0, 512, true)
        }),
    ];
    for (name, offence) in reads {
        expect_offence(name, &read(8 * KIB), offence);
    }
    let writes: [(&str, Offence); 10] = [
        ("DataInNotAsked", |talk| talk.data_in(0, 0, 512, true)),
        ("R2tOutOfOrder", |talk| talk.r2t(0, 0, 8 * KIB)),
        ("R2tOutOfOrder", |talk| talk.r2t(1, 16 * KIB, 8 * KIB)),
        ("R2tLength", |talk| talk.r2t(0, 16 * KIB, 0)),
        ("R2tLength", |talk| talk.r2t(0, 16 * KIB, 33 * KIB)),
        ("TooManyR2ts", |talk| {
            talk.r2t(0, 16 * KIB, 8 * KIB)?;
            talk.r2t(1, 24 * KIB, 8 * KIB)
        }),
        ("R2tLength", |talk| {
            talk.r2t(0, 16 * KIB, 32 * KIB)?;
            talk.sent();
            talk.r2t(1, 48 * KIB, 13 * KIB)
        }),
        ("R2tLength", |talk| talk.r2t(0, 16 * KIB, u32::MAX)),
        ("R2tOfOtherUnit", |talk| talk.r2t_at(Lun(1 << 48), 0, 16 * KIB, 8 * KIB)),
        ("NegotiationReset", |talk| talk.reject(RejectReason::NegotiationReset, &[0; 48])),
    ];
    for (name, offence) in writes {
        expect_offence(name, &write(60 * KIB), offence);
    }
}

fn expect_offence(
    name: &str,
    command: &Command,
    offence: fn(&mut Talk) -> Result<Vec<String>, PeerError>,
) {
    check(terms(), |talk| {
        talk.conn.start(TASK, command).unwrap();
        talk.sent();
        let got = format!("{:?}", offence(talk).expect_err(name));
        assert!(got.contains(name), "{got} where {name} was expected");
    });
}

#[test]
fn what_has_no_place_here_ends_the_connection() {
    let nop = |itt| NopIn { lun: Lun::ZERO, itt, ttt: Ttt::NONE, sequence: Sequence::default() };
    let sequence = Sequence { stat_sn: Sn(1000), ..Sequence::default() };
    let itt = Itt(5);
    let login = LoginResponse {
        transit: Some(Stage::FullFeature),
        more: false,
        current: Stage::Operational,
        version_max: 0,
        version_active: 0,
        isid: crate::ids::Isid([0; 6]),
        tsih: Tsih(0),
        itt,
        sequence,
        status: LoginStatus::SUCCESS,
    };
    let text =
        TextResponse { last: true, more: false, lun: Lun::ZERO, itt, ttt: Ttt::NONE, sequence };
    let logout = LogoutResponse {
        result: LogoutResult::Closed,
        itt,
        sequence,
        time_to_wait: 0,
        time_to_retain: 0,
    };
    let manage = TaskManagementResponse {
        result: TaskManagementResult::Complete,
        itt: Tag::Abort(TASK).itt(),
        sequence,
    };
    for response in [
        Response::NopIn(nop(Tag::Ping(1).itt())),
        Response::NopIn(nop(Itt(0xffff_fffe))),
        Response::Login(login),
        Response::Text(text),
        Response::Logout(logout),
        Response::TaskManagement(manage),
    ] {
        let mut talk = Talk::new(terms(), 48);
        assert!(talk.tell(response, &[]).is_err(), "{response:?}");
    }
    let mut talk = Talk::new(terms(), 48);
    let mut bhs = Bhs::default();
    bhs.0[0] = 0x3e;
    assert!(talk.feed(&bhs.0).is_err(), "no such opcode");
}

proptest::proptest! {
    #[test]
    fn no_stream_makes_it_panic_or_grow(
        headers in proptest::collection::vec(
            (proptest::array::uniform32(proptest::num::u8::ANY), 0usize..11, 0u8..40), 1..60,
        ),
    ) {
        use crate::pdu::opcode::{
            ASYNC_MESSAGE, DATA_IN, LOGOUT_RESPONSE, NOP_IN, R2T, REJECT, SCSI_RESPONSE,
            TASK_MANAGEMENT_RESPONSE, TEXT_RESPONSE,
        };
        let codes = [
            ASYNC_MESSAGE, DATA_IN, DATA_IN, LOGOUT_RESPONSE, NOP_IN, R2T, R2T, REJECT,
            SCSI_RESPONSE, TASK_MANAGEMENT_RESPONSE, TEXT_RESPONSE,
        ];
        let mut conn = Conn::new(terms(), 16);
        for slot in 0..4 {
            let command = if slot % 2 == 0 { read(8 * KIB) } else { write(60 * KIB) };
            conn.start(TaskId { slot, generation: 0 }, &command).unwrap();
        }
        while conn.poll_transmit().is_some() {}
        for (noise, code, len) in headers {
            let mut bhs = Bhs::default();
            // Plausible: a live task, small numbers, the StatSN that is due.
            bhs.0[0] = codes[code];
            bhs.0[1] = noise[0];
            bhs.0[7] = len;
            bhs.0[19] = noise[1] % 5;
            bhs.0[24..28].copy_from_slice(&conn.exp_stat_sn().0.to_be_bytes());
            bhs.0[39] = noise[2] % 3;
            bhs.0[42] = noise[3] % 64;
            bhs.0[46] = noise[4];
            let mut bytes = bhs.0.to_vec();
            bytes.resize(48 + usize::from(len).next_multiple_of(4), noise[5]);
            let mut input = &bytes[..];
            loop {
                match conn.next_event(&mut input) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
            while conn.poll_transmit().is_some() {}
        }
    }
}
