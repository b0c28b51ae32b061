//! What a disk need not have: either it does it, or the application is told and nothing is done.

use outband_initiator::{Disk, Error, Swap};

use crate::peer::{Peer, Program, Setup};
use crate::{MIB, pattern};

pub(crate) async fn what_is_unmapped_reads_as_zeros_where_it_says_so(program: Program) {
    for thin in [true, false] {
        let peer = Peer::start(program, Setup { thin, ..Setup::default() });
        let disk = Disk::connect(peer.config()).await.unwrap();
        disk.write_at(0, vec![0x5A; 4 * MIB]).await.unwrap();
        let unmapped = disk.unmap(MIB as u64, 2 * MIB as u64).await;
        let read = disk.read_at(0, 4 * MIB).await.unwrap();
        let (hole, rest) = (&read[MIB..3 * MIB], [&read[..MIB], &read[3 * MIB..]].concat());
        assert!(rest.iter().all(|byte| *byte == 0x5A));
        if disk.geometry().unmap {
            unmapped.unwrap();
            assert!(!disk.geometry().unmapped_reads_zeros || hole.iter().all(|byte| *byte == 0));
        } else {
            assert!(matches!(unmapped, Err(Error::Unsupported("UNMAP"))), "{unmapped:?}");
            assert!(hole.iter().all(|byte| *byte == 0x5A));
        }
    }
}

pub(crate) async fn a_compare_and_write_is_done_or_told_to_be_unsupported(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let disk = Disk::connect(peer.config()).await.unwrap();
    let most = usize::from(disk.geometry().compare_and_write_blocks_max) * 512;
    let refused = disk.compare_and_write(0, &pattern(1, most + 512), &vec![0; most + 512]).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    if most == 0 {
        return;
    }
    let (old, mut new) = (pattern(1, most), pattern(2, most));
    disk.write_at(4096, old.clone()).await.unwrap();
    match disk.compare_and_write(4096, &old, &new).await {
        Ok(swap) => assert_eq!(swap, Swap::Written),
        // tgt's page B0 promises what it does not have.
        Err(Error::Unsupported(_)) => {
            assert!(disk.read_at(4096, most).await.unwrap() == old);
            return;
        }
        Err(error) => panic!("{error}"),
    }
    new[most - 3] ^= 1;
    let Swap::Miscompare { at } = disk.compare_and_write(4096, &new, &old).await.unwrap() else {
        panic!("it compared less than it was given");
    };
    // A target need not tell the place.
    assert!(at.is_none_or(|at| at == most as u64 - 3), "{at:?}");
    new[most - 3] ^= 1;
    assert!(disk.read_at(4096, most).await.unwrap() == new);
}

pub(crate) async fn an_atomic_write_is_done_or_told_to_be_unsupported(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let disk = Disk::connect(peer.config()).await.unwrap();
    let most = disk.geometry().atomic_blocks_max as usize * 512;
    let refused = disk.write_atomic(0, pattern(1, most + 512)).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    assert!(disk.read_at(0, most + 512).await.unwrap().iter().all(|byte| *byte == 0));
    for len in [512, most].into_iter().filter(|len| *len <= most) {
        disk.write_atomic(512, pattern(len, len)).await.unwrap();
        assert!(disk.read_at(512, len).await.unwrap() == pattern(len, len));
    }
}

pub(crate) async fn a_copy_is_done_by_the_target_or_told_to_be_unsupported(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let disk = Disk::connect(peer.config()).await.unwrap();
    disk.write_at(0, pattern(1, MIB)).await.unwrap();
    let copied = disk.copy_to(512, 512 * 1024, &disk, 4 << 20).await;
    let found = disk.read_at(4 << 20, 512 * 1024).await.unwrap();
    match copied {
        Ok(()) => assert!(found == pattern(1, MIB)[512..][..512 * 1024]),
        Err(Error::Unsupported(_)) => assert!(found.iter().all(|byte| *byte == 0)),
        Err(error) => panic!("{error}"),
    }
}
