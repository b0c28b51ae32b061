//! Copying between files and volumes: chunks in flight, in order where order matters, and read
//! back at the end.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use outband_initiator::Disk;
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// A multiple of every block size.
const CHUNK: u64 = 1 << 20;
/// Chunks under way at a time.
const AT_ONCE: usize = 8;

/// Something with bytes that can be read and written anywhere. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// `sparse`: it was made empty just now, so that zeros need not be written.
    File {
        file: Arc<File>,
        name: Arc<str>,
        sparse: bool,
    },
    Volume {
        disk: Disk,
        name: Arc<str>,
    },
}

impl End {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::File { name, .. } | Self::Volume { name, .. } => name,
        }
    }

    async fn read(&self, offset: u64, len: usize) -> Result<Bytes, Failure> {
        let doing = || format!("read {} at byte {offset}", self.name());
        match self {
            Self::File { file, .. } => {
                let file = Arc::clone(file);
                blocking(move || {
                    let mut buffer = vec![0; len];
                    file.read_exact_at(&mut buffer, offset)?;
                    Ok(buffer.into())
                })
                .await
                .map_err(Failure::os(doing()))
            }
            Self::Volume { disk, .. } => {
                let read = disk.read_at(offset, whole_blocks(disk, len)).await;
                let mut data = read.map_err(Failure::disk(format!("cannot {}", doing())))?;
                data.truncate(len);
                Ok(data)
            }
        }
    }

    async fn write(&self, offset: u64, data: Bytes) -> Result<(), Failure> {
        let doing = format!("write {} at byte {offset}", self.name());
        match self {
            Self::File { sparse: true, .. } if data.iter().all(|byte| *byte == 0) => Ok(()),
            Self::File { file, .. } => {
                let file = Arc::clone(file);
                blocking(move || file.write_all_at(&data, offset)).await.map_err(Failure::os(doing))
            }
            Self::Volume { disk, .. } => {
                let written = async {
                    let data = fill_up(disk, offset, data).await?;
                    disk.write_at(offset, data).await
                };
                written.await.map_err(Failure::disk(format!("cannot {doing}")))
            }
        }
    }

    /// Everything that was written is on stable storage.
    async fn flush(&self, len: u64) -> Result<(), Failure> {
        let doing = format!("flush {}", self.name());
        match self {
            Self::File { file, sparse, .. } => {
                let (file, sparse) = (Arc::clone(file), *sparse);
                blocking(move || {
                    if sparse {
                        file.set_len(len)?;
                    }
                    file.sync_all()
                })
                .await
                .map_err(Failure::os(doing))
            }
            Self::Volume { disk, .. } => {
                disk.flush().await.map_err(Failure::disk(format!("cannot {doing}")))
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn whole_blocks(disk: &Disk, len: usize) -> usize {
    len.next_multiple_of(disk.block_size() as usize)
}

/// The last chunk may end within a block, whose rest stays as it is.
async fn fill_up(disk: &Disk, offset: u64, data: Bytes) -> Result<Bytes, outband_initiator::Error> {
    let whole = whole_blocks(disk, data.len());
    if whole == data.len() {
        return Ok(data);
    }
    let block = disk.block_size() as usize;
    let last = disk.read_at(offset + (whole - block) as u64, block).await?;
    let kept = block - (whole - data.len());
    let mut filled = BytesMut::from(&data[..]);
    filled.extend_from_slice(&last[kept..]);
    Ok(filled.freeze())
}

/// What came of a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// Copies the first `len` bytes, and makes them last. `progress` is told of every chunk's bytes.
pub(crate) async fn copy(
    from: &End,
    to: &End,
    len: u64,
    progress: impl Fn(u64),
) -> Result<Copied, Failure> {
    let step = |offset: u64, len: usize| {
        let (from, to) = (from.clone(), to.clone());
        async move {
            let data = from.read(offset, len).await?;
            to.write(offset, data.clone()).await?;
            Ok(data)
        }
    };
    let sha256 = in_order(len, step, progress).await?;
    to.flush(len).await?;
    Ok(Copied { bytes: len, sha256 })
}

/// Reads `end` again and compares it with what was copied there.
pub(crate) async fn verify(
    end: &End,
    copied: &Copied,
    progress: impl Fn(u64),
) -> Result<(), Failure> {
    let step = |offset: u64, len: usize| {
        let end = end.clone();
        async move { end.read(offset, len).await }
    };
    let found = in_order(copied.bytes, step, progress).await?;
    if found == copied.sha256 {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "the copy differs: SHA-256 {} was written to {}, {found} was read back",
        copied.sha256,
        end.name()
    )))
}

/// Runs `step` for every chunk, some at a time, and returns the SHA-256 of all that they return.
/// After a failure, what is under way is waited for: nothing happens once the caller goes on.
async fn in_order<F>(
    len: u64,
    step: impl Fn(u64, usize) -> F,
    progress: impl Fn(u64),
) -> Result<String, Failure>
where
    F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
{
    let mut hash = Sha256::new();
    let mut under_way = VecDeque::new();
    let mut result = Ok(());
    let mut offset = 0;
    while (offset < len && result.is_ok()) || !under_way.is_empty() {
        if offset < len && under_way.len() < AT_ONCE && result.is_ok() {
            let chunk = CHUNK.min(len - offset);
            let chunk_len = usize::try_from(chunk).expect("a chunk is small");
            under_way.push_back(tokio::spawn(step(offset, chunk_len)));
            offset += chunk;
        } else if let Some(first) = under_way.pop_front() {
            match first.await.unwrap_or_else(|_| Err(Failure::Failed("a task ended".to_owned()))) {
                Ok(data) => {
                    hash.update(&data);
                    progress(data.len() as u64);
                }
                Err(failure) => result = result.and(Err(failure)),
            }
        }
    }
    result.map(|()| hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8], sparse: bool) -> End {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        End::File { file: Arc::new(file), name: "a file".into(), sparse }
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| if (i >> 20) % 3 == 1 { 0 } else { i.to_be_bytes()[7] }).collect()
    }

    #[tokio::test]
    async fn a_copy_is_equal_and_zeros_become_holes() {
        let len = (5 << 20) + 77;
        let sample = sample(len);
        let (from, to) = (file(&sample, false), file(b"", true));
        let told = std::cell::Cell::new(0);
        let tell = |bytes| told.set(told.get() + bytes);
        let copied = copy(&from, &to, len as u64, tell).await.unwrap();
        assert_eq!(told.get(), len as u64);
        verify(&to, &copied, |_| ()).await.unwrap();
        assert_eq!(to.read(0, len).await.unwrap(), sample);
    }

    #[tokio::test]
    async fn the_sum_is_that_of_sha256sum() {
        let (from, to) = (file(b"abc", false), file(b"", true));
        let copied = copy(&from, &to, 3, |_| ()).await.unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(copied.sha256, expected);
    }

    #[tokio::test]
    async fn a_copy_that_changes_behind_ones_back_is_found() {
        let (from, to) = (file(&sample(3 << 20), false), file(b"", true));
        let copied = copy(&from, &to, 3 << 20, |_| ()).await.unwrap();
        to.write(1 << 20, Bytes::from_static(b"x")).await.unwrap();
        let error = verify(&to, &copied, |_| ()).await.unwrap_err();
        assert!(error.to_string().starts_with("the copy differs"), "{error}");
    }

    #[tokio::test]
    async fn a_source_that_ends_early_is_a_failure() {
        let (from, to) = (file(b"short", false), file(b"", true));
        let error = copy(&from, &to, 6, |_| ()).await.unwrap_err();
        assert!(error.to_string().contains("read a file at byte 0"), "{error}");
    }
}
