//! Where things are and may run: cores, release binaries, folders for volumes.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::Common;
use crate::failure::Failure;
use crate::process::tool;

/// A tmpfs that every Linux has.
const TMPFS: &str = "/dev/shm";

/// Which cores the two sides run on, in every measurement.
#[derive(Clone, Debug)]
pub(super) struct Cores {
    pub(super) server: String,
    pub(super) client: String,
}

impl Cores {
    /// As asked for, else the first core and the second.
    pub(super) fn new(common: &Common) -> Self {
        let several = thread::available_parallelism().is_ok_and(|count| count.get() > 1);
        let second = if several { "1" } else { "0" };
        let or =
            |cores: &Option<String>, other: &str| cores.clone().unwrap_or_else(|| other.to_owned());
        Self { server: or(&common.server_cores, "0"), client: or(&common.client_cores, second) }
    }
}

/// `program` on `cores`. taskset becomes the program, so the process id is its.
pub(super) fn pinned(cores: &str, program: impl AsRef<OsStr>) -> Result<Command, Failure> {
    let mut command = Command::new(tool("taskset")?);
    command.args(["--cpu-list", cores]).arg(program);
    Ok(command)
}

/// A release binary of this workspace.
pub(crate) fn release(name: &str) -> Result<PathBuf, Failure> {
    let path = target_dir()?.join("release").join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::wrong(format!("{} is missing; leave --no-build away", path.display())))
}

/// Where cargo builds, two above this program.
pub(super) fn target_dir() -> Result<PathBuf, Failure> {
    let own = env::current_exe().map_err(Failure::at(Path::new("xtask")))?;
    let folder = own.parent().and_then(Path::parent).map(Path::to_owned);
    folder.ok_or_else(|| Failure::wrong("xtask does not run from a target directory"))
}

/// A folder on a tmpfs, removed at the end.
pub(super) fn tmpfs() -> Result<tempfile::TempDir, Failure> {
    folder_in(Path::new(TMPFS))
}

/// A folder on a file system of its own choice or where cargo builds, removed at the end.
pub(super) fn disk(wanted: Option<&Path>) -> Result<tempfile::TempDir, Failure> {
    match wanted {
        Some(folder) => folder_in(folder),
        None => folder_in(&target_dir()?),
    }
}

fn folder_in(parent: &Path) -> Result<tempfile::TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("outband-bench-").tempdir_in(parent).map_err(Failure::at(parent))
}

/// Thousands of sessions need more descriptors than a shell allows by itself; children inherit this.
pub(crate) fn allow_many_files() -> Result<(), Failure> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(|error| Failure::Io {
        what: "raising the limit of open files".into(),
        source: error.into(),
    })
}

/// What the figures depend on, in a line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let count = thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{count} × {model}, Linux {}", kernel.trim())
}
