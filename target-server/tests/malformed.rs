//! What broke other targets, said to the real binary while a healthy session works beside it. Each
//! test is named after what it repeats; the list is in `SECURITY.md`. None may end the process, stop
//! the healthy session or be let in.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outband_initiator::{Config, Disk};

const SECRET: &str = "a-secret-of-host-a";
const INITIATOR: &str = "iqn.2026-11.local.host:bad";
/// Nothing that is to come takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program, and somebody who only wants to use it.
struct Scene {
    child: Child,
    url: String,
    portal: SocketAddr,
    target: String,
    healthy: Disk,
    round: u8,
    dir: tempfile::TempDir,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Scene {
    async fn open() -> Self {
        Self::with(false).await
    }

    async fn with(chap: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (secret, log) = (dir.path().join("secret"), dir.path().join("log"));
        fs::write(&secret, SECRET).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_outband-target"));
        command.args(["serve", "--memory", "8M", "--listen", "127.0.0.1:0", "--any-host"]);
        command.args(["--sessions-per-portal", "64", "--shards", "2"]);
        if chap {
            command.args(["--chap-user", "a", "--chap-secret-file"]).arg(&secret);
        }
        let log = fs::File::create(log).unwrap();
        let command = command.env("OUTBAND_LOG", "trace").stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        let mut parts = url.strip_prefix("iscsi://").unwrap().split('/');
        let portal = parts.next().unwrap().parse().unwrap();
        let target = parts.next().unwrap().to_owned();
        let config = Config::from_url(&url).unwrap().initiator("iqn.2026-11.local.host:good");
        let config = if chap { config.chap("a", SECRET) } else { config };
        let healthy = Disk::connect(config).await.unwrap();
        Self { child, url, portal, target, healthy, round: 0, dir }
    }

    /// The healthy session reads what it has written.
    async fn is_well(&mut self) {
        self.round = self.round.wrapping_add(1);
        let bytes = vec![self.round; 65_536];
        self.healthy.write_at(1 << 20, bytes.clone()).await.unwrap();
        assert_eq!(self.healthy.read_at(1 << 20, 65_536).await.unwrap(), bytes);
        assert!(self.child.try_wait().unwrap().is_none(), "{} has ended", self.url);
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
        assert!(!log.contains("panicked"), "{log}");
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.portal).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Says `bytes` and hangs up; what was answered until the target did so too.
    fn say(&self, bytes: &[u8]) -> Vec<u8> {
        say(self.connect(), bytes)
    }

    fn names(&self) -> Vec<u8> {
        format!("InitiatorName={INITIATOR}\0TargetName={}\0", self.target).into_bytes()
    }

    /// A session that stands.
    fn logged_in(&self) -> TcpStream {
        let mut stream = self.connect();
        let mut text = self.names();
        text.extend(b"InitialR2T=Yes\0ImmediateData=No\0HeaderDigest=None\0DataDigest=None\0");
        stream.write_all(&login(0x87, &text)).unwrap();
        let (header, _) = hear(&mut stream);
        assert_eq!((header[0], header[36]), (0x23, 0), "it was not let in");
        stream
    }
}

fn say(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    // It may hang up on us at any byte.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// One PDU.
fn hear(stream: &mut TcpStream) -> ([u8; 48], Vec<u8>) {
    let mut header = [0; 48];
    stream.read_exact(&mut header).unwrap();
    let len = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
    let mut data = vec![0; len.next_multiple_of(4)];
    stream.read_exact(&mut data).unwrap();
    data.truncate(len);
    (header, data)
}

fn pdu(mut header: [u8; 48], data: &[u8]) -> Vec<u8> {
    let [_, len @ ..] = u32::try_from(data.len()).unwrap().to_be_bytes();
    header[5..8].copy_from_slice(&len);
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A Login Request with these flags and stages.
fn login(flags: u8, text: &[u8]) -> Vec<u8> {
    let mut header = [0; 48];
    header[0] = 0x43;
    header[1] = flags;
    header[8..14].copy_from_slice(&[0x80, 0, 0, 0, 0, 1]);
    header[27] = 1;
    pdu(header, text)
}

/// A SCSI Command: `flags` has the R and W bits, `expected` bytes are to move.
fn command(number: u8, flags: u8, expected: u32, cdb: &[u8]) -> Vec<u8> {
    let mut header = [0; 48];
    header[0] = 0x01;
    header[1] = 0x80 | flags;
    header[19] = number;
    header[20..24].copy_from_slice(&expected.to_be_bytes());
    header[27] = number;
    header[32..32 + cdb.len()].copy_from_slice(cdb);
    pdu(header, &[])
}

const READ: u8 = 0x40;
const WRITE: u8 = 0x20;

/// Answers the R2T that is due with `list`.
fn data_out(r2t: &[u8; 48], list: &[u8]) -> Vec<u8> {
    let mut header = [0; 48];
    header[0] = 0x05;
    header[1] = 0x80;
    header[16..20].copy_from_slice(&r2t[16..20]);
    header[20..24].copy_from_slice(&r2t[20..24]);
    header[40..44].copy_from_slice(&r2t[40..44]);
    pdu(header, list)
}

/// Says the command until it is not met by a unit attention, with `list` behind it if one is asked
/// for. The last header.
fn carry_out(stream: &mut TcpStream, first: u8, cdb: &[u8], list: &[u8]) -> [u8; 48] {
    let len = u32::try_from(list.len()).unwrap();
    for number in first..first + 4 {
        let flags = if list.is_empty() { READ } else { WRITE };
        stream.write_all(&command(number, flags, len.max(64), cdb)).unwrap();
        let (mut header, mut data) = hear(stream);
        while header[0] == 0x31 {
            stream.write_all(&data_out(&header, list)).unwrap();
            (header, data) = hear(stream);
        }
        let attention = data.get(4).is_some_and(|key| key & 0x0f == 6);
        if header[0] != 0x21 || !attention {
            return header;
        }
    }
    panic!("nothing but unit attentions");
}

#[tokio::test]
async fn lio_cve_2013_2850_key_names_of_any_length() {
    let mut scene = Scene::open().await;
    for len in [1, 62, 63, 64, 65, 255, 256, 4096, 8191, 8192] {
        let mut text = scene.names();
        text.extend(vec![b'K'; len]);
        text.extend(b"=value\0");
        scene.say(&login(0x87, &text));
        scene.is_well().await;
    }
    // More than the longest segment that a login has: the header alone is an offence.
    let mut header = [0; 48];
    header[0] = 0x43;
    header[5..8].copy_from_slice(&[0xff; 3]);
    scene.say(&header);
    scene.is_well().await;
}

#[tokio::test]
async fn lio_many_keys_that_each_force_an_answer() {
    let mut scene = Scene::open().await;
    for count in [10, 100, 600] {
        let mut text = scene.names();
        for key in 0..count {
            text.extend(format!("X-{key}=1\0").bytes());
        }
        text.truncate(8192);
        let answer = scene.say(&login(0x87, &text));
        assert!(answer.len() <= 16 << 10, "{} bytes for {}", answer.len(), text.len());
        scene.is_well().await;
    }
}

#[tokio::test]
async fn lio_text_that_fills_its_segment_and_has_no_end() {
    let mut scene = Scene::open().await;
    for len in [1, 3, 4, 5, 511, 512, 8188, 8189, 8190, 8191, 8192] {
        let mut text = scene.names();
        text.extend(b"X-long=");
        text.resize(text.len().max(len), b'v');
        text.truncate(len);
        scene.say(&login(0x87, &text));
        scene.say(&login(0x47, &text));
    }
    scene.is_well().await;
}

#[tokio::test]
async fn lio_chap_fields_of_any_length_and_form() {
    let mut scene = Scene::with(true).await;
    let zeros = |count: usize| "0".repeat(count);
    let proofs = [
        "CHAP_N=a\0CHAP_R=0x00\0".to_owned(),
        "CHAP_N=a\0CHAP_R=0b====\0".to_owned(),
        format!("CHAP_N=a\0CHAP_R=0x{}\0", zeros(4000)),
        format!("CHAP_N=a\0CHAP_R=0b{}\0", "A".repeat(4000)),
        format!("CHAP_N={}\0CHAP_R=0x{}\0", "n".repeat(5000), zeros(32)),
        format!("CHAP_N=a\0CHAP_R=0x{}\0CHAP_I=256\0CHAP_C=0x{}\0", zeros(32), zeros(32)),
        format!("CHAP_N=a\0CHAP_R=0x{}\0CHAP_I=0x01\0CHAP_C=0x{}\0", zeros(32), zeros(2050)),
        format!("CHAP_R=0x{}\0", zeros(32)),
        "CHAP_N=a\0CHAP_N=a\0".to_owned(),
    ];
    for proof in proofs {
        let mut text = scene.names();
        text.extend(b"AuthMethod=CHAP\0SessionType=Normal\0");
        let mut bytes = login(0x00, &text);
        bytes.extend(login(0x00, b"CHAP_A=5\0"));
        bytes.extend(login(0x81, proof.as_bytes()));
        let answer = scene.say(&bytes);
        assert_refused(&answer);
    }
    scene.is_well().await;
}

/// Login Responses, each with its data.
fn responses(mut answer: &[u8]) -> Vec<(&[u8; 48], &[u8])> {
    let mut all = Vec::new();
    while let Some((header, rest)) = answer.split_first_chunk::<48>() {
        assert_eq!(header[0], 0x23, "something else than a login was answered");
        let len = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
        let (data, rest) = rest.split_at(len.next_multiple_of(4).min(rest.len()));
        all.push((header, data));
        answer = rest;
    }
    all
}

/// The last Login Response has a status class of its own, or there is none.
fn assert_refused(answer: &[u8]) {
    let all = responses(answer);
    let admits = |header: &[u8; 48]| header[1] & 0x83 == 0x83;
    assert!(
        !all.iter().any(|(header, _)| admits(header)),
        "it was let into the full feature phase"
    );
    assert!(all.last().is_none_or(|(header, _)| header[36] != 0), "{all:?}");
}

#[tokio::test]
async fn lio_cve_2026_53176_logins_shorter_than_their_header() {
    let mut scene = Scene::open().await;
    let whole = login(0x87, &scene.names());
    for len in 0..whole.len() {
        assert_eq!(scene.say(&whole[..len]), [0; 0], "{len} bytes of a login were answered");
    }
    scene.is_well().await;
}

#[tokio::test]
async fn lio_unmap_and_its_inner_lengths() {
    let mut scene = Scene::open().await;
    for (lba, blocks) in [(u64::MAX, 1u32), (u64::MAX - 7, 16), (0, u32::MAX), (16_384, 1)] {
        let mut list = vec![0; 24];
        list[1] = 22;
        list[3] = 16;
        list[8..16].copy_from_slice(&lba.to_be_bytes());
        list[16..20].copy_from_slice(&blocks.to_be_bytes());
        let mut stream = scene.logged_in();
        let cdb = [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0];
        let end = carry_out(&mut stream, 1, &cdb, &list);
        assert_eq!((end[0], end[3]), (0x21, 2), "{blocks} blocks at {lba} were unmapped");
    }
    // Inner lengths that say more, less, or something between two descriptors.
    for inner in [[0u8, 0, 0, 0], [255; 4], [0, 23, 0, 17], [0, 21, 0, 15], [0, 22, 255, 240]] {
        let mut list = vec![0; 24];
        list[..4].copy_from_slice(&inner);
        let mut stream = scene.logged_in();
        let end = carry_out(&mut stream, 1, &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], &list);
        assert_eq!(end[0], 0x21, "{inner:?}");
    }
    scene.is_well().await;
}

#[tokio::test]
async fn lio_and_scst_transport_ids_beyond_their_list() {
    let mut scene = Scene::open().await;
    for (told, id) in [(4u32, 0u16), (24, 20), (24, 0xffff), (u32::MAX, 16), (23, 19)] {
        // SPEC_I_PT, a TransportID list of `told` bytes, and in it an ISCSI name of `id` bytes.
        let mut list = vec![0; 52];
        list[15] = 1;
        list[20] = 0x08;
        list[24..28].copy_from_slice(&told.to_be_bytes());
        list[28] = 0x45;
        list[30..32].copy_from_slice(&id.to_be_bytes());
        list[32..52].copy_from_slice(b"iqn.2026-11.local:xx");
        let mut stream = scene.logged_in();
        let end = carry_out(&mut stream, 1, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 52, 0], &list);
        assert_eq!((end[0], end[3]), (0x21, 2), "{told} {id} was registered");
    }
    scene.is_well().await;
}

#[tokio::test]
async fn tgt_parameter_list_lengths_that_their_data_does_not_have() {
    let mut scene = Scene::open().await;
    // PERSISTENT RESERVE OUT once read sixteen of the thirty-two bits; WRITE SAME took any data-out.
    let cdbs: [&[u8]; 4] = [
        &[0x5f, 0, 0, 0, 0, 0, 1, 0, 24, 0],
        &[0x5f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0],
        &[0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        &[0x55, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff, 0],
    ];
    for cdb in cdbs {
        let mut stream = scene.logged_in();
        let end = carry_out(&mut stream, 1, cdb, &[0; 24]);
        assert_eq!((end[0], end[3]), (0x21, 2), "{cdb:02x?}");
    }
    scene.is_well().await;
}

#[tokio::test]
async fn lio_and_tgt_aborts_while_a_write_waits_for_its_data() {
    let mut scene = Scene::open().await;
    let write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 8, 0];
    // After the command; after its R2T; after a part of its data; with the connection cut behind it.
    for phase in 0..4 {
        let mut stream = scene.logged_in();
        // The number that is due, and the tag.
        let number = carry_out(&mut stream, 1, &[0; 6], &[])[31];
        stream.write_all(&command(number, WRITE, 4096, &write)).unwrap();
        if phase > 0 {
            let (r2t, _) = hear(&mut stream);
            assert_eq!(r2t[0], 0x31);
            if phase > 1 {
                let mut part = data_out(&r2t, &[0xaa; 512]);
                part[1] = 0;
                stream.write_all(&part).unwrap();
            }
        }
        let mut abort = [0; 48];
        abort[0] = 0x42;
        abort[1] = 0x81;
        abort[19] = 0x77;
        abort[23] = number;
        abort[27] = number + 1;
        abort[35] = number;
        stream.write_all(&abort).unwrap();
        if phase < 3 {
            while hear(&mut stream).0[0] != 0x22 {}
        }
        drop(stream);
        scene.is_well().await;
    }
}

#[tokio::test]
async fn spdk_cve_2021_28361_text_without_data_that_goes_on_for_ever() {
    let mut scene = Scene::open().await;
    let text = |flags: u8, number: u8| {
        let mut header = [0; 48];
        header[0] = 0x44;
        header[1] = flags;
        header[19] = 9;
        header[20..24].copy_from_slice(&[0xff; 4]);
        header[27] = number;
        header
    };
    let endless: Vec<_> = (0..200).flat_map(|_| pdu(text(0x40, 1), &[])).collect();
    say(scene.logged_in(), &endless);
    let growing: Vec<_> = (0..200).flat_map(|_| pdu(text(0x40, 1), &[b'k'; 4096])).collect();
    say(scene.logged_in(), &growing);
    let in_login: Vec<_> = (0..200).flat_map(|_| login(0x40, &[b'k'; 4096])).collect();
    scene.say(&in_login);
    scene.is_well().await;
}

#[tokio::test]
async fn nvme_tcp_and_others_lengths_in_headers() {
    let mut scene = Scene::open().await;
    // Additional headers, and segments, of every size that a field can have.
    for ahs in [1, 2, 0x40, 0xff] {
        let mut header = [0; 48];
        header[0] = 0x01;
        header[1] = 0x80;
        header[4] = ahs;
        header[27] = 1;
        let mut bytes = header.to_vec();
        bytes.resize(48 + usize::from(ahs) * 4, 0xff);
        say(scene.logged_in(), &bytes);
    }
    for len in [[0, 0x20, 1], [0x10, 0, 0], [0xff; 3]] {
        let mut header = [0; 48];
        header[0] = 0x40;
        header[1] = 0x80;
        header[5..8].copy_from_slice(&len);
        say(scene.logged_in(), &header);
    }
    scene.is_well().await;
}

#[tokio::test]
async fn no_command_before_the_login_and_no_login_behind_it() {
    let mut scene = Scene::open().await;
    for opcode in 0..=0xff {
        let mut header = [0; 48];
        header[0] = opcode;
        header[1] = 0x80;
        if opcode & 0x3f != 0x03 {
            let answer = scene.say(&header);
            assert_eq!(answer, [0; 0], "opcode {opcode:#04x} was answered without a login");
        }
        say(scene.logged_in(), &header);
    }
    scene.is_well().await;
}

#[tokio::test]
async fn tgt_2009_unknown_users_look_like_wrong_secrets() {
    let mut scene = Scene::with(true).await;
    let attempt = |user: &str| {
        let mut text = scene.names();
        text.extend(b"AuthMethod=CHAP\0SessionType=Normal\0");
        let mut bytes = login(0x00, &text);
        bytes.extend(login(0x00, b"CHAP_A=5\0"));
        bytes.extend(login(0x81, format!("CHAP_N={user}\0CHAP_R=0x{:032}\0", 0).as_bytes()));
        let answer = scene.say(&bytes);
        assert_refused(&answer);
        answer
    };
    let (wrong, unknown) = (attempt("a"), attempt("nobody"));
    // Of the challenge even the length differs from one to the next.
    let (wrong, unknown) = (responses(&wrong), responses(&unknown));
    assert_eq!(wrong.len(), unknown.len());
    let end = |all: &[(&[u8; 48], &[u8])]| {
        let (header, data) = all.last().unwrap();
        (header[1], header[36..38].to_vec(), data.to_vec())
    };
    assert_eq!(end(&wrong), end(&unknown));
    scene.is_well().await;
}

#[tokio::test]
async fn the_log_has_no_secret_however_much_it_tells() {
    let mut scene = Scene::with(true).await;
    let config = Config::from_url(&scene.url).unwrap().initiator("iqn.2026-11.local.host:good");
    assert!(Disk::connect(config.chap("a", "another-secret-of-a")).await.is_err());
    scene.is_well().await;
    let log = fs::read_to_string(scene.dir.path().join("log")).unwrap();
    assert!(log.contains("logged in"), "the log is not the one that was meant: {log}");
    for secret in [SECRET, "another-secret-of-a"] {
        assert!(!log.contains(secret));
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!log.to_lowercase().contains(&hex));
        assert!(!log.contains(&format!("{:?}", secret.as_bytes())));
    }
    assert!(!log.contains("CHAP_R"), "responses let secrets be guessed");
}

#[tokio::test]
async fn good_sessions_with_one_byte_changed() {
    let mut scene = Scene::open().await;
    let mut session = login(0x87, &scene.names());
    let first = session.len();
    session.extend(command(1, READ, 512, &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]));
    session.extend(command(2, WRITE, 512, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]));
    session.extend(command(3, READ, 4096, &[0x12, 1, 0x83, 0x10, 0, 0]));
    session.extend(command(4, 0, 0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    // The blocks of the healthy session are left alone: 2 048 of 16 384, in the middle of nowhere.
    for at in (0..48).chain(first..session.len()) {
        let in_lba = (first..session.len()).contains(&at) && (at - first) % 48 >= 34;
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = session.clone();
            bytes[at] ^= change;
            if !in_lba || change == 0x01 {
                scene.say(&bytes);
            }
        }
    }
    scene.is_well().await;
}
