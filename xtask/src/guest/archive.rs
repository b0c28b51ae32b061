//! A cpio archive as the kernel takes it for its initial RAM disk ("newc"). Archives may follow one
//! another in one file; of a file that is in several, the last one counts.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// Each file is written as it is added.
#[derive(Debug)]
pub(super) struct Archive<W> {
    out: W,
    number: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, number: 0, directories: BTreeSet::new() }
    }

    /// A file that may be run, at `path` without a leading slash. Folders above it are made.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.folders_of(path)?;
        self.entry(path, PROGRAM, bytes)
    }

    pub(super) fn link(&mut self, path: &str, to: &str) -> io::Result<()> {
        self.folders_of(path)?;
        self.entry(path, LINK, to.as_bytes())
    }

    /// Writes the trailer; without it the archive is not whole.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()
    }

    fn folders_of(&mut self, path: &str) -> io::Result<()> {
        let mut folders: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
        folders.reverse();
        for folder in folders {
            let folder = folder.to_str().expect("it is a part of a string").to_owned();
            if !folder.is_empty() && self.directories.insert(folder.clone()) {
                self.entry(&folder, DIRECTORY, &[])?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.number += 1;
        let len = |len: usize| u32::try_from(len).map_err(io::Error::other);
        // Number, mode, user, group, links, time, length, two device numbers of two parts each,
        // length of the name with its zero, and a checksum that this format leaves 0.
        let (links, size, name_len) = (1, len(bytes.len())?, len(name.len() + 1)?);
        let fields = [self.number, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_len, 0];
        let header: String = fields.iter().map(|field| format!("{field:08X}")).collect();
        let head = format!("070701{header}{name}\0");
        self.out.write_all(head.as_bytes())?;
        self.pad(head.len())?;
        self.out.write_all(bytes)?;
        self.pad(bytes.len())
    }

    fn pad(&mut self, len: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..len.next_multiple_of(4) - len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_aligned_and_comes_after_its_folders() {
        let mut out = Vec::new();
        let mut archive = Archive::new(&mut out);
        archive.file("etc/iscsi/name", b"abcde").unwrap();
        archive.close().unwrap();
        assert_eq!(out.len() % 4, 0);
        let text = String::from_utf8_lossy(&out);
        let at = |part: &str| text.find(part).unwrap();
        assert!(at("etc\0") < at("etc/iscsi\0") && at("etc/iscsi\0") < at("etc/iscsi/name\0"));
        assert!(at("etc/iscsi/name\0") < at("abcde") && at("abcde") < at("TRAILER!!!\0"));
        assert_eq!(at("abcde") % 4, 0);
        assert!(text.contains("070701"));
    }
}
