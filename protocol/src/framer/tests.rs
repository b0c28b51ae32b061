//! The same frames come out however the stream is cut.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::transmit::{Body, Transmit};

/// What a stream amounts to: headers, whole data segments, ends.
fn frames(framer: &mut Framer, stream: &[u8], cut: usize) -> Result<Vec<String>, FrameError> {
    let mut out = Vec::new();
    let mut segment = Vec::new();
    for piece in stream.chunks(cut) {
        let mut input = piece;
        while let Some(frame) = framer.next(&mut input)? {
            match frame {
                Frame::Header(bhs) => out.push(format!("header {:#x}", bhs.opcode())),
                Frame::Data { offset, bytes } => {
                    assert_eq!(offset as usize, segment.len());
                    segment.extend_from_slice(bytes);
                }
                Frame::End { intact } => {
                    out.push(format!("{:02x?} intact {intact}", std::mem::take(&mut segment)));
                }
            }
        }
        assert!(input.is_empty(), "all input is taken before more is wanted");
    }
    Ok(out)
}

fn pdu(opcode: u8, data: &[u8], digests: Digests) -> Vec<u8> {
    let mut bhs = Bhs::default();
    bhs.0[0] = opcode;
    let body = if data.is_empty() { Body::None } else { Body::Bytes(Bytes::copy_from_slice(data)) };
    Transmit::new(bhs, body, digests).to_bytes(|_, _, _| unreachable!("held here"))
}

const ALL: Digests = Digests { header: true, data: true };

#[test]
fn a_stream_gives_the_same_frames_cut_at_every_size() {
    for digests in [Digests::default(), ALL] {
        let mut stream = pdu(0x05, b"hello", digests);
        stream.extend(pdu(0x00, b"", digests));
        stream.extend(pdu(0x04, b"four", digests));
        let whole = frames(&mut Framer::new(digests, 8192), &stream, stream.len()).unwrap();
        assert_eq!(whole.len(), 6);
        assert_eq!(whole[1], format!("{:02x?} intact true", b"hello"));
        for cut in 1..stream.len() {
            assert_eq!(frames(&mut Framer::new(digests, 8192), &stream, cut).unwrap(), whole);
        }
    }
}

#[test]
fn a_wrong_header_digest_is_an_error_and_a_wrong_data_digest_is_told() {
    let good = pdu(0x05, b"hello", ALL);
    let mut bad = good.clone();
    bad[20] ^= 1;
    let mut framer = Framer::new(ALL, 8192);
    assert_eq!(frames(&mut framer, &bad, 7), Err(FrameError::HeaderDigest));
    let mut bad = good;
    bad[53] ^= 1;
    let got = frames(&mut Framer::new(ALL, 8192), &bad, 7).unwrap();
    assert!(got[1].ends_with("intact false"), "{got:?}");
}

#[test]
fn a_segment_longer_than_declared_is_refused_before_it_is_taken() {
    let stream = pdu(0x05, &[0; 516], Digests::default());
    let got = frames(&mut Framer::new(Digests::default(), 512), &stream[..48], 48);
    assert_eq!(got, Err(FrameError::SegmentTooLong { len: 516, max: 512 }));
}

#[test]
fn additional_header_segments_are_passed_over_and_covered_by_the_digest() {
    let mut bhs = Bhs::default();
    bhs.0[0] = 0x01;
    bhs.0[4] = 2;
    let mut stream = bhs.0.to_vec();
    stream.extend([7; 8]);
    let crc = digest::wire(&stream);
    stream.extend(crc);
    let got = frames(&mut Framer::new(ALL, 512), &stream, 5).unwrap();
    assert_eq!(got, ["header 0x1", "[] intact true"]);
}

#[test]
fn data_placed_by_the_shell_counts_as_received() {
    let stream = pdu(0x05, &[9; 100], ALL);
    let mut framer = Framer::new(ALL, 512);
    let mut input = &stream[..60];
    assert!(matches!(framer.next(&mut input), Ok(Some(Frame::Header(_)))));
    assert!(matches!(framer.next(&mut input), Ok(Some(Frame::Data { offset: 0, .. }))));
    assert_eq!(framer.next(&mut input), Ok(None));
    assert_eq!(framer.due(), Some((8, 92)));
    framer.placed(&stream[60..152]);
    let mut input = &stream[152..];
    assert_eq!(framer.next(&mut input), Ok(Some(Frame::End { intact: true })));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 1usize..64, header: bool, data: bool) {
        let mut framer = Framer::new(Digests { header, data }, 300);
        let _ = frames(&mut framer, &bytes, cut);
    }
}

#[test]
fn whoever_sends_an_ahs_in_a_login_is_known_by_the_header() {
    let mut framer = Framer::new(Digests::default(), 8192).without_ahs();
    let got = frames(&mut framer, b"GET / HTTP/1.1\r\nHost: not-a-target.example.org:3260\r\n", 60);
    assert_eq!(got, Err(FrameError::AhsTooLong { len: 188, max: 0 }));
}
