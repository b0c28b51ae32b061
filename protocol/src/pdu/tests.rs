//! Every PDU survives the wire, and no header makes the reader panic.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_request_that_was_read_is_written_and_read_again_the_same(bytes: [u8; 48], code in 0u8..0x11) {
        let mut bhs = Bhs(bytes);
        bhs.0[0] = bhs.0[0] & 0xc0 | code;
        if let Ok(request) = Request::parse(&bhs) {
            prop_assert_eq!(Request::parse(&request.build()), Ok(request));
        }
    }

    #[test]
    fn a_response_that_was_read_is_written_and_read_again_the_same(bytes: [u8; 48], code in 0x20u8..0x40) {
        let mut bhs = Bhs(bytes);
        bhs.0[0] = code;
        if let Ok(response) = Response::parse(&bhs) {
            prop_assert_eq!(Response::parse(&response.build()), Ok(response));
        }
    }
}

#[test]
fn a_scsi_command_is_laid_out_as_the_standard_draws_it() {
    let command = ScsiCommand {
        order: Order { immediate: false, cmd_sn: Sn(0x0a0b_0c0d), exp_stat_sn: Sn(0x0102_0304) },
        last: true,
        read: true,
        write: false,
        attribute: TaskAttribute::Simple,
        lun: Lun(5 << 48),
        itt: Itt(0x1122_3344),
        expected_len: 0x0001_0000,
        cdb: [0x28, 0, 0, 0, 0, 7, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0],
    };
    let bhs = command.build();
    assert_eq!(bhs.0[..2], [0x01, 0xc1]);
    assert_eq!(bhs.0[8..16], [0, 5, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bhs.0[16..32], [0x11, 0x22, 0x33, 0x44, 0, 1, 0, 0, 10, 11, 12, 13, 1, 2, 3, 4]);
    assert_eq!(bhs.0[32..48], command.cdb);
}

#[test]
fn reserved_stages_and_conflicting_residuals_are_refused() {
    let mut login = Bhs::new(opcode::LOGIN_REQUEST);
    login.0[1] = 0x08;
    assert_eq!(Request::parse(&login), Err(HeaderError::Field(FieldError("CSG or NSG"))));
    let mut response = Bhs::new(opcode::SCSI_RESPONSE);
    response.0[1] = 0x86;
    assert_eq!(Response::parse(&response), Err(HeaderError::Field(FieldError("residual flags"))));
    assert_eq!(Request::parse(&Bhs::new(0x3f)), Err(HeaderError::Opcode(0x3f)));
}

#[test]
fn a_residual_tells_less_from_more() {
    assert_eq!(Residual::between(512, 512), Residual::None);
    assert_eq!(Residual::between(512, 36), Residual::Underflow(476));
    assert_eq!(Residual::between(512, 1024), Residual::Overflow(512));
    assert_eq!(Residual::between(0, 1 << 40), Residual::Overflow(u32::MAX));
}
