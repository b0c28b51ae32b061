//! LOG SENSE: the pages there are, and nothing else.

use outband_protocol::scsi::cdb::LogSense;
use outband_protocol::scsi::log;

use super::*;

fn ask(page: u8, subpage: u8) -> LogSense {
    LogSense { control: 1, page, subpage, allocation: 512, ..LogSense::default() }
}

#[test]
fn every_page_that_is_listed_is_there_and_no_other() {
    let mut talk = Talk::new(disk());
    let listed = data(talk.send(A, Cdb::LogSense(ask(log::SUPPORTED_PAGES, 0))));
    assert_eq!(log::parse(&listed).unwrap(), (0, 0, &[0x00, 0x2F][..]));
    let pairs = data(talk.send(A, Cdb::LogSense(ask(log::SUPPORTED_PAGES, log::ALL_SUBPAGES))));
    let (_, _, pairs) = log::parse(&pairs).unwrap();
    for page in 0..64 {
        for subpage in [0, 1, 0xFE, 0xFF] {
            let plan = talk.send(A, Cdb::LogSense(ask(page, subpage)));
            let is_listed = pairs.chunks(2).any(|pair| *pair == [page, subpage]);
            match is_listed {
                true => assert_eq!(log::parse(&data(plan)).unwrap().0, page),
                false => assert!(describe(&plan).starts_with("IllegalRequest 24/00 at")),
            }
        }
    }
}

#[test]
fn there_is_nothing_to_warn_of_and_no_temperature() {
    let mut talk = Talk::new(disk());
    for control in 0..4 {
        let fields = LogSense { control, ..ask(log::EXCEPTIONS, 0) };
        let page = data(talk.send(A, Cdb::LogSense(fields)));
        assert_eq!(page, [0xAF, 0, 0, 8, 0, 0, 0x23, 4, 0, 0, 0xFF, 0]);
    }
    let short = LogSense { allocation: 5, ..ask(log::EXCEPTIONS, 0) };
    assert_eq!(data(talk.send(A, Cdb::LogSense(short))).len(), 5);
}

#[test]
fn nothing_is_saved_and_no_parameter_has_a_higher_number() {
    check(
        disk(),
        |talk| {
            let page = ask(log::EXCEPTIONS, 0);
            talk.send(A, Cdb::LogSense(LogSense { save: true, ..page }));
            talk.send(A, Cdb::LogSense(LogSense { parameter: 1, ..page }));
            talk.send(A, Cdb::LogSense(LogSense { subpage: 1, ..page }));
            talk.send(A, Cdb::LogSense(ask(0x0D, 0)));
        },
        "
        IllegalRequest 24/00 at 1.0
        IllegalRequest 24/00 at 5
        IllegalRequest 24/00 at 3
        IllegalRequest 24/00 at 2.5
        ",
    );
}

#[test]
fn it_may_be_asked_while_the_unit_is_stopped_or_reserved() {
    let mut talk = Talk::new(disk());
    talk.join(B);
    assert!(talk.unit.attentions.take(B).is_some());
    talk.send(A, Cdb::Reserve6);
    let page = Cdb::LogSense(ask(log::EXCEPTIONS, 0));
    assert_eq!(data(talk.send(B, page)).len(), 12);
    talk.send(A, Cdb::StartStopUnit(outband_protocol::scsi::cdb::StartStop::default()));
    assert_eq!(data(talk.send(A, page)).len(), 12);
}
