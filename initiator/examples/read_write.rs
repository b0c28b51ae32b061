//! Writes a block and reads it back: `read_write iscsi://HOST/TARGET/0 INITIATOR-NAME`.

use outband_initiator::{Config, Disk};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [url, name] = [1, 2].map(|at| std::env::args().nth(at).expect("a URL and a name"));
    let disk = Disk::connect(Config::from_url(&url)?.initiator(name)).await?;
    let block = vec![0x5a; disk.block_size() as usize];
    disk.write_at(0, block.clone()).await?;
    disk.flush().await?;
    assert!(disk.read_at(0, block.len()).await? == block);
    Ok(disk.close().await?)
}
