//! Copies a volume to a file: `copy iscsi://HOST/TARGET/0 INITIATOR-NAME FILE`.

use std::io::Write;

use outband_initiator::{Config, Disk};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [url, name, path] = [1, 2, 3].map(|at| std::env::args().nth(at).expect("URL, name, file"));
    let disk = Disk::connect(Config::from_url(&url)?.initiator(name)).await?;
    let mut file = std::fs::File::create(path)?;
    for offset in (0..disk.capacity()).step_by(16 << 20) {
        let len = (disk.capacity() - offset).min(16 << 20);
        file.write_all(&disk.read_at(offset, usize::try_from(len)?).await?)?;
    }
    Ok(disk.close().await?)
}
