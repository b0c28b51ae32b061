//! Whose data is this? Signatures of what may already live on a device, so that the refusal to erase
//! it can name it.

use std::io;

/// Bytes to look at, from the start of the device.
const HEAD: usize = 68 * 1024;
/// Bytes to look at, up to the end.
const TAIL: usize = 128 * 1024;

struct Signature {
    at: usize,
    magic: &'static [u8],
    name: &'static str,
}

const fn sign(at: usize, magic: &'static [u8], name: &'static str) -> Signature {
    Signature { at, magic, name }
}

/// More telling ones first: a file system may be found inside of what looks like a boot sector.
const HEAD_SIGNATURES: &[Signature] = &[
    sign(512, b"EFI PART", "a GPT partition table"),
    sign(4096, b"EFI PART", "a GPT partition table"),
    sign(0, b"LUKS\xba\xbe", "a LUKS volume"),
    sign(0, b"XFSB", "an XFS file system"),
    sign(0x1_0040, b"_BHRfS_M", "a Btrfs file system"),
    sign(0x218, b"LVM2 001", "an LVM2 physical volume"),
    sign(0x18, b"LVM2 001", "an LVM2 physical volume"),
    sign(4086, b"SWAPSPACE2", "swap space"),
    sign(4086, b"SWAP-SPACE", "swap space"),
    sign(0, b"\xfc\x4e\x2b\xa9", "an md RAID member"),
    sign(4096, b"\xfc\x4e\x2b\xa9", "an md RAID member"),
    sign(3, b"NTFS    ", "an NTFS file system"),
    sign(3, b"EXFAT   ", "an exFAT file system"),
    sign(54, b"FAT", "a FAT file system"),
    sign(82, b"FAT32", "a FAT file system"),
    sign(0x400, b"\x10\x20\xf5\xf2", "an F2FS file system"),
    sign(
        24,
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
        "a bcache device",
    ),
    sign(0x8001, b"CD001", "an ISO 9660 file system"),
];

const EXT_MAGIC_AT: usize = 0x438;
const EXT_COMPAT_AT: usize = 0x45c;
const EXT_INCOMPAT_AT: usize = 0x460;
const EXT_HAS_JOURNAL: u8 = 0x4;
const EXT_HAS_EXTENTS: u8 = 0x40;

/// What lives on a device of `size` bytes, or `None` when nothing known does. `read` fills its
/// buffer from an offset.
pub(crate) fn foreign(
    size: u64,
    read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<Option<&'static str>> {
    let mut head = vec![0; HEAD.min(usize::try_from(size).unwrap_or(HEAD))];
    read(0, &mut head)?;
    if let Some(name) = in_head(&head) {
        return Ok(Some(name));
    }
    let mut tail = vec![0; TAIL.min(usize::try_from(size).unwrap_or(TAIL))];
    read(size - tail.len() as u64, &mut tail)?;
    Ok(in_tail(&tail, size).or_else(|| boot_sector(&head)))
}

fn in_head(head: &[u8]) -> Option<&'static str> {
    let there = |s: &&Signature| head.get(s.at..).is_some_and(|from| from.starts_with(s.magic));
    HEAD_SIGNATURES.iter().find(there).map(|s| s.name).or_else(|| ext(head))
}

/// ext2, 3 and 4 share a magic; features tell them apart.
fn ext(head: &[u8]) -> Option<&'static str> {
    if head.get(EXT_MAGIC_AT..EXT_MAGIC_AT + 2)? != b"\x53\xef" {
        return None;
    }
    let extents = head.get(EXT_INCOMPAT_AT)? & EXT_HAS_EXTENTS != 0;
    let journal = head.get(EXT_COMPAT_AT)? & EXT_HAS_JOURNAL != 0;
    Some(match (extents, journal) {
        (true, _) => "an ext4 file system",
        (false, true) => "an ext3 file system",
        (false, false) => "an ext2 file system",
    })
}

/// Copies that outlive the overwriting of the first sectors.
fn in_tail(tail: &[u8], size: u64) -> Option<&'static str> {
    let from_end = |back: usize| tail.len().checked_sub(back).and_then(|at| tail.get(at..));
    let md = b"\xfc\x4e\x2b\xa9";
    if [512, 4096].iter().any(|back| from_end(*back).is_some_and(|t| t.starts_with(b"EFI PART"))) {
        return Some("a GPT partition table");
    }
    // md 0.90 lies in the last whole 64 KiB before the last; md 1.0 8 KiB before the end, down to 4 KiB.
    let md_090 = (size & !0xffff).checked_sub(0x1_0000).map(|at| size - at);
    let md_10 = (size & !0xfff).checked_sub(0x2000).map(|at| size - at);
    for back in [md_090, md_10].into_iter().flatten() {
        let back = usize::try_from(back).unwrap_or(usize::MAX);
        if from_end(back).is_some_and(|t| t.starts_with(md)) {
            return Some("an md RAID member");
        }
    }
    None
}

/// The MBR's mark, last of all: boot sectors of file systems carry it, too.
fn boot_sector(head: &[u8]) -> Option<&'static str> {
    (head.get(510..512)? == b"\x55\xaa").then_some("an MBR partition table")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1 << 20;

    fn check(marks: &[(usize, &[u8])], expected: Option<&str>) {
        let mut disk = vec![0; SIZE];
        for (at, magic) in marks {
            disk[*at..at + magic.len()].copy_from_slice(magic);
        }
        let read = |at: u64, into: &mut [u8]| {
            let at = usize::try_from(at).unwrap();
            into.copy_from_slice(&disk[at..at + into.len()]);
            Ok(())
        };
        assert_eq!(foreign(SIZE as u64, read).unwrap(), expected, "{marks:?}");
    }

    #[test]
    fn every_signature_is_found_and_an_empty_device_has_none() {
        for signature in HEAD_SIGNATURES {
            check(&[(signature.at, signature.magic)], Some(signature.name));
        }
        check(&[], None);
    }

    #[test]
    fn copies_at_the_end_are_found() {
        check(&[(SIZE - 512, b"EFI PART")], Some("a GPT partition table"));
        check(&[(SIZE - 0x1_0000, b"\xfc\x4e\x2b\xa9")], Some("an md RAID member"));
        check(&[(SIZE - 0x2000, b"\xfc\x4e\x2b\xa9")], Some("an md RAID member"));
    }

    #[test]
    fn the_ext_family_is_told_apart() {
        let magic: (usize, &[u8]) = (EXT_MAGIC_AT, b"\x53\xef");
        check(&[magic], Some("an ext2 file system"));
        check(&[magic, (EXT_COMPAT_AT, &[4])], Some("an ext3 file system"));
        check(
            &[magic, (EXT_COMPAT_AT, &[4]), (EXT_INCOMPAT_AT, &[0x40])],
            Some("an ext4 file system"),
        );
    }

    #[test]
    fn a_boot_sector_counts_when_nothing_better_is_known() {
        let mark: (usize, &[u8]) = (510, b"\x55\xaa");
        check(&[mark], Some("an MBR partition table"));
        check(&[mark, (512, b"EFI PART")], Some("a GPT partition table"));
    }
}
