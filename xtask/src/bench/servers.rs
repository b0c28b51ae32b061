//! The servers that are measured: each on the server's cores, on a free port, ended with its owner.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::places::{Cores, pinned, release};
use crate::failure::Failure;
use crate::process::{Guard, indented, tool};

const START: Duration = Duration::from_secs(30);
/// How often a port is knocked at.
const LOOK: Duration = Duration::from_millis(20);

/// A server with one volume.
#[derive(Debug)]
pub(super) struct Server {
    process: Guard,
    /// As `outband-bench-load` takes it.
    pub(super) url: String,
}

impl Server {
    pub(super) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// How `outband-target` is started.
#[derive(Clone, Debug, Default)]
pub(super) struct Ours {
    /// The binary, if not the one of this build.
    pub(super) binary: Option<PathBuf>,
    /// What to serve and how, as `outband-target serve` takes it.
    pub(super) arguments: Vec<String>,
}

impl Ours {
    /// A volume in memory.
    pub(super) fn memory(mib: u32) -> Self {
        Self { binary: None, arguments: vec!["--memory".into(), format!("{mib}MiB")] }
    }

    /// A file, as it is.
    pub(super) fn file(image: &Path) -> Self {
        Self { binary: None, arguments: vec![image.display().to_string()] }
    }

    /// Its log lies in `folder`.
    pub(super) fn start(&self, cores: &Cores, folder: &Path) -> Result<Server, Failure> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => release("outband-target")?,
        };
        let mut command = pinned(&cores.server, binary)?;
        command.arg("serve").args(&self.arguments).args(["--listen", "127.0.0.1:0"]);
        // A line for each of thousands of sessions would be measured, too.
        command.env("OUTBAND_LOG", "warn").stdout(Stdio::piped());
        let mut process = Guard(spawn(&mut command, folder, "outband-target")?);
        let stdout = process.0.stdout.take().expect("standard output is a pipe");
        let (sender, receiver) = mpsc::channel();
        // Ends with the target: the pipe closes, or nobody receives any more.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        match receiver.recv_timeout(START) {
            Ok(url) if url.starts_with("iscsi://") => Ok(Server { process, url }),
            said => Err(failed(folder, "outband-target", &format!("said {said:?}"))),
        }
    }
}

/// nbdkit with one of its plugins: `memory SIZE` or `file PATH`.
pub(super) fn nbdkit(cores: &Cores, folder: &Path, plugin: &[String]) -> Result<Server, Failure> {
    let port = free_port()?;
    let mut command = pinned(&cores.server, tool("nbdkit")?)?;
    command.args(["--foreground", "--ipaddr", "127.0.0.1", "--port", &port.to_string()]);
    nbd(command.args(plugin), folder, "nbdkit", port)
}

/// qemu-storage-daemon on a file, by io_uring and through the page cache.
pub(super) fn qsd(cores: &Cores, folder: &Path, image: &Path) -> Result<Server, Failure> {
    let port = free_port()?;
    let mut command = pinned(&cores.server, tool("qemu-storage-daemon")?)?;
    let image = image.display();
    // The image is shared with other peers, each in its turn: it is not locked.
    command.arg("--blockdev");
    command.arg(format!("driver=file,node-name=file,filename={image},aio=io_uring,locking=off"));
    command.args(["--blockdev", "driver=raw,node-name=raw,file=file", "--nbd-server"]);
    command.arg(format!("addr.type=inet,addr.host=127.0.0.1,addr.port={port}"));
    command.args(["--export", "type=nbd,id=export,node-name=raw,name=,writable=on"]);
    nbd(&mut command, folder, "qemu-storage-daemon", port)
}

/// Waits until an NBD server takes connections.
fn nbd(command: &mut Command, folder: &Path, name: &str, port: u16) -> Result<Server, Failure> {
    let mut process = Guard(spawn(command.stdout(Stdio::null()), folder, name)?);
    let deadline = Instant::now() + START;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = process.0.try_wait().map_err(Failure::at(Path::new(name)))?;
        if ended.is_some() || Instant::now() >= deadline {
            return Err(failed(folder, name, "does not listen"));
        }
        thread::sleep(LOOK);
    }
    Ok(Server { process, url: format!("nbd://127.0.0.1:{port}/") })
}

fn spawn(command: &mut Command, folder: &Path, name: &str) -> Result<Child, Failure> {
    let path = log(folder, name);
    let file = File::create(&path).map_err(Failure::at(&path))?;
    command.stdin(Stdio::null()).stderr(file).spawn().map_err(Failure::at(Path::new(name)))
}

fn log(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

fn failed(folder: &Path, name: &str, what: &str) -> Failure {
    let log = std::fs::read_to_string(log(folder, name)).unwrap_or_default();
    Failure::wrong(format!("{name} {what}; its log:{}", indented(&log)))
}

/// These servers take no port 0. Somebody else may take the port before they do; then they say so.
fn free_port() -> Result<u16, Failure> {
    let taken = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let failed = |source| Failure::Io { what: "taking a free port".into(), source };
    Ok(taken.map_err(failed)?.port())
}
