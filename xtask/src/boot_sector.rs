//! A boot sector that proves a disk: it says who it is on the first serial port, reads 4 KiB from the
//! disk it came from, compares them, writes them to another place, says so, and resets the machine.
//! Assembled by hand; each line has its bytes and what they mean.

/// What it says once it runs.
pub(crate) const HELLO: &str = "OUTBAND boot sector";
/// What it says when all went well.
pub(crate) const GOOD: &str = "OUTBAND read and wrote";

/// What it expects to read, in every byte.
pub(crate) const PATTERN: u8 = 0x5a;
/// Where it reads.
pub(crate) const READS: Run = Run { offset: 8 * 512, len: 8 * 512 };
/// Where it writes.
pub(crate) const WRITES: Run = Run { offset: 64 * 512, len: 8 * 512 };

/// A range of the disk in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// 16-bit code, loaded at 7C00h with the drive in DL. Serial output waits for the port's transmitter
/// (bit 5 of 3FDh); disk access is INT 13h, functions 42h and 43h, with the packet at `PACKET`.
#[rustfmt::skip]
const CODE: [u8; 0x83] = [
    0xfa,                               // 00 cli
    0x31, 0xc0,                         // 01 xor ax, ax
    0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, // 03 ds = es = ss = 0
    0xbc, 0x00, 0x7c,                   // 09 mov sp, 7C00h
    0xfb, 0xfc,                         // 0C sti, cld
    0x88, 0x16, 0x82, 0x7c,             // 0E mov [drive], dl
    0xbe, 0x83, 0x7c,                   // 12 mov si, hello
    0xe8, 0x42, 0x00,                   // 15 call say
    0xb4, 0x42,                         // 18 mov ah, 42h: read
    0xe8, 0x31, 0x00,                   // 1A call disk
    0x72, 0x22,                         // 1D jc failed
    0xbf, 0x00, 0x80,                   // 1F mov di, 8000h
    0xb9, 0x00, 0x10,                   // 22 mov cx, 4096
    0xb0, PATTERN,                      // 25 mov al, pattern
    0xf3, 0xae,                         // 27 repe scasb
    0x75, 0x11,                         // 29 jne differs
    0xc6, 0x06, 0x7a, 0x7c, 0x40,       // 2B packet.lba = 64
    0xb4, 0x43,                         // 30 mov ah, 43h: write
    0xe8, 0x19, 0x00,                   // 32 call disk
    0x72, 0x0a,                         // 35 jc failed
    0xbe, 0x99, 0x7c, 0xeb, 0x08,       // 37 mov si, good; jmp last
    0xbe, 0xb2, 0x7c, 0xeb, 0x03,       // 3C differs: mov si, bad; jmp last
    0xbe, 0xd0, 0x7c,                   // 41 failed: mov si, error
    0xe8, 0x13, 0x00,                   // 44 last: call say
    0xb0, 0xfe, 0xe6, 0x64,             // 47 reset, by the keyboard controller
    0xf4, 0xeb, 0xfd,                   // 4B hlt; jmp back
    0x8a, 0x16, 0x82, 0x7c,             // 4E disk: mov dl, [drive]
    0xbe, 0x72, 0x7c,                   // 52 mov si, packet
    0x30, 0xc0, 0xcd, 0x13, 0xc3,       // 55 xor al, al; int 13h; ret
    0xac, 0x84, 0xc0, 0x74, 0x12,       // 5A say: lodsb; if 0, ret
    0x88, 0xc3, 0xba, 0xfd, 0x03,       // 5F mov bl, al; mov dx, 3FDh
    0xec, 0xa8, 0x20, 0x74, 0xfb,       // 64 in al, dx; until bit 5
    0x88, 0xd8, 0xba, 0xf8, 0x03, 0xee, // 69 mov al, bl; mov dx, 3F8h; out dx, al
    0xeb, 0xe9,                         // 6F jmp say
    0xc3,                               // 71 ret
    16, 0, 8, 0, 0x00, 0x80, 0, 0,      // 72 packet: 8 blocks to 0000:8000h
    8, 0, 0, 0, 0, 0, 0, 0,             // 7A packet.lba = 8
    0,                                  // 82 drive
];

/// At 83h, 99h, B2h and D0h.
const WORDS: [&str; 4] = [HELLO, GOOD, "OUTBAND read something else", "OUTBAND disk error"];

/// The sector.
pub(crate) fn bytes() -> [u8; 512] {
    let mut code = CODE.to_vec();
    for words in WORDS {
        code.extend(words.bytes().chain(*b"\r\n\0"));
    }
    let mut sector = [0; 512];
    sector[..code.len()].copy_from_slice(&code);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_lies_where_the_code_points() {
        let sector = bytes();
        for (at, words) in [0x83, 0x99, 0xb2, 0xd0].into_iter().zip(WORDS) {
            assert_eq!(&sector[at..at + words.len()], words.as_bytes());
        }
        assert_eq!(sector[510..], [0x55, 0xaa]);
    }
}
