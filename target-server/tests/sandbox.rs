//! What a process in the sandbox can do no more, and that the program is in it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use outband_target_server::sandbox::{Reach, enter};

type Attempt = (&'static str, Box<dyn Fn() -> io::Result<()> + Send>);

/// Things that whoever has taken the process over would like to do.
fn attempts(outside: &Path) -> Vec<Attempt> {
    let file = outside.join("file");
    let at = |name: &str| outside.join(name);
    let (a, b, c, d, e, f) = (at("a"), at("b"), at("c"), at("d"), at("e"), at("f"));
    let (g, h, i, j) = (at("g"), at("h"), at("i"), at("j"));
    let (read, cut, gone) = (file.clone(), file.clone(), file.clone());
    let (moved, linked) = (file.clone(), file);
    let folder = outside.to_owned();
    vec![
        ("read a file", Box::new(move || fs::read(&read).map(drop))),
        ("read /etc/shadow", Box::new(|| fs::read("/etc/shadow").map(drop))),
        ("read /etc/passwd", Box::new(|| fs::read("/etc/passwd").map(drop))),
        ("list the root", Box::new(|| fs::read_dir("/").map(drop))),
        ("list what others keep", Box::new(|| fs::read_dir("/var/lib").map(drop))),
        ("list a folder", Box::new(move || fs::read_dir(&folder).map(drop))),
        ("make a file", Box::new(move || File::create(&a).map(drop))),
        ("make a passing file", Box::new(|| tempfile::tempfile().map(drop))),
        ("make a folder", Box::new(move || fs::create_dir(&b))),
        ("make a link", Box::new(move || symlink("/etc/shadow", &c))),
        ("cut a file", Box::new(move || File::options().write(true).open(&cut)?.set_len(0))),
        ("remove a file", Box::new(move || fs::remove_file(&gone))),
        ("move a file", Box::new(move || fs::rename(&moved, &d))),
        ("link a file", Box::new(move || fs::hard_link(&linked, &e))),
        ("write to the kernel", Box::new(|| fs::write("/proc/sys/kernel/core_pattern", "x"))),
        ("open memory", Box::new(|| File::open("/dev/mem").map(drop))),
        ("open a disk", Box::new(|| File::open("/dev/vda").map(drop))),
        ("run a program", Box::new(|| Command::new("/bin/true").status().map(drop))),
        ("run a shell", Box::new(|| Command::new("/bin/sh").arg("-c").arg(":").status().map(drop))),
        ("change the root", Box::new(|| std::os::unix::fs::chroot("/"))),
        ("change an owner", Box::new(move || std::os::unix::fs::chown(&f, Some(1), None))),
        ("make a pipe with a name", Box::new(move || mknod(&g, rustix::fs::FileType::Fifo))),
        ("make a device", Box::new(move || mknod(&h, rustix::fs::FileType::BlockDevice))),
        ("make a socket", Box::new(move || std::os::unix::net::UnixListener::bind(&i).map(drop))),
        (
            "become another",
            Box::new(move || {
                fs::set_permissions(&j, Permissions::from_mode(0o4755))?;
                Command::new(&j).status().map(drop)
            }),
        ),
    ]
}

fn mknod(path: &Path, kind: rustix::fs::FileType) -> io::Result<()> {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    Ok(rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0)?)
}

#[test]
fn nothing_outside_of_its_reach_can_be_done_from_inside() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("file"), "a secret").unwrap();
    let attempts = attempts(outside.path());
    let reach = Reach { readable: Vec::new(), writable: vec![inside.path().to_owned()] };
    let own = inside.path().to_owned();
    // The sandbox is a thread's, so that one of a test can be in it alone.
    let confined = std::thread::spawn(move || {
        enter(&reach).unwrap();
        let done = attempts.iter().filter(|(_, attempt)| attempt().is_ok());
        let done: Vec<_> = done.map(|(what, _)| *what).collect();
        // What it is there for goes on.
        fs::write(own.join("new"), "x").unwrap();
        fs::rename(own.join("new"), own.join("old")).unwrap();
        File::open(own.join("old")).unwrap().sync_all().unwrap();
        TcpListener::bind("127.0.0.1:0").unwrap();
        std::thread::spawn(|| {}).join().unwrap();
        done
    });
    assert_eq!(confined.join().unwrap(), [""; 0]);
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "a secret");
}

struct Served(Child);

impl Served {
    fn start(options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outband-target"));
        command.args(options).args(["serve", "--memory", "1M", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with("iscsi://"), "{first:?}");
        Self(child)
    }

    /// A field of the status of each of its threads.
    fn threads(&self, field: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let status = |task: io::Result<fs::DirEntry>| {
            let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            line.unwrap().trim().to_owned()
        };
        tasks.map(status).collect()
    }

    fn log(mut self) -> String {
        self.0.kill().unwrap();
        let mut log = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        self.0.wait().unwrap();
        log
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_thread_of_the_program_is_confined() {
    let served = Served::start(&[]);
    let threads = served.threads("Seccomp");
    assert!(threads.len() > 1, "the runtime and the shards have threads of their own");
    assert!(threads.iter().all(|mode| mode == "2"), "{threads:?}");
    assert!(served.threads("NoNewPrivs").iter().all(|set| set == "1"));
    for held in served.threads("CapEff") {
        let held = u64::from_str_radix(&held, 16).unwrap();
        let kept = [1, 2, 3, 10, 14].iter().fold(0, |all, bit| all | 1 << bit);
        assert_eq!(held & !kept, 0, "{held:x}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", served.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
}

#[test]
fn without_the_sandbox_the_log_says_so() {
    let served = Served::start(&["--no-sandbox"]);
    assert!(served.threads("Seccomp").iter().all(|mode| mode == "0"));
    assert!(served.log().contains("without the sandbox"));
}
