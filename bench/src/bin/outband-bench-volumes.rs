//! The binary `outband-bench-volumes`: what an idle volume of a unit costs in memory.

#![forbid(unsafe_code)]

use std::fs;

use clap::Parser;
use outband_bench::sample;
use outband_target_server::media::Media;
use outband_target_server::server::{Server, ServerConfig};

/// Attaches volumes to a target in this process and prints the bytes that each costs
#[derive(Parser, Debug)]
#[command(name = "outband-bench-volumes")]
struct Cli {
    /// How many
    #[arg(default_value_t = 1000)]
    volumes: u32,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let count = Cli::parse().volumes.max(1);
    let portal = "127.0.0.1:0".parse()?;
    let server = Server::start(&ServerConfig::new(vec![portal], sample::names()), None)?;
    // Threads, rings and the first volume bring what is there once.
    server.attach(&sample::volume(0, Media::Memory, 1 << 20)).await?;
    server.publish(sample::access(1)).await;
    let before = resident_bytes()?;
    for number in 1..=count {
        server.attach(&sample::volume(number, Media::Memory, 1 << 20)).await?;
    }
    server.publish(sample::access(count + 1)).await;
    let after = resident_bytes()?;
    server.stop().await;
    println!("{}", after.saturating_sub(before) / u64::from(count));
    Ok(())
}

/// VmRSS of proc_pid_status(5). A volume in memory has no pages before it is written.
fn resident_bytes() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}
