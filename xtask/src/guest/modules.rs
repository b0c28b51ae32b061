//! Kernel modules in an order in which they can be loaded one after another.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::packages::Tree;
use crate::failure::Failure;

/// What the scenarios use: the network card, iSCSI with its digests, disks, file systems, multipath.
const WANTED: [&str; 11] = [
    "virtio_pci",
    "virtio_net",
    "crc32c_generic",
    "iscsi_tcp",
    "sd_mod",
    "ext4",
    "xfs",
    "dm_multipath",
    "dm_round_robin",
    "dm_service_time",
    "scsi_dh_alua",
];

/// Name and file of each module, those needed by others before them.
pub(super) fn ordered(tree: &Tree) -> Result<Vec<(String, PathBuf)>, Failure> {
    let there: BTreeMap<String, &PathBuf> =
        tree.files_ending(".ko").map(|path| (name(path), path)).collect();
    let mut order = Vec::new();
    for wanted in WANTED {
        add(wanted, &there, &mut order)?;
    }
    Ok(order)
}

fn add(
    wanted: &str,
    there: &BTreeMap<String, &PathBuf>,
    order: &mut Vec<(String, PathBuf)>,
) -> Result<(), Failure> {
    if order.iter().any(|(name, _)| name == wanted) {
        return Ok(());
    }
    let missing = || Failure::wrong(format!("the guest's kernel has no module {wanted}"));
    let path = *there.get(wanted).ok_or_else(missing)?;
    let bytes = fs::read(path).map_err(Failure::at(path))?;
    for other in depends(&bytes) {
        add(&other, there, order)?;
    }
    order.push((wanted.to_owned(), path.clone()));
    Ok(())
}

/// The file's name counts `-` and `_` as the same; modules are named with `_`.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.replace('-', "_")
}

/// From the module's own section of `key=value` texts, each ended by a zero.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_needs() {
        let module = b"\x7fELF\0license=GPL\0depends=libiscsi-tcp,libiscsi\0name=iscsi_tcp\0";
        assert_eq!(depends(module), ["libiscsi_tcp", "libiscsi"]);
        assert!(depends(b"\0depends=\0name=crc16\0").is_empty());
    }
}
