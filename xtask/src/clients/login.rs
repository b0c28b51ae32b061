//! How the clients log in, and how each is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::failure::Failure;
use crate::target::Target;

pub(super) const USER: &str = "host-a";
pub(super) const SECRET: &str = "not-so-secret-16";
/// Who the target proves to be.
pub(super) const UNIT: &str = "unit-a";
pub(super) const UNIT_SECRET: &str = "nor-is-this-one-1";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Login {
    /// Nothing is asked.
    Plain,
    Chap,
    /// CRC32C digests over headers and data.
    Digests,
    /// Both.
    ChapAndDigests,
    /// The target proves itself too.
    MutualChap,
}

impl Login {
    pub(super) fn chap(self) -> bool {
        matches!(self, Self::Chap | Self::ChapAndDigests | Self::MutualChap)
    }

    pub(super) fn digests(self) -> bool {
        matches!(self, Self::Digests | Self::ChapAndDigests)
    }

    /// What `outband-target serve` is told, with the secret in a file of `folder`.
    pub(super) fn served(self, folder: &Path) -> Result<Vec<String>, Failure> {
        let mut words = vec!["--any-host".to_owned()];
        if self.chap() {
            let secret = secret_file(folder, "secret", SECRET)?;
            words.extend(["--chap-user", USER, "--chap-secret-file", &secret].map(str::to_owned));
        }
        if self == Self::MutualChap {
            let secret = secret_file(folder, "unit-secret", UNIT_SECRET)?;
            let mutual = ["--mutual-chap-user", UNIT, "--mutual-chap-secret-file", &secret];
            words.extend(mutual.map(str::to_owned));
        }
        if self.digests() {
            words.push("--digests".to_owned());
        }
        Ok(words)
    }

    /// What `outband cp` is told.
    pub(super) fn copied(self, folder: &Path) -> Result<Vec<String>, Failure> {
        let mut words = self.served(folder)?;
        words.retain(|word| word != "--any-host");
        Ok(words)
    }

    /// For libiscsi and QEMU, without the digests.
    pub(super) fn url(self, target: &Target) -> String {
        if self.chap() { target.url_as(USER, SECRET) } else { target.url().to_owned() }
    }

    /// QEMU's options for the volume of `target`. Digests can be asked for so only, and QEMU knows
    /// them for headers alone.
    pub(super) fn image_opts(self, target: &Target) -> String {
        let mut opts = format!(
            "driver=raw,file.driver=iscsi,file.transport=tcp,file.portal={},file.target={},file.lun=0",
            target.portal(),
            target.name()
        );
        if self.chap() {
            opts += &format!(",file.user={USER},file.password-secret=chap");
        }
        if self.digests() {
            opts += ",file.header-digest=crc32c";
        }
        opts
    }

    /// The secret that [`Self::image_opts`] names, for QEMU's command line.
    pub(super) fn objects(self) -> Vec<String> {
        let secret = format!("secret,id=chap,data={SECRET}");
        if self.chap() { vec!["--object".to_owned(), secret] } else { Vec::new() }
    }
}

fn secret_file(folder: &Path, name: &str, secret: &str) -> Result<String, Failure> {
    let path = folder.join(name);
    fs::write(&path, secret).map_err(Failure::at(&path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(Failure::at(&path))?;
    Ok(text(&path).to_owned())
}

/// Temporary folders have names that are text.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("the temporary folder's name is text")
}
