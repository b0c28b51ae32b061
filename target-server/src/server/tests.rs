//! The server with a shard that is the test.

use std::sync::mpsc::Receiver;

use outband_control::api::TARGET_PREFIX;

use super::*;
use crate::media::{Media, Piece, VolumeSpec, WritePolicy, ZeroWith};

/// Answers until the mailbox is closed. Flushes begin, and end when `flushes` is dropped.
fn shard(messages: &Receiver<Message<OwnedFd>>, flushes: &Sender<Reply<()>>) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Attach(_, reply)
            | Message::Exports(_, reply)
            | Message::Recovered(_, reply) => {
                let _ = reply.send(());
            }
            Message::Update(_, reply) => {
                let (ended, flushing) = oneshot::channel();
                flushes.send(ended).unwrap();
                let _ = reply.send(Some(flushing));
            }
            other => panic!("not expected: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_flush_that_hangs_holds_up_its_own_volume_and_no_fence() {
    let names = TargetNames::new(TARGET_PREFIX, "test");
    let ring = UringRing::new(UringConfig::default()).unwrap();
    let (address, messages) = mailbox(ring.waker());
    let (flushes, begun) = channel();
    std::thread::spawn(move || shard(&messages, &flushes));
    let exports = Exports::new(AccessTable::new(names.clone()), Vec::new());
    let server = Arc::new(Server::of_shards(vec![address], exports, Vec::new(), names.clone()));
    let piece = |len| {
        let (device, media, zero) = (Uuid::new_v4(), Media::Memory, ZeroWith::Writes);
        Piece { device, media, offset: 0, len, zero }
    };
    let spec = VolumeSpec::new(Uuid::new_v4(), "v".parse().unwrap(), 512, vec![piece(1 << 20)]);
    let spec = VolumeSpec { write_policy: WritePolicy::High, ..spec };
    server.attach(&spec).await.unwrap();

    let (changing, changed) = (Arc::clone(&server), spec.clone());
    let change = tokio::spawn(async move { changing.attach(&changed).await });
    let flush = tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
    // As control does between the gate and the drain of a fence.
    let published = server.publish(AccessTable::new(names));
    tokio::time::timeout(Duration::from_secs(30), published).await.expect("it waits for the flush");
    assert!(!change.is_finished(), "it is told before it is so");
    flush.send(()).unwrap();
    change.await.unwrap().unwrap();
}
