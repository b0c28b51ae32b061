//! Who takes part in a comparison: started once, measured in turn.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::places::{Cores, disk, pinned, tmpfs};
use super::sample::Sample;
use super::servers::{Ours, Server, nbdkit, qsd};
use super::workload::Workload;
use super::{Peer, Store, compare, fio, generator};
use crate::failure::Failure;
use crate::process::tool;
use crate::tgt::{Tgt, Unit};

/// The label of the contestant that ratios are taken to.
pub(super) const UNIT: &str = "tgt, tmpfs";

/// One column of the comparison.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) label: String,
    kind: Kind,
    /// It makes writes durable before it answers: only writes are of interest.
    durable: bool,
    /// It is made for one request at a time: others are of no interest.
    alone: bool,
    /// What its writes leave behind is written back before the next has its turn.
    image: Option<PathBuf>,
}

#[derive(Debug)]
enum Kind {
    Iscsi {
        url: String,
        pid: u32,
    },
    Nbd {
        url: String,
        pid: u32,
    },
    /// fio, without a server.
    Local,
    /// The loop without a protocol.
    Limit,
}

impl Contestant {
    pub(super) fn takes(&self, workload: &Workload) -> bool {
        let suits = match &self.kind {
            Kind::Iscsi { .. } => true,
            Kind::Nbd { .. } | Kind::Local => !workload.is_iscsi_only(),
            Kind::Limit => !workload.is_iscsi_only() && workload.shape().is_some(),
        };
        suits && (workload.writes() || !self.durable) && (workload.depth == 1 || !self.alone)
    }

    pub(super) fn measure(
        &self,
        cores: &Cores,
        workload: &Workload,
        time: Duration,
    ) -> Result<Sample, Failure> {
        let sample = match (&self.kind, &self.image) {
            (Kind::Iscsi { url, pid } | Kind::Nbd { url, pid }, _) => {
                generator::measure(generator::load(cores, url, workload, time, *pid)?, time)?
            }
            (Kind::Local, Some(image)) => fio::measure(cores, image, workload, self.durable, time)?,
            _ => {
                let shape = workload.shape().expect("it was asked whether it takes the work");
                generator::limit(cores, shape, workload.depth, time)?
            }
        };
        if let (true, Some(image)) = (workload.writes(), &self.image) {
            let file = File::open(image).map_err(Failure::at(image))?;
            file.sync_all().map_err(Failure::at(image))?;
        }
        Ok(sample)
    }
}

/// Everything that was started for a comparison. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) contestants: Vec<Contestant>,
    servers: Vec<Server>,
    tgt: Option<Tgt>,
    cores: Cores,
    tmpfs: TempDir,
    disk: TempDir,
    mib: u32,
}

impl Field {
    /// Starts who is wanted.
    pub(super) fn start(arguments: &compare::Arguments, cores: &Cores) -> Result<Self, Failure> {
        let mut field = Self {
            contestants: Vec::new(),
            servers: Vec::new(),
            tgt: None,
            cores: cores.clone(),
            tmpfs: tmpfs()?,
            disk: disk(arguments.folder.as_deref())?,
            mib: arguments.size_mib,
        };
        let stores = arguments.stores();
        for store in &stores {
            field.ours(*store, arguments.baseline.as_deref())?;
        }
        let (memory, tmpfs) = (stores.contains(&Store::Memory), stores.contains(&Store::Tmpfs));
        let on_file = stores.contains(&Store::File);
        // The unit of all ratios is on tmpfs, whatever ours is on.
        let shared =
            [(true, field.tmpfs.path().to_owned()), (on_file, field.disk.path().to_owned())];
        let mut images = Vec::new();
        for (_, folder) in shared.into_iter().filter(|(wanted, _)| *wanted) {
            images.push(field.image(&folder, "peers.img")?);
        }
        let on_disk = images.get(1).cloned();
        for peer in arguments.peers() {
            match peer {
                Peer::Tgt => field.tgt(&images)?,
                Peer::Nbdkit => {
                    if memory {
                        field.nbdkit(
                            "memory",
                            &["memory".into(), format!("{}M", field.mib)],
                            None,
                        )?;
                    }
                    if tmpfs {
                        field.nbdkit("tmpfs", &file_plugin(&images[0]), None)?;
                    }
                    if let Some(image) = &on_disk {
                        field.nbdkit("file", &file_plugin(image), Some(image))?;
                    }
                }
                Peer::Qsd => {
                    field.qsd("tmpfs", &images[0])?;
                    if let Some(image) = &on_disk {
                        field.qsd("file", image)?;
                    }
                }
            }
        }
        field.local(on_disk.as_deref());
        Ok(field)
    }

    /// Our target on `store`, and beside it another build of it.
    fn ours(&mut self, store: Store, baseline: Option<&Path>) -> Result<(), Failure> {
        let builds = [("outband", None), ("baseline", baseline)];
        let builds =
            builds.into_iter().filter(|(name, build)| *name == "outband" || build.is_some());
        for (name, binary) in builds {
            for (number, way) in ways(store).iter().enumerate() {
                let image = format!("{name}-{number}.img");
                let (ours, image) = match store {
                    Store::Memory => (Ours::memory(self.mib), None),
                    Store::Tmpfs => {
                        let folder = self.tmpfs.path().to_owned();
                        (Ours::file(&self.image(&folder, &image)?), None)
                    }
                    Store::File => {
                        let folder = self.disk.path().to_owned();
                        let image = self.image(&folder, &image)?;
                        (Ours::file(&image), Some(image))
                    }
                };
                let mut ours = Ours { binary: binary.map(Path::to_owned), ..ours };
                let arguments = ["--sessions-per-portal", "4"].iter().chain(way.arguments);
                ours.arguments.extend(arguments.map(ToString::to_string));
                let server = ours.start(&self.cores, self.tmpfs.path())?;
                if store == Store::Memory {
                    generator::fill(&self.cores, &server.url)?;
                }
                let label = format!("{name}, {}{}", store_name(store), way.name);
                self.iscsi(label, &server.url, server.pid(), way.durable, image);
                if let (true, Some(contestant)) = (way.alone, self.contestants.last_mut()) {
                    contestant.alone = true;
                }
                self.servers.push(server);
            }
        }
        Ok(())
    }

    fn iscsi(&mut self, label: String, url: &str, pid: u32, durable: bool, image: Option<PathBuf>) {
        let kind = Kind::Iscsi { url: url.to_owned(), pid };
        self.contestants.push(Contestant { label, kind, durable, alone: false, image });
    }

    /// One tgtd for all images: LUN 1 on tmpfs, 2 and 3 on the file, with and without its cache.
    fn tgt(&mut self, images: &[PathBuf]) -> Result<(), Failure> {
        let mut units = vec![Unit { image: &images[0], write_cache: true }];
        if let Some(image) = images.get(1) {
            units.extend([true, false].map(|write_cache| Unit { image, write_cache }));
        }
        let tgtd = pinned(&self.cores.server, tool("tgtd")?)?;
        let tgt = Tgt::launch(tgtd, self.tmpfs.path(), &units)?;
        let base = tgt.urls()[0].trim_end_matches('1').to_owned();
        let pid = tgt.pid();
        self.iscsi(UNIT.to_owned(), &format!("{base}1"), pid, false, None);
        if let Some(image) = images.get(1) {
            self.iscsi("tgt, file".into(), &format!("{base}2"), pid, false, Some(image.clone()));
            let label = format!("tgt, file{}", promise(true));
            self.iscsi(label, &format!("{base}3"), pid, true, Some(image.clone()));
        }
        self.tgt = Some(tgt);
        Ok(())
    }

    fn nbdkit(&mut self, on: &str, plugin: &[String], image: Option<&Path>) -> Result<(), Failure> {
        let server = nbdkit(&self.cores, self.tmpfs.path(), plugin)?;
        if on == "memory" {
            generator::fill(&self.cores, &server.url)?;
        }
        self.nbd(format!("nbdkit, {on}"), server, image);
        Ok(())
    }

    fn qsd(&mut self, on: &str, image: &Path) -> Result<(), Failure> {
        let server = qsd(&self.cores, self.tmpfs.path(), image)?;
        let written_back = (on == "file").then_some(image);
        self.nbd(format!("qemu-storage-daemon, {on}"), server, written_back);
        Ok(())
    }

    fn nbd(&mut self, label: String, server: Server, image: Option<&Path>) {
        let kind = Kind::Nbd { url: server.url.clone(), pid: server.pid() };
        let image = image.map(Path::to_owned);
        self.contestants.push(Contestant { label, kind, durable: false, alone: false, image });
        self.servers.push(server);
    }

    /// The machine by itself: its disk, and its loopback.
    fn local(&mut self, image: Option<&Path>) {
        let local = |durable, label: &str| Contestant {
            label: label.to_owned(),
            kind: Kind::Local,
            durable,
            alone: false,
            image: image.map(Path::to_owned),
        };
        if image.is_some() {
            self.contestants.push(local(false, "local fio, O_DIRECT"));
            self.contestants.push(local(true, "local fio, O_DIRECT, O_DSYNC"));
        }
        let label = "loopback, no protocol".to_owned();
        let kind = Kind::Limit;
        self.contestants.push(Contestant {
            label,
            kind,
            durable: false,
            alone: false,
            image: None,
        });
    }

    /// A file without holes, filled with what does not compress.
    fn image(&self, folder: &Path, name: &str) -> Result<PathBuf, Failure> {
        let path = folder.join(name);
        let mut state = 0x0123_4567_89AB_CDEF_u64;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()
        });
        let mib: Vec<u8> = words.take(1 << 17).flatten().collect();
        let mut file = File::create(&path).map_err(Failure::at(&path))?;
        for _ in 0..self.mib {
            file.write_all(&mib).map_err(Failure::at(&path))?;
        }
        file.sync_all().map_err(Failure::at(&path))?;
        Ok(path)
    }

    /// The file system that files lie on, for the heading.
    pub(super) fn file_system(&self) -> String {
        let kind = Command::new("stat")
            .args(["--file-system", "--format=%T"])
            .arg(self.disk.path())
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        kind.unwrap_or_else(|_| "unknown".to_owned())
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        // The servers go before the files that they serve.
        self.servers.clear();
        self.tgt = None;
        let _ = fs::remove_dir_all(self.disk.path());
    }
}

/// A way to start our target on a store.
struct Way {
    /// What the label adds.
    name: &'static str,
    arguments: &'static [&'static str],
    durable: bool,
    alone: bool,
}

/// Peers go through the page cache, and so does the way that is compared with them. The others are
/// what the local disk is compared with.
fn ways(store: Store) -> &'static [Way] {
    const HIGH: Way =
        Way { name: "", arguments: &["--write-policy", "high"], durable: false, alone: false };
    const LOOKING: Way = Way {
        name: ", busy polling",
        arguments: &["--write-policy", "high", "--busy-poll-us", "100"],
        alone: true,
        ..HIGH
    };
    const CACHED: Way = Way { arguments: &["--write-policy", "high", "--page-cache"], ..HIGH };
    const DIRECT: Way = Way { name: ", O_DIRECT", ..HIGH };
    const DURABLE: Way = Way {
        name: ", O_DIRECT, each write durable",
        arguments: &["--write-policy", "normal"],
        durable: true,
        alone: false,
    };
    match store {
        Store::Memory => &[HIGH, LOOKING],
        Store::File => &[CACHED, DIRECT, DURABLE],
        Store::Tmpfs => &[HIGH],
    }
}

fn store_name(store: Store) -> &'static str {
    match store {
        Store::Memory => "memory",
        Store::File => "file",
        Store::Tmpfs => "tmpfs",
    }
}

fn promise(durable: bool) -> &'static str {
    if durable { ", each write durable" } else { "" }
}

fn file_plugin(image: &Path) -> [String; 2] {
    ["file".into(), image.display().to_string()]
}
