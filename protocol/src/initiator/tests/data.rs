//! Data and responses that are rare, and legal.

use super::*;

#[test]
fn empty_data_is_taken_and_no_data_is_acknowledged() {
    check(terms(), |talk| {
        talk.conn.start(TASK, &read(KIB)).unwrap();
        talk.sent();
        let pdu = DataIn {
            last: true,
            // For error recovery levels above ours (§11.7.2).
            acknowledge: true,
            status: None,
            lun: Lun::ZERO,
            itt: tasks::itt(TASK),
            ttt: TTT,
            sequence: talk.sequence(),
            data_sn: Sn(0),
            offset: 0,
        };
        assert_eq!(talk.tell(Response::DataIn(pdu), &[7; 512]).unwrap(), ["data 0..512"]);
        assert_eq!(talk.data_in(512, 1, 0, false).unwrap(), [""; 0]);
        let words = talk.data_in(512, 2, 512, true).unwrap();
        assert_eq!(words, ["data 512..1024", "done 0x0 after 1024"]);
        assert_eq!(talk.sent(), [""; 0]);
    });
}

#[test]
fn a_response_code_ends_the_command_whatever_status_stands_beside_it() {
    check(terms(), |talk| {
        talk.conn.start(TASK, &read(KIB)).unwrap();
        talk.sent();
        let (itt, sequence) = (tasks::itt(TASK), talk.sequence());
        let (residual, exp_data_sn) = (Residual::None, Sn(0));
        let pdu = ScsiResponse { response: 1, status: 0, residual, itt, sequence, exp_data_sn };
        assert_eq!(talk.tell(Response::Command(pdu), &[]).unwrap(), ["done TargetFailure(1)"]);
    });
}
