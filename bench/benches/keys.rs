//! The texts of a login: read, negotiated, answered.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use outband_protocol::keys::{Negotiation, Offer, Pairs, Params, Role, SessionType, TextQueue};
use outband_protocol::pdu::Stage;

/// What open-iscsi sends in its operational stage, near enough.
fn operational() -> Vec<u8> {
    let pairs = [
        "HeaderDigest=None,CRC32C",
        "DataDigest=None",
        "DefaultTime2Wait=2",
        "DefaultTime2Retain=0",
        "IFMarker=No",
        "OFMarker=No",
        "ErrorRecoveryLevel=0",
        "InitialR2T=No",
        "ImmediateData=Yes",
        "MaxBurstLength=16776192",
        "FirstBurstLength=262144",
        "MaxOutstandingR2T=1",
        "MaxConnections=1",
        "DataPDUInOrder=Yes",
        "DataSequenceInOrder=Yes",
        "MaxRecvDataSegmentLength=262144",
    ];
    pairs.iter().flat_map(|pair| pair.bytes().chain([0])).collect()
}

/// The target's part: what was agreed, and how long the answer is.
fn negotiate(text: &[u8]) -> (Params, usize) {
    let pairs = Pairs::parse(text).expect("it is well formed");
    let mut negotiation = Negotiation::new(Role::Target, SessionType::Normal, Offer::default());
    let mut answer = TextQueue::default();
    negotiation.take(&pairs, Stage::Operational, &mut answer).expect("it keeps the rules");
    negotiation.declare(&mut answer);
    let (text, _) = answer.next_piece(8192);
    (negotiation.finish().expect("everything was said"), text.len())
}

fn keys(criterion: &mut Criterion) {
    let text = operational();
    criterion.bench_function("keys/read a text of 16 keys", |bencher| {
        bencher.iter(|| Pairs::parse(black_box(&text)));
    });
    criterion.bench_function("keys/negotiate 16 keys as target", |bencher| {
        bencher.iter(|| negotiate(black_box(&text)));
    });
    criterion.bench_function("keys/propose as initiator", |bencher| {
        bencher.iter(|| {
            let offer = black_box(Offer::default());
            let mut negotiation = Negotiation::new(Role::Initiator, SessionType::Normal, offer);
            let mut text = TextQueue::default();
            negotiation.propose(&mut text);
            text
        });
    });
}

criterion_group!(benches, keys);
criterion_main!(benches);
