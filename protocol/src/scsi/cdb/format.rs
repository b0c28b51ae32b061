//! FORMAT UNIT (SBC-3 §5.3): its fields. What is done with them is the logical unit's.

/// The fields of FORMAT UNIT. How long its parameter list is only the list itself says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FormatUnit {
    /// FMTPINFO: with what protection information.
    pub protect: u8,
    /// LONGLIST: the header of the list is the long one.
    pub long_header: bool,
    /// FMTDATA: there is a parameter list.
    pub has_list: bool,
    /// CMPLST: the defects of the list are all there are.
    pub complete: bool,
    /// DEFECT LIST FORMAT.
    pub defect_format: u8,
}

impl FormatUnit {
    pub(super) fn parse(cdb: &[u8; 16]) -> Self {
        Self {
            protect: cdb[1] >> 6,
            long_header: cdb[1] & 0x20 != 0,
            has_list: cdb[1] & 0x10 != 0,
            complete: cdb[1] & 0x08 != 0,
            defect_format: cdb[1] & 0x07,
        }
    }

    pub(super) fn build(&self, cdb: &mut [u8; 16]) {
        cdb[1] = self.protect << 6
            | u8::from(self.long_header) << 5
            | u8::from(self.has_list) << 4
            | u8::from(self.complete) << 3
            | self.defect_format & 0x07;
    }

    /// Bytes of the list's header, if there is a list.
    #[must_use]
    pub const fn header_len(&self) -> u8 {
        match (self.has_list, self.long_header) {
            (false, _) => 0,
            (true, false) => 4,
            (true, true) => 8,
        }
    }
}
