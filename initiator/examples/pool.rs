//! Asks a pool for 1 GiB and uses it: `pool https://STATION:PORT TOKEN FINGERPRINT`.

use outband_initiator::Pool;
use outband_pool_api::{Client, Secret};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [url, token, trust] = [1, 2, 3].map(|at| std::env::args().nth(at).expect("see above"));
    let pool = Pool::new(Client::new(&url, Secret::new(token), &trust.parse()?)?);
    let disk = pool.request("1GiB".parse()?).await?;
    disk.write_at(0, vec![0x5a; 4096]).await?;
    println!("a volume of {} bytes", disk.capacity());
    Ok(disk.close().await?)
}
