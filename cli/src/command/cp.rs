//! `outband cp`: a file to a volume, or a volume to a file, or a volume to another.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use outband_pool_api::Size;
use serde::Serialize;

use crate::copy::{Copied, End, copy, verify};
use crate::disks::{HostArgs, Place};
use crate::failure::Failure;
use crate::link::StationArgs;
use crate::output::{Output, megabytes_per_second};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A place is a path, volume:NAME (through the station), or iscsi://[USER@]HOST[:PORT]/TARGET/LUN. \
Write ./volume:x for a file of that name.")]
pub(crate) struct Args {
    /// What to copy
    source: Place,
    /// Where to; a file is made or overwritten, a volume is overwritten from its start
    dest: Place,
    /// Copy only this much, from the start; all of the source if not given
    #[arg(long, value_name = "SIZE")]
    length: Option<Size>,
    /// Do not read the copy back
    #[arg(long)]
    no_verify: bool,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Serialize)]
struct Report {
    source: String,
    dest: String,
    bytes: u64,
    seconds: f64,
    sha256: String,
    verified: bool,
}

pub(crate) async fn run(args: Args, station: &StationArgs, output: &Output) -> Result<(), Failure> {
    if let (Place::File(_), Place::File(_)) = (&args.source, &args.dest) {
        return Err(Failure::Usage(
            "neither place is a volume; write volume:NAME or iscsi://HOST/TARGET/LUN".to_owned(),
        ));
    }
    let (from, size) = source(&args, station).await?;
    let len = length(&args, size)?;
    let to = dest(&args, station, len).await?;
    let started = Instant::now();
    let bar = bar(len, "copying");
    let copied = copy(&from, &to, len, |bytes| bar.inc(bytes)).await?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    if !args.no_verify {
        read_back(&to, &args.dest, &copied).await?;
    }
    log_out(from).await;
    log_out(to).await;
    let report = Report {
        source: args.source.to_string(),
        dest: args.dest.to_string(),
        bytes: copied.bytes,
        seconds,
        sha256: copied.sha256,
        verified: !args.no_verify,
    };
    output.show(&report, sentence);
    Ok(())
}

/// What is read back must come from where it was written to, not from this machine's memory.
async fn read_back(to: &End, place: &Place, copied: &Copied) -> Result<(), Failure> {
    let again = match (to, place) {
        (End::File { .. }, Place::File(path)) => {
            let file = OpenOptions::new().read(true).open(path);
            let file = file.map_err(Failure::os(format!("open {place}")))?;
            End::File { file: Arc::new(file), name: place.to_string().into(), sparse: false }
        }
        _ => to.clone(),
    };
    let bar = bar(copied.bytes, "verifying");
    verify(&again, copied, |bytes| bar.inc(bytes)).await?;
    bar.finish_and_clear();
    Ok(())
}

async fn source(args: &Args, station: &StationArgs) -> Result<(End, u64), Failure> {
    let name = args.source.to_string().into();
    match &args.source {
        Place::File(path) => {
            let doing = || Failure::os(format!("read {}", path.display()));
            let file = OpenOptions::new().read(true).open(path).map_err(doing())?;
            let size = size_of(&file).map_err(doing())?;
            Ok((End::File { file: Arc::new(file), name, sparse: false }, size))
        }
        place => {
            let disk = args.host.open(place, station).await?;
            let size = disk.capacity();
            Ok((End::Volume { disk, name }, size))
        }
    }
}

/// A block device has no length of its own; its end says it.
fn size_of(mut file: &std::fs::File) -> std::io::Result<u64> {
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))
}

fn length(args: &Args, size: u64) -> Result<u64, Failure> {
    match args.length {
        Some(Size(wanted)) if wanted > size => Err(Failure::Usage(format!(
            "--length {wanted} is more than {} has, which is {size} bytes",
            args.source
        ))),
        Some(Size(wanted)) => Ok(wanted),
        None => Ok(size),
    }
}

async fn dest(args: &Args, station: &StationArgs, len: u64) -> Result<End, Failure> {
    let name = args.dest.to_string().into();
    match &args.dest {
        Place::File(path) => dest_file(path, name),
        place => {
            let disk = args.host.open(place, station).await?;
            let capacity = disk.capacity();
            if capacity < len {
                return Err(Failure::Refused(format!(
                    "{place} has {} ({capacity} bytes), but {len} bytes are to be copied; make it \
                     larger with outband volume grow, or copy less with --length",
                    Size(capacity)
                )));
            }
            Ok(End::Volume { disk, name })
        }
    }
}

fn dest_file(path: &Path, name: Arc<str>) -> Result<End, Failure> {
    let doing = || Failure::os(format!("write {}", path.display()));
    let special = path.metadata().is_ok_and(|metadata| !metadata.is_file());
    let mut options = OpenOptions::new();
    options.write(true).create(!special).truncate(!special);
    let file = options.open(path).map_err(doing())?;
    Ok(End::File { file: Arc::new(file), name, sparse: !special })
}

/// A logout that fails does no harm: all data is on stable storage.
async fn log_out(end: End) {
    if let End::Volume { disk, .. } = end {
        let _ = disk.close().await;
    }
}

/// On standard error, and only where that is a terminal.
fn bar(len: u64, what: &'static str) -> ProgressBar {
    let style = "{msg:10} {wide_bar} {bytes:>10} of {total_bytes}  {bytes_per_sec:>12}  {eta:>4}";
    let style = ProgressStyle::with_template(style).expect("the template is right");
    ProgressBar::new(len).with_style(style).with_message(what)
}

fn sentence(report: &Report) -> String {
    let Report { source, dest, bytes, seconds, sha256, verified } = report;
    let rate = megabytes_per_second(*bytes, *seconds);
    let verified = if *verified { "read back and equal" } else { "not read back" };
    format!(
        "{source} → {dest}: {} ({bytes} bytes) in {seconds:.2} s, {rate:.0} MB/s, {verified}\n\
         sha256 {sha256}",
        Size(*bytes)
    )
}
