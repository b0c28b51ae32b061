//! Debian's packages for a guest: downloaded and unpacked into a folder, nothing installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::Failure;
use crate::process::{captured, tool, visible};

/// Names the kernel's package of the day.
pub(super) const KERNEL: &str = "linux-image-amd64";

/// What the scenarios run, and the libraries it needs.
const PACKAGES: [&str; 40] = [
    "open-iscsi",
    "multipath-tools",
    "udev",
    "dmsetup",
    "e2fsprogs",
    "xfsprogs",
    "busybox-static",
    "libc6",
    "libgcc-s1",
    "libopeniscsiusr",
    "libisns0",
    "libudev1",
    "libdevmapper1.02.1",
    "liburcu8",
    "libaio1",
    "libjson-c5",
    "libkmod2",
    "libmount1",
    "libblkid1",
    "libuuid1",
    "libselinux1",
    "libpcre2-8-0",
    "libzstd1",
    "liblzma5",
    "liblz4-1",
    "libssl3",
    "libsystemd0",
    "libcap2",
    "libgcrypt20",
    "libgpg-error0",
    "libacl1",
    "libattr1",
    "libext2fs2",
    "libcom-err2",
    "libss2",
    "libinih1",
    "libreadline8",
    "libtinfo6",
    "libedit2",
    "libicu72",
];

const QUESTION: Duration = Duration::from_secs(60);

/// Unpacked packages.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    files: Vec<PathBuf>,
    versions: String,
}

impl Tree {
    /// Downloads the packages into `folder`, and unpacks them there.
    pub(super) fn download(folder: &Path) -> Result<Self, Failure> {
        let (packed, root) = (folder.join("packages"), folder.join("root"));
        for folder in [&packed, &root] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir_all(folder).map_err(Failure::at(folder))?;
        }
        let kernel = kernel()?;
        println!("  downloading {kernel} and {} more packages", PACKAGES.len());
        let mut download = Command::new(tool("apt-get")?);
        // Its other user may not write where we do.
        download.args(["-o", "APT::Sandbox::User=root"]);
        download.args(["download", "--quiet=2", &kernel]).args(PACKAGES).current_dir(&packed);
        visible(&mut download)?;
        let mut versions = String::new();
        for package in entries(&packed)? {
            let mut show = Command::new(tool("dpkg-deb")?);
            versions += &captured(show.arg("--show").arg(&package), QUESTION)?;
            let mut unpack = Command::new(tool("dpkg-deb")?);
            captured(unpack.arg("--extract").arg(&package).arg(&root), QUESTION)?;
        }
        let mut files = Vec::new();
        collect(&root, &mut files)?;
        files.sort();
        Ok(Self { root, files, versions })
    }

    /// `path` in the guest's terms, if a package has it. Folders that were merged into `/usr` are
    /// not yet so in every package.
    pub(super) fn file(&self, path: &str) -> Result<PathBuf, Failure> {
        let found = [self.root.join(path), self.root.join("usr").join(path)];
        let found = found.into_iter().find(|path| path.exists());
        found.ok_or_else(|| Failure::wrong(format!("no package of the guest has {path}")))
    }

    /// A line for each package: name, tab, version.
    pub(super) fn versions(&self) -> &str {
        &self.versions
    }

    /// A shared library by its name.
    pub(super) fn library(&self, name: &str) -> Option<PathBuf> {
        self.files.iter().find(|path| path.ends_with(name)).cloned()
    }

    pub(super) fn files_ending(&self, end: &str) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().filter(move |path| path.to_string_lossy().ends_with(end))
    }

    /// The kernel itself.
    pub(super) fn kernel(&self) -> Result<&Path, Failure> {
        let boot = self.root.join("boot");
        let found = self
            .files
            .iter()
            .find(|path| path.starts_with(&boot) && path.to_string_lossy().contains("vmlinuz-"));
        let found = found.map(PathBuf::as_path);
        found.ok_or_else(|| Failure::wrong("the kernel's package has no kernel"))
    }
}

fn kernel() -> Result<String, Failure> {
    let said = captured(Command::new("apt-cache").args(["depends", KERNEL]), QUESTION)?;
    let found = kernel_in(&said).map(str::to_owned);
    found.ok_or_else(|| Failure::wrong(format!("apt knows no {KERNEL}: apt-get update\n{said}")))
}

fn kernel_in(depends: &str) -> Option<&str> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.into_iter().find(|name| name.starts_with("linux-image-"))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder).map_err(Failure::at(folder))?;
    entries.map(|entry| Ok(entry.map_err(Failure::at(folder))?.path())).collect()
}

/// All files, with links to files but not through links to folders.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for path in entries(folder)? {
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_the_day_is_found() {
        let said = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(kernel_in(said), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(kernel_in("N: nothing\n"), None);
    }
}
