//! What was negotiated at login is what goes over the wire (§13), and whatever it is, all data arrives.

use outband_initiator::{DigestWish, Disk, Offer};

use crate::KIB;
use crate::data::there_and_back;
use crate::path::{COMMAND, DATA_IN, DATA_OUT, Path, Pdu, R2T};
use crate::peer::{Peer, Program, Setup};

/// No digests, so that the path can tell PDUs, and bursts that are small enough to be many.
fn offer(program: Program) -> Offer {
    Offer {
        header_digest: DigestWish::Never,
        data_digest: DigestWish::Never,
        first_burst_len: 8 * 1024,
        max_burst_len: 32 * 1024,
        chap_algorithms: program.algorithms.to_vec(),
        ..Offer::default()
    }
}

fn of(opcode: u8, pdus: &[Pdu]) -> impl Iterator<Item = &Pdu> {
    pdus.iter().filter(move |pdu| pdu.opcode == opcode)
}

pub(crate) async fn write_data_goes_out_as_the_keys_allow(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let len = 100 * KIB;
    for (initial_r2t, immediate_data) in
        [(false, false), (false, true), (true, false), (true, true)]
    {
        let path = Path::to(peer.address()).await;
        let offer = Offer { initial_r2t, immediate_data, ..offer(program) };
        let disk = Disk::connect(peer.config_by(path.address()).offer(offer)).await.unwrap();
        there_and_back(&disk, 512, len).await;
        disk.close().await.unwrap();
        let (sent, received) = (path.sent(), path.received());
        let immediate: usize = of(COMMAND, &sent).map(|pdu| pdu.data).sum();
        let (unsolicited, solicited): (Vec<_>, Vec<_>) =
            of(DATA_OUT, &sent).partition(|pdu| pdu.is_unsolicited());
        let sum = |pdus: &[&Pdu]| pdus.iter().map(|pdu| pdu.data).sum::<usize>();
        let unasked = immediate + sum(&unsolicited);
        let told = format!("InitialR2T {initial_r2t}, ImmediateData {immediate_data}: {sent:#?}");
        assert_eq!(immediate > 0, immediate_data, "{told}");
        // Without immediate data InitialR2T leaves nothing; with it, no more than a segment.
        let expected = if initial_r2t && !immediate_data { 0 } else { 8 * KIB };
        assert_eq!(unasked, expected, "{told}");
        assert!(!initial_r2t || unsolicited.is_empty(), "{told}");
        let asked: usize = of(R2T, &received).map(|r2t| r2t.desired).sum();
        assert_eq!((asked, sum(&solicited)), (len - unasked, len - unasked), "{told}");
    }
}

pub(crate) async fn bursts_end_where_max_burst_length_says(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let Offer { first_burst_len, max_burst_len, .. } = offer(program);
    let (first, most) = (first_burst_len as usize, max_burst_len as usize);
    for max_outstanding_r2t in [1, 4] {
        let path = Path::to(peer.address()).await;
        let offer = Offer { max_outstanding_r2t, ..offer(program) };
        let disk = Disk::connect(peer.config_by(path.address()).offer(offer)).await.unwrap();
        for border in [first, most, first + most, 2 * most, 8 * most] {
            for len in [border - 512, border, border + 512] {
                there_and_back(&disk, 1024, len).await;
            }
        }
        disk.close().await.unwrap();
        let received = path.received();
        assert!(of(R2T, &received).all(|r2t| r2t.desired <= most), "{received:#?}");
    }
}

/// Data segments are padded to four bytes (§11.1), and bursts end inside of blocks.
pub(crate) async fn segments_may_have_any_length(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let in_words = if program.pads { 0 } else { 3 };
    for max_recv in [512, 4099, 65_537].map(|len| len & !in_words) {
        for wish in [DigestWish::Never, DigestWish::Require] {
            let path = Path::to(peer.address()).await;
            let offer = Offer {
                header_digest: wish,
                data_digest: wish,
                max_recv,
                first_burst_len: 5001,
                max_burst_len: 9003,
                ..offer(program)
            };
            let disk = Disk::connect(peer.config_by(path.address()).offer(offer)).await.unwrap();
            for len in [512, 4 * KIB, 9 * KIB, 100 * KIB, 300 * KIB + 512] {
                there_and_back(&disk, 512, len).await;
            }
            disk.close().await.unwrap();
            if wish == DigestWish::Never {
                let (sent, received) = (path.sent(), path.received());
                assert!(of(DATA_IN, &received).all(|pdu| pdu.data <= max_recv as usize));
                let odd = |pdu: &Pdu| !pdu.data.is_multiple_of(4);
                assert!(of(DATA_OUT, &sent).any(odd), "{max_recv}: nothing was padded");
            }
        }
    }
}
