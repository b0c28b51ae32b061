//! The load generator against our target and against a small NBD server that can be told to lie.

#![allow(clippy::unwrap_used, reason = "tests; the lint's exemption covers #[test] functions only")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use outband_bench::load::{self, Load, Measured, StartError, Terms, Url};
use outband_bench::sample;
use outband_target_server::media::Media;
use outband_target_server::server::{Server, ServerConfig};
use tokio::runtime::Runtime;

const SIZE: u64 = 8 << 20;

fn load(url: &str) -> Load {
    Load {
        url: url.parse().unwrap(),
        pattern: "randrw:50".parse().unwrap(),
        block_len: 4096,
        depth: 16,
        sessions: 1,
        active: 1,
        span: None,
        time: Duration::from_millis(100),
        ramp: Duration::ZERO,
        once: false,
        verify: true,
        spin: false,
        terms: Terms::default(),
        servers: Vec::new(),
    }
}

/// A target in this process, and what `loads` makes of its URL.
fn with_target(loads: impl FnOnce(&str)) {
    let runtime = Runtime::new().unwrap();
    let portal = "127.0.0.1:0".parse().unwrap();
    let mut config = ServerConfig::new(vec![portal], sample::names());
    config.shards = 1;
    let server = Server::start(&config, None).unwrap();
    let spec = sample::volume(0, Media::Memory, SIZE);
    runtime.block_on(async {
        server.attach(&spec).await.unwrap();
        server.publish(sample::access(1)).await;
    });
    loads(&format!("iscsi://{}/{}/0", server.portals()[0], server.target_name(&spec, None)));
    runtime.block_on(server.stop());
}

fn check_good(measured: &Measured) {
    assert!(measured.requests > 0, "{measured:?}");
    assert_eq!((measured.failed, measured.wrong), (0, 0), "{measured:?}");
}

#[test]
fn every_way_of_sending_data_brings_it_back_unchanged() {
    with_target(|url| {
        for (digests, no_immediate, initial_r2t) in [
            (false, false, false),
            (true, false, false),
            (true, true, false),
            (false, true, true),
            (true, false, true),
        ] {
            for (block_len, segment_len) in [(4096, 262_144), (512 << 10, 65_536)] {
                let terms = Terms {
                    header_digest: digests,
                    data_digest: digests,
                    no_immediate,
                    initial_r2t,
                    segment_len,
                };
                let load = Load { block_len, depth: 4, terms, ..load(url) };
                check_good(&load::run(&load).unwrap());
            }
        }
    });
}

#[test]
fn many_sessions_share_the_load_and_idle_ones_only_look_on() {
    with_target(|url| {
        let load = Load { sessions: 20, active: 3, ..load(url) };
        check_good(&load::run(&load).unwrap());
    });
}

#[test]
fn a_volume_is_written_once_from_end_to_end() {
    with_target(|url| {
        let load = Load {
            pattern: "write".parse().unwrap(),
            block_len: 128 << 10,
            once: true,
            time: Duration::from_secs(60),
            ..load(url)
        };
        let measured = load::run(&load).unwrap();
        check_good(&measured);
        assert_eq!(measured.requests, SIZE / (128 << 10));
    });
}

#[test]
fn a_target_that_is_not_there_is_refused_by_name() {
    with_target(|url| {
        let other = url.replace("bench0", "other");
        let refused = load::run(&load(&other)).unwrap_err();
        assert!(matches!(refused, StartError::Refused(_)), "{refused}");
    });
}

/// An NBD server for one client: it keeps what is written, or writes it one block too far.
fn nbd_server(lies: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nbd://{}/disk", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        greet(&mut socket);
        let mut disk = vec![0u8; usize::try_from(SIZE).unwrap() + 4096];
        let mut request = [0; 28];
        while socket.read_exact(&mut request).is_ok() {
            let offset = u64::from_be_bytes(request[16..24].try_into().unwrap());
            let len = u32::from_be_bytes(request[24..28].try_into().unwrap()) as usize;
            let at = usize::try_from(offset).unwrap();
            let mut reply = [&[0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0], &request[8..16]].concat();
            if request[7] == 1 {
                let at = if lies && at.is_multiple_of(5) { at + 4096 } else { at };
                socket.read_exact(&mut disk[at..at + len]).unwrap();
            } else {
                reply.extend_from_slice(&disk[at..at + len]);
            }
            socket.write_all(&reply).unwrap();
        }
    });
    url
}

fn greet(socket: &mut TcpStream) {
    socket.write_all(b"NBDMAGICIHAVEOPT\x00\x03").unwrap();
    let mut hello = [0; 4 + 8 + 4 + 4];
    socket.read_exact(&mut hello).unwrap();
    let len = u32::from_be_bytes(hello[16..20].try_into().unwrap());
    socket.read_exact(&mut vec![0; len as usize]).unwrap();
    let reply = |kind: u32, data: &[u8]| {
        let mut bytes = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
        bytes.extend_from_slice(&7u32.to_be_bytes());
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(data);
        bytes
    };
    let info = [&[0, 0][..], &SIZE.to_be_bytes(), &[0, 1]].concat();
    socket.write_all(&reply(3, &info)).unwrap();
    socket.write_all(&reply(1, &[])).unwrap();
}

#[test]
fn an_nbd_server_is_loaded_the_same_way() {
    check_good(&load::run(&load(&nbd_server(false))).unwrap());
}

#[test]
fn a_server_that_puts_data_elsewhere_is_found_out() {
    let measured = load::run(&load(&nbd_server(true))).unwrap();
    assert_eq!(measured.failed, 0);
    assert!(measured.wrong > 0, "{measured:?}");
}

#[test]
fn requests_that_do_not_fit_the_volume_are_refused_before_the_load() {
    let load = Load { block_len: 1000, ..load(&nbd_server(false)) };
    assert!(matches!(load::run(&load), Err(StartError::Load(_))));
    let Url::Nbd(_) = load.url else { panic!("an NBD URL") };
}
