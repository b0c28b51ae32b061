//! The binary as a user runs it: `outband-target serve`, its first line, its stop, its refusals,
//! and what survives kill -9.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]
#![allow(clippy::cast_possible_truncation, reason = "patterns of bytes wrap, and are to")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use outband_initiator::{Config, Discovery, Disk};

/// A process that ends with the test, however the test ends.
struct Target {
    child: Child,
    url: String,
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outband-target"));
    command.args(args);
    command
}

fn serve(args: &[&str]) -> Target {
    let mut child = command(&["serve", "--listen", "127.0.0.1:0"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    Target { child, url: url.trim().to_owned() }
}

fn refused(args: &[&str]) -> String {
    let Output { status, stderr, .. } = command(args).output().unwrap();
    assert!(!status.success(), "{args:?} was not refused");
    String::from_utf8(stderr).unwrap()
}

impl Target {
    async fn disk(&self) -> Disk {
        let config = Config::from_url(&self.url).unwrap();
        Disk::connect(config.initiator("iqn.2026-11.local.host:t")).await.unwrap()
    }

    /// Asks it to stop, and waits for a bounded time.
    fn stop(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[tokio::test]
async fn the_first_line_is_a_url_that_works_and_sigterm_ends_it_in_order() {
    let mut target = serve(&["--memory", "8M", "--any-host"]);
    assert!(target.url.starts_with("iscsi://127.0.0.1:"), "{}", target.url);
    assert!(target.url.ends_with("/iqn.2026-11.local.outband:local:memory/0"), "{}", target.url);
    let disk = target.disk().await;
    disk.write_at(0, vec![3; 4096]).await.unwrap();
    assert!(target.stop().success());
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_nine_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    let file = file.to_str().unwrap();
    // `cargo xtask soak` wants more of them.
    let kills = std::env::var("OUTBAND_KILLS").ok().and_then(|kills| kills.parse().ok());
    for policy in ["normal", "high"] {
        let mut acknowledged = [0u8; 8];
        for round in 1..=kills.unwrap_or(8u32) / 2 {
            let mut target = serve(&[file, "--size", "8M", "--write-policy", policy]);
            let disk = target.disk().await;
            for (at, value) in acknowledged.iter_mut().enumerate() {
                let offset = at as u64 * 65_536;
                let before = disk.read_at(offset, 65_536).await.unwrap();
                assert!(before.iter().all(|byte| *byte == *value || *value == 0), "block {at}");
                *value = (round * 8) as u8 + at as u8;
                disk.write_at(offset, vec![*value; 65_536]).await.unwrap();
            }
            target.child.kill().unwrap();
            target.child.wait().unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_in_use_is_refused_by_its_users_pid() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    let file = file.to_str().unwrap();
    let target = serve(&[file, "--size", "8M"]);
    let said = refused(&["serve", file, "--listen", "127.0.0.1:0"]);
    assert!(said.contains(&format!("in use by process {}", target.child.id())), "{said}");
}

#[test]
fn what_cannot_be_served_is_refused_with_what_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let missing = refused(&["serve", &at("none.img")]);
    assert!(missing.contains("--size"), "{missing}");
    let open = refused(&["serve", "--memory", "8M", "--listen", "0.0.0.0:0"]);
    assert!(open.contains("--host") && open.contains("--any-host"), "{open}");
    let wildcard = refused(&["serve", "--memory", "8M", "--listen", "0.0.0.0:0", "--any-host"]);
    assert!(wildcard.contains("--advertise"), "{wildcard}");
    let secret = at("secret");
    std::fs::write(&secret, "short\n").unwrap();
    let chap = ["serve", "--memory", "8M", "--chap-user", "a", "--chap-secret-file", &secret];
    let short = refused(&chap);
    assert!(short.contains("at least 12 bytes"), "{short}");
    std::fs::write(&secret, "one secret for both\n").unwrap();
    let mutual = ["--mutual-chap-user", "b", "--mutual-chap-secret-file", &secret];
    let same = refused(&[&chap[..], &mutual].concat());
    assert!(same.contains("must differ"), "{same}");
    let alone = refused(&[&["serve", "--memory", "8M"], &mutual[..]].concat());
    assert!(alone.contains("--chap-user"), "{alone}");
}

#[tokio::test]
async fn with_mutual_chap_an_impostor_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, secret: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, secret).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (hosts, ours) =
        (file("hosts", "the secret of hosts"), file("ours", "what we prove to know"));
    let chap = ["--memory", "8M", "--any-host", "--chap-user", "a", "--chap-secret-file", &hosts];
    let mutual = ["--mutual-chap-user", "b", "--mutual-chap-secret-file", &ours];
    let target = serve(&[&chap[..], &mutual].concat());
    let impostor = serve(&chap);
    let to = |target: &Target| {
        let config = Config::from_url(&target.url).unwrap().initiator("iqn.2026-11.local.host:t");
        config.chap("a", "the secret of hosts")
    };
    let trusting = Disk::connect(to(&target)).await;
    assert!(trusting.is_ok(), "a host need not ask");
    Disk::connect(to(&target).mutual_chap("b", "what we prove to know")).await.unwrap();
    for (of, user, secret) in [
        (&target, "b", "what it does not know"),
        (&target, "c", "what we prove to know"),
        (&impostor, "b", "what we prove to know"),
    ] {
        let doubtful = Disk::connect(to(of).mutual_chap(user, secret)).await;
        assert!(doubtful.is_err(), "{user} {secret}");
    }
    let portal = target.url.strip_prefix("iscsi://").unwrap().split('/').next().unwrap();
    let ask = |secret| {
        let ask = Discovery::new(portal, "iqn.2026-11.local.host:t");
        ask.chap("a", "the secret of hosts").mutual_chap("b", secret).run()
    };
    assert_eq!(ask("what we prove to know").await.unwrap().len(), 1);
    assert!(ask("what it does not know").await.is_err());
}

#[tokio::test]
async fn a_portal_may_have_an_ipv6_address() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("six.img");
    let mut child =
        command(&["serve", file.to_str().unwrap(), "--size", "1M", "--listen", "[::1]:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let target = Target { child, url: url.trim().to_owned() };
    assert!(target.url.starts_with("iscsi://[::1]:"), "{}", target.url);
    let disk = target.disk().await;
    disk.write_at(0, vec![6; 512]).await.unwrap();
    assert_eq!(disk.read_at(0, 512).await.unwrap(), vec![6; 512]);
    let portal = target.url.strip_prefix("iscsi://").unwrap().split('/').next().unwrap();
    let found = Discovery::new(portal, "iqn.2026-11.local.host:t").run().await.unwrap();
    let portals: Vec<_> = found[0].portals.iter().map(ToString::to_string).collect();
    assert_eq!(portals, [format!("{portal},1")]);
}

#[test]
fn sizes_that_no_volume_has_are_refused_with_those_that_are_possible() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, len: u64| {
        let path = dir.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(len).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (small, odd) = (file("small.img", 1000), file("odd.img", (1 << 20) + 512));
    let uneven = file("uneven.img", (1 << 20) + 1);
    let new = dir.path().join("new.img");
    let new = new.to_str().unwrap();
    let limits = "a volume has from 1 MiB to 8 EiB";
    let table: [(&[&str], &str); 15] = [
        (&[&small], limits),
        (&[new, "--size", "1023K"], limits),
        (&[new, "--size", "9E"], limits),
        (&["--memory", "1023K"], limits),
        (&["--memory", "9E"], limits),
        (&[new, "--size", "8E"], "a file ends before 8 EiB"),
        (&[new, "--size", "1048577"], "whole number of 512-byte blocks; 1048576 would be"),
        (&[new, "--size", "1049088", "--block-size", "4096"], "whole number of 4096-byte blocks"),
        (&["--memory", "1049088", "--block-size", "4096"], "whole number of 4096-byte blocks"),
        (&[&odd, "--block-size", "4096"], "1049088 bytes are not a whole number of 4096-byte"),
        (&[&uneven], "1048577 bytes are not a whole number of 512-byte"),
        (&["--memory", "8M", "--block-size", "1024"], "512 or 4096 bytes"),
        (&["--memory", "8M", "--physical-block-size", "1000"], "a power of two"),
        (&["--memory", "8M", "--physical-block-size", "131072"], "512 to 65536 bytes"),
        (
            &["--memory", "8M", "--block-size", "4096", "--physical-block-size", "512"],
            "512 bytes are less than a block",
        ),
    ];
    for (arguments, why) in table {
        let said = refused(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
    assert!(!Path::new(new).exists(), "nothing is made that cannot be served");
}

/// A client that nobody here wrote. It ends within a bounded time, or the test does.
fn client(name: &str, arguments: &[&str]) -> String {
    let output = Command::new("timeout").args(["60", name]).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    let hint = if output.status.code() == Some(127) { "; run `cargo xtask tools`" } else { "" };
    assert!(output.status.success(), "{name} {arguments:?}{hint}: {stdout}{stderr}");
    stdout
}

/// 3 TiB of file, of which only what is written takes room: block addresses beyond 32 bits.
#[tokio::test]
async fn blocks_past_two_to_the_32_are_where_they_belong_in_a_large_sparse_file() {
    for block_size in [512u64, 4096] {
        // Memory, where there is such a place: what is written takes room.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = dir.path().join("large.img");
        // At 4096 bytes a block, 2^32 blocks are 16 TiB, which only some file systems have.
        let len = if block_size == 512 { 3 << 40 } else { 17 << 40 };
        let file = std::fs::File::create(&path).unwrap();
        if let Err(error) = file.set_len(len) {
            assert!(
                block_size == 4096,
                "no sparse file of 3 TiB in {}: {error}",
                dir.path().display()
            );
            continue;
        }
        let path = path.to_str().unwrap();
        let mut target = serve(&[path, "--block-size", &block_size.to_string()]);
        let capacity = client("iscsi-readcapacity16", &[&target.url]);
        assert!(capacity.contains(&format!("ADDRESS:{}\n", len / block_size - 1)), "{capacity}");

        // Around block 2^32, where a number of 32 bits would be 0 again, and at the very end.
        let wrap = block_size << 32;
        let io = |at: u64, how: &str| {
            let command = format!("{how} {at} 65536");
            let said = client("qemu-io", &["-f", "raw", "-c", &command, &target.url]);
            assert!(said.contains("65536/65536"), "{command}: {said}");
        };
        io(wrap - 32_768, "write -P 0xa1");
        io(len - 65_536, "write -f -P 0xa2");
        io(wrap - 32_768, "read -P 0xa1");
        io(len - 65_536, "read -P 0xa2");
        io(0, "read -P 0");
        let disk = target.disk().await;
        assert!(disk.read_at(wrap, 4096).await.unwrap().iter().all(|byte| *byte == 0xa1));
        disk.write_at(wrap, vec![0xa3; 4096]).await.unwrap();
        drop(disk);
        io(wrap + 4096, "discard");
        assert!(target.stop().success());

        let read = |at: u64| {
            let mut bytes = [1; 4096];
            std::os::unix::fs::FileExt::read_exact_at(
                &std::fs::File::open(path).unwrap(),
                &mut bytes,
                at,
            )
            .unwrap();
            bytes
        };
        for (at, byte) in
            [(wrap - 4096, 0xa1), (wrap, 0xa3), (len - 4096, 0xa2), (0, 0), (32_768, 0)]
        {
            assert!(read(at) == [byte; 4096], "at {at}");
        }
    }
}

/// The same file with other blocks is another disk: its addresses mean other bytes.
#[tokio::test]
async fn a_file_is_the_same_disk_at_each_start_unless_its_blocks_are_others() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    let file = file.to_str().unwrap();
    let mut serials = Vec::new();
    for block_size in ["512", "512", "4096", "4096"] {
        let mut target = serve(&[file, "--size", "8M", "--block-size", block_size]);
        let disk = target.disk().await;
        assert_eq!(disk.block_size().to_string(), block_size);
        serials.push(disk.serial_number().await.unwrap());
        disk.close().await.unwrap();
        assert!(target.stop().success());
    }
    assert!(serials[0] == serials[1] && serials[2] == serials[3] && serials[1] != serials[2]);
}

#[tokio::test]
async fn hosts_are_told_of_the_physical_blocks_that_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    let file = file.to_str().unwrap();
    for (arguments, told) in [
        (&[file, "--size", "8M", "--physical-block-size", "512"][..], 512),
        (&[file, "--physical-block-size", "8192"], 8192),
        (&["--memory", "8M"], 512),
        (&["--memory", "8M", "--physical-block-size", "4096"], 4096),
    ] {
        let mut target = serve(arguments);
        let disk = target.disk().await;
        assert_eq!(disk.geometry().physical_block_size, told, "{arguments:?}");
        disk.close().await.unwrap();
        assert!(target.stop().success());
    }
}

/// A loop device over `file`; detached when dropped.
struct Loop(String);

impl Loop {
    fn over(file: &Path) -> Option<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        output.status.success().then_some(Self(name))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[tokio::test]
async fn a_block_device_is_served_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    std::fs::File::create(&file).unwrap().set_len(8 << 20).unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: making a loop device takes root");
        return;
    }
    let device = Loop::over(&file).expect("root can make a loop device");
    let target = serve(&[&device.0, "--any-host"]);
    let disk = target.disk().await;
    assert_eq!(disk.capacity(), 8 << 20);
    disk.write_at(1 << 20, vec![0x5a; 1 << 20]).await.unwrap();
    disk.flush().await.unwrap();
    assert!(disk.read_at(1 << 20, 1 << 20).await.unwrap().iter().all(|byte| *byte == 0x5a));
    disk.unmap(1 << 20, 64 << 10).await.unwrap();
    assert!(disk.read_at(1 << 20, 64 << 10).await.unwrap().iter().all(|byte| *byte == 0));
    drop(target);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes[(1 << 20) + (64 << 10)..2 << 20].iter().all(|byte| *byte == 0x5a));
}

#[tokio::test]
async fn a_file_is_read_and_written_around_the_page_cache_unless_it_is_asked_for() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("volume");
    let file = file.to_str().unwrap();
    for (option, direct) in [(None, true), (Some("--page-cache"), false), (None, true)] {
        let args = [Some(file), Some("--size"), Some("8M"), option];
        let mut target = serve(&args.into_iter().flatten().collect::<Vec<_>>());
        assert_eq!(goes_around_the_page_cache(&target.child, file), direct, "{option:?}");
        let disk = target.disk().await;
        // Of the round before: none where the file was just made.
        let there = disk.read_at(4096, 4096).await.unwrap();
        assert!(there.iter().all(|byte| *byte == there[0]));
        disk.write_at(4096, vec![there[0] + 1; 4096]).await.unwrap();
        assert_eq!(disk.read_at(4096, 4096).await.unwrap()[0], there[0] + 1);
        target.child.kill().unwrap();
        target.child.wait().unwrap();
    }
    let disk = std::fs::read(file).unwrap();
    assert_eq!((disk[4096], disk[8191], disk[8192]), (3, 3, 0));
}

/// What the kernel says of the flags of the process's descriptor.
fn goes_around_the_page_cache(process: &Child, file: &str) -> bool {
    let of = |kind: &str| format!("/proc/{}/{kind}", process.id());
    let open = std::fs::read_dir(of("fd")).unwrap().map(Result::unwrap);
    let is_it = |path: &Path| std::fs::read_link(path).is_ok_and(|to| to == Path::new(file));
    let fd = open.map(|entry| entry.path()).find(|path| is_it(path)).unwrap();
    let number = fd.file_name().unwrap().to_str().unwrap();
    let said = std::fs::read_to_string(format!("{}/{number}", of("fdinfo"))).unwrap();
    let flags = said.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    flags & rustix::fs::OFlags::DIRECT.bits() != 0
}

#[tokio::test]
async fn a_shard_that_looks_before_it_sleeps_serves_as_well_and_not_for_too_long() {
    let mut target = serve(&["--memory", "8M", "--busy-poll-us", "100"]);
    let disk = target.disk().await;
    for round in 0..100 {
        disk.write_at(0, vec![round; 4096]).await.unwrap();
        assert_eq!(disk.read_at(0, 4096).await.unwrap()[4095], round);
    }
    assert!(target.stop().success());
    let told = refused(&["serve", "--memory", "8M", "--busy-poll-us", "10001"]);
    assert!(told.contains("10001 is not in 0..=10000"), "{told}");
}
