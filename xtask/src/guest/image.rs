//! The guest's initial RAM disk: what every scenario shares is made once and kept in cargo's target
//! folder.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::packages::{KERNEL, Tree};
use super::{libraries, modules};
use crate::failure::Failure;
use crate::process::kept;

/// Raised when what is in the image changes, so that one that was kept is not used.
const EDITION: &str = "guest-3";

/// A line for each package, with its name and version.
const VERSIONS: &str = "versions";

const PROGRAMS: [&str; 13] = [
    "bin/busybox",
    "bin/udevadm",
    "sbin/dmsetup",
    "sbin/e2fsck",
    "sbin/iscsiadm",
    "sbin/iscsid",
    "sbin/mke2fs",
    "sbin/mkfs.xfs",
    "sbin/multipath",
    "sbin/multipathd",
    "sbin/xfs_repair",
    "lib/udev/scsi_id",
    "lib64/ld-linux-x86-64.so.2",
];

/// multipathd loads these by name, and the last one when one of its threads ends.
const PLUGINS: [&str; 4] = [
    "lib/multipath/libchecktur.so",
    "lib/multipath/libprioconst.so",
    "lib/multipath/libprioalua.so",
    "lib/x86_64-linux-gnu/libgcc_s.so.1",
];

const RULES: [&str; 6] = [
    "50-udev-default.rules",
    "55-dm.rules",
    "56-dm-mpath.rules",
    "60-multipath.rules",
    "60-persistent-storage.rules",
    "95-dm-notify.rules",
];

/// iscsid asks who talks to it.
const PASSWD: (&str, &str) = ("etc/passwd", "root:x:0:0:root:/:/bin/sh\n");

/// What may change from one run to the next, and so is not kept.
const SCRIPTS: [(&str, &str); 2] =
    [("init", include_str!("init.sh")), ("library.sh", include_str!("library.sh"))];

/// The groups that udev's rules name.
const GROUPS: [&str; 14] = [
    "root", "tty", "disk", "lp", "kmem", "dialout", "cdrom", "tape", "audio", "video", "input",
    "sgx", "kvm", "render",
];

/// A kernel and the shared part of its RAM disk.
#[derive(Debug)]
pub(crate) struct Image {
    pub(super) kernel: PathBuf,
    shared: PathBuf,
}

impl Image {
    /// The one that was kept, or a new one.
    pub(crate) fn ready() -> Result<Self, Failure> {
        let folder = kept(EDITION)?;
        let image = Self { kernel: folder.join("kernel"), shared: folder.join("shared.cpio") };
        if image.shared.is_file() {
            return Ok(image);
        }
        println!("  making the guest's image in {}", folder.display());
        let tree = Tree::download(&folder)?;
        let versions = folder.join(VERSIONS);
        fs::write(&versions, tree.versions()).map_err(Failure::at(&versions))?;
        fs::copy(tree.kernel()?, &image.kernel).map_err(Failure::at(&image.kernel))?;
        // Under its own name only when it is whole.
        let unfinished = folder.join("unfinished.cpio");
        let file = File::create(&unfinished).map_err(Failure::at(&unfinished))?;
        fill(&tree, BufWriter::new(file))?;
        fs::rename(&unfinished, &image.shared).map_err(Failure::at(&image.shared))?;
        for folder in ["packages", "root"].map(|name| folder.join(name)) {
            fs::remove_dir_all(&folder).map_err(Failure::at(&folder))?;
        }
        Ok(image)
    }

    /// The version of `package` in the one that was kept, if it has it. Any kernel goes by the name
    /// of the package that names the kernel of the day.
    pub(crate) fn version(package: &str) -> Option<String> {
        let versions = fs::read_to_string(kept(EDITION).ok()?.join(VERSIONS)).ok()?;
        version_in(&versions, package)
    }

    /// The whole RAM disk of a guest that runs `scenario` with `variables` (shell lines).
    pub(super) fn ram_disk(
        &self,
        path: &Path,
        variables: &str,
        scenario: &str,
    ) -> Result<(), Failure> {
        fs::copy(&self.shared, path).map_err(Failure::at(path))?;
        let write = || {
            let mut archive = Archive::new(File::options().append(true).open(path)?);
            for (path, text) in SCRIPTS {
                archive.file(path, text.as_bytes())?;
            }
            archive.file("variables", variables.as_bytes())?;
            archive.file("scenario.sh", scenario.as_bytes())?;
            archive.close()
        };
        write().map_err(Failure::at(path))
    }
}

fn version_in(versions: &str, package: &str) -> Option<String> {
    let mut pairs = versions.lines().filter_map(|line| line.split_once('\t'));
    let is_kernel = |name: &str| package == KERNEL && name.starts_with("linux-image-");
    let found = pairs.find(|(name, _)| *name == package || is_kernel(name));
    found.map(|(_, version)| version.to_owned())
}

fn fill(tree: &Tree, out: impl Write) -> Result<(), Failure> {
    let mut image = Filling { tree, archive: Archive::new(out) };
    let mut programs = Vec::new();
    for path in PROGRAMS.into_iter().chain(PLUGINS) {
        programs.push(tree.file(path)?);
        image.copy(path, path)?;
    }
    for rules in RULES {
        let path = format!("lib/udev/rules.d/{rules}");
        image.copy(&path, &path)?;
    }
    for (name, file) in libraries::needed(tree, &programs)? {
        let bytes = fs::read(&file).map_err(Failure::at(&file))?;
        image.add(&format!("lib/x86_64-linux-gnu/{name}"), &bytes)?;
    }
    image.modules()?;
    image.add(PASSWD.0, PASSWD.1.as_bytes())?;
    let groups: Vec<_> =
        GROUPS.iter().zip(0..).map(|(name, id)| format!("{name}:x:{id}:\n")).collect();
    image.add("etc/group", groups.concat().as_bytes())?;
    image.archive.link("bin/sh", "busybox").and_then(|()| image.archive.close()).map_err(written)
}

struct Filling<'t, W> {
    tree: &'t Tree,
    archive: Archive<W>,
}

impl<W: Write> Filling<'_, W> {
    fn copy(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        let file = self.tree.file(from)?;
        let bytes = fs::read(&file).map_err(Failure::at(&file))?;
        self.add(to, &bytes)
    }

    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.archive.file(path, bytes).map_err(written)
    }

    /// The modules, and a list in the order in which they are loaded.
    fn modules(&mut self) -> Result<(), Failure> {
        let mut list = String::new();
        for (name, file) in modules::ordered(self.tree)? {
            let bytes = fs::read(&file).map_err(Failure::at(&file))?;
            self.add(&format!("modules/{name}.ko"), &bytes)?;
            list += &format!("{name}\n");
        }
        self.add("modules/order", list.as_bytes())
    }
}

fn written(source: io::Error) -> Failure {
    Failure::Io { what: "writing the guest's image".into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_by_the_names_of_packages_and_of_any_kernel() {
        let versions = "linux-image-6.1.0-56-amd64\t6.1.192-2\nopen-iscsi\t2.1.8-1\n";
        assert_eq!(version_in(versions, "open-iscsi").as_deref(), Some("2.1.8-1"));
        assert_eq!(version_in(versions, KERNEL).as_deref(), Some("6.1.192-2"));
        assert_eq!(version_in(versions, "open"), None);
    }
}
