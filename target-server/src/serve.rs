//! `outband-target serve`: one volume in the foreground, without station, catalog or state. What a
//! developer, a test or a benchmark uses.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use outband_control::access::{
    ANY_HOST, AccessTable, Chap, Epoch, Grant, Mutual, Redirect, RedirectAddress,
};
use outband_control::api::{TARGET_PREFIX, TargetNames};
use outband_control::metrics;
use outband_control::secret::Secret;
use outband_pool_api::{BadVolumeSize, BlockSize, Size};
use outband_protocol::ids::IscsiName;
use outband_protocol::keys::DigestWish;
use outband_protocol::limits::CHAP_SECRET_LEN_MIN;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use uuid::Uuid;

use crate::media::{
    Media, MediaError, Piece, RawDevice, ReservationPlace, Sidecar, VolumeName, VolumeSpec,
    WritePolicy, ZeroWith,
};
use crate::metrics::sample::{DeviceSample, UnitSample};
use crate::metrics::text;
use crate::server::{Server, ServerConfig, StartError};
use crate::unit::BUSY_POLL_US_MAX;

/// Pool name in the target names of volumes that belong to no pool.
const NO_POOL: &str = "local";

/// Serve one volume in the foreground, without a station.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// File or block device to serve, as it is; a file that is not there is made if --size is given
    #[arg(required_unless_present = "memory", conflicts_with = "memory")]
    file: Option<PathBuf>,
    /// Serve this much memory instead of a file, from 1M to 8E; room is taken as it is written
    #[arg(long, value_name = "SIZE", conflicts_with = "size")]
    memory: Option<Size>,
    /// How large to make a file that is not there, from 1M to 8E
    #[arg(long)]
    size: Option<Size>,
    /// Address and port to listen on; may be repeated; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3260")]
    listen: Vec<SocketAddr>,
    /// Address that hosts are told to connect to; needed with a wildcard like 0.0.0.0; may be repeated
    #[arg(long, value_name = "ADDR")]
    advertise: Vec<SocketAddr>,
    /// Only this initiator name may log in
    #[arg(long, value_name = "IQN", conflicts_with = "any_host")]
    host: Option<IscsiName>,
    /// Whoever can connect may log in; the default when only loopback is listened on
    #[arg(long)]
    any_host: bool,
    /// Hosts must authenticate by CHAP as this user
    #[arg(long, value_name = "NAME", requires = "chap_secret_file")]
    chap_user: Option<String>,
    /// File with the CHAP secret, at least 12 bytes
    #[arg(long, value_name = "FILE", requires = "chap_user")]
    chap_secret_file: Option<PathBuf>,
    /// Prove ourselves as this user to hosts that ask for it (mutual CHAP)
    #[arg(long, value_name = "NAME", requires_all = ["chap_user", "mutual_chap_secret_file"])]
    mutual_chap_user: Option<String>,
    /// File with the secret that we prove to know, another one than the hosts'
    #[arg(long, value_name = "FILE", requires = "mutual_chap_user")]
    mutual_chap_secret_file: Option<PathBuf>,
    /// Prefer CRC32C digests over headers and data
    #[arg(long)]
    digests: bool,
    /// Send everybody who may log in to this portal instead
    #[arg(long, value_name = "ADDR")]
    redirect: Option<RedirectAddress>,
    /// Hosts are to remember where --redirect sends them
    #[arg(long, requires = "redirect")]
    permanent: bool,
    /// When a write is acknowledged: once on stable storage (normal) or once in the cache (high)
    #[arg(long, value_enum, default_value = "normal")]
    write_policy: Policy,
    /// Sessions that one host may have to one portal
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    sessions_per_portal: u16,
    /// Bytes in a logical block: 512 or 4096
    #[arg(long, value_name = "BYTES", default_value = "512")]
    block_size: BlockSize,
    /// Bytes in a physical block that hosts are told of, a power of two up to 64 KiB; the file's own
    /// if not given. For hosts that want both sizes to be the same
    #[arg(long, value_name = "BYTES", value_parser = physical_block_size)]
    physical_block_size: Option<u32>,
    /// Let hosts ask for SANITIZE and FORMAT UNIT, which wipe the whole volume
    #[arg(long)]
    allow_sanitize: bool,
    /// Refuse writes
    #[arg(long)]
    read_only: bool,
    /// The volume's name, the last part of the target name; from the file's name if not given
    #[arg(long)]
    name: Option<VolumeName>,
    /// Answer GET /metrics here, in the clear, with figures for a monitoring system
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Name commands in the log that take so many milliseconds or longer
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    slow_io_ms: Option<u64>,
    /// Read and write through the page cache, not around it: fast as long as the volume fits into memory
    #[arg(long, conflicts_with = "memory")]
    page_cache: bool,
    /// Look for so many microseconds for something to do before sleeping: quicker answers for a busier
    /// processor
    #[arg(long, value_name = "US", default_value = "0", value_parser = clap::value_parser!(u16).range(..=i64::from(BUSY_POLL_US_MAX)))]
    busy_poll_us: u16,
    /// Threads; one for each processor if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: Option<u16>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Policy {
    Normal,
    High,
}

impl ServeArgs {
    /// The file that is served, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The files with CHAP secrets.
    pub fn secret_files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.chap_secret_file, &self.mutual_chap_secret_file];
        files.into_iter().filter_map(Option::as_deref)
    }
}

/// Why a volume cannot be served. The message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The file or device is not fit.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The target did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Reachable by others, and open to all of them by omission.
    #[error(
        "{0} can be reached from other machines; say who may log in with --host IQN, or --any-host"
    )]
    Open(SocketAddr),
    /// No use as a secret.
    #[error("{}: {why}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Whoever reflects our challenge would know the answer (RFC 7143 §9.2.1).
    #[error("the secrets of --chap-secret-file and --mutual-chap-secret-file must differ")]
    OneSecret,
    /// No volume is that small or large.
    #[error("{what} cannot be served")]
    Size {
        /// The medium, or the option.
        what: String,
        /// Which sizes there are.
        #[source]
        source: BadVolumeSize,
    },
    /// The medium ends within a block.
    #[error(
        "{what}: {bytes} bytes are not a whole number of {block}-byte blocks; {} would be",
        .bytes / u64::from(.block.bytes()) * u64::from(.block.bytes())
    )]
    Odd {
        /// The medium, or the option.
        what: String,
        /// Its length.
        bytes: u64,
        /// The size of a block.
        block: BlockSize,
    },
    /// A logical block has more than one physical one.
    #[error("--physical-block-size: {physical} bytes are less than a block, which has {block}")]
    SmallPhysicalBlocks {
        /// What was asked for.
        physical: u32,
        /// The size of a block.
        block: BlockSize,
    },
    /// The medium cannot write single blocks.
    #[error("{what} takes no less than {smallest} bytes at once; serve it with --block-size 4096")]
    SmallBlocks {
        /// The medium.
        what: String,
        /// Its own blocks.
        smallest: u32,
    },
    /// Offsets in a file end before.
    #[error("--size: a file ends before 8 EiB; the largest volume in one has {0} bytes")]
    LargeFile(u64),
    /// Both were said, and they differ.
    #[error("{what} has {bytes} bytes already; leave --size away to serve it as it is")]
    Exists {
        /// The medium.
        what: String,
        /// Its length.
        bytes: u64,
    },
    /// The operating system refused.
    #[error("cannot {doing}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Serves until SIGTERM or SIGINT. The first lines on standard output are the volume's URLs, one a
/// portal, and with `--metrics` the URL of the figures.
pub async fn serve(args: ServeArgs) -> Result<(), ServeError> {
    let access = |spec: &VolumeSpec| access(&args, spec);
    let (spec, sidecar) = volume(&args)?;
    let access = access(&spec)?;
    let names = TargetNames::new(TARGET_PREFIX, NO_POOL);
    let place = args.file.as_deref().and_then(beside);
    let mut config = ServerConfig::new(args.listen.clone(), names);
    config.advertise = args.advertise.iter().map(|address| (*address).into()).collect();
    config.reservations.clone_from(&place);
    if let Some(shards) = args.shards {
        config.shards = usize::from(shards);
    }
    if args.digests {
        config.offer.header_digest = DigestWish::Prefer;
        config.offer.data_digest = DigestWish::Prefer;
    }
    let os = |doing| move |source| ServeError::Os { doing, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(os("wait for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(os("wait for SIGINT"))?;
    config.busy_poll = Duration::from_micros(args.busy_poll_us.into());
    config.slow_io = args.slow_io_ms.map(Duration::from_millis);
    let server = Arc::new(Server::start(&config, None)?);
    server.attach(&spec).await.map_err(os("hand the volume to its shard"))?;
    server.publish(access).await;
    let telling = match args.metrics {
        Some(address) => Some(tell(&server, &spec, &args, address).await?),
        None => None,
    };
    let figures = telling.as_ref().map(|(address, _)| *address);
    print_urls(&server, &spec, figures).map_err(os("write to standard output"))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    drop(telling);
    server.stop().await;
    if let Some(place) = place {
        place.remove_if_empty(spec.id);
    }
    drop(spec);
    let removed = sidecar.map_or(Ok(()), Sidecar::remove_if_empty);
    removed.map_err(os("remove the journal beside the file"))
}

/// Serves figures at `address` until what is returned is dropped.
async fn tell(
    server: &Arc<Server>,
    spec: &VolumeSpec,
    args: &ServeArgs,
    address: SocketAddr,
) -> Result<(SocketAddr, watch::Sender<bool>), ServeError> {
    let failed = |source| StartError::Listen { address, option: "--metrics", source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let media = spec.pieces.first().filter(|_| args.file.is_some());
    let device = media.map(|piece| DeviceSample {
        id: piece.device,
        path: args.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        size: piece.len,
        free: 0,
        healthy: true,
    });
    let server = Arc::clone(server);
    let look = move || {
        let (server, devices) = (Arc::clone(&server), device.iter().cloned().collect());
        async move {
            let shards = server.measure().await;
            let sample = UnitSample { shards, devices, ..UnitSample::default() };
            text::page(&sample, server.names())
        }
    };
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(metrics::serve(listener, look, stopped));
    Ok((bound, stop))
}

fn print_urls(server: &Server, spec: &VolumeSpec, figures: Option<SocketAddr>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for portal in server.portals() {
        writeln!(out, "iscsi://{portal}/{}/0", server.target_name(spec, None))?;
    }
    if let Some(address) = figures {
        writeln!(out, "http://{address}{}", metrics::PATH)?;
    }
    out.flush()
}

/// Who may log in.
fn access(args: &ServeArgs, spec: &VolumeSpec) -> Result<AccessTable, ServeError> {
    let outside = args.listen.iter().find(|address| !address.ip().is_loopback());
    if let (None, false, Some(address)) = (&args.host, args.any_host, outside) {
        return Err(ServeError::Open(*address));
    }
    let mut table = AccessTable::new(TargetNames::new(TARGET_PREFIX, NO_POOL));
    let grant = Grant {
        subject: spec.name.as_str().parse().expect("a checked volume name is a subject"),
        host: args.host.as_ref().map_or_else(|| ANY_HOST.to_owned(), ToString::to_string),
        chap: chap(args)?,
        sources: Vec::new(),
        epoch: Epoch(1),
        sessions_per_portal: args.sessions_per_portal,
    };
    if let Some(address) = args.redirect.clone() {
        let redirect = Redirect { address, permanent: args.permanent };
        table.set_redirect(grant.subject.clone(), redirect);
    }
    table.grant(grant).expect("the first grant of an empty table is taken");
    Ok(table)
}

/// What hosts prove, and what we prove to them.
fn chap(args: &ServeArgs) -> Result<Option<Chap>, ServeError> {
    let (Some(user), Some(path)) = (&args.chap_user, &args.chap_secret_file) else {
        return Ok(None);
    };
    let (user, secret) = (user.clone(), secret(path)?);
    let mutual = match (&args.mutual_chap_user, &args.mutual_chap_secret_file) {
        (Some(user), Some(path)) => {
            Some(Mutual { user: user.clone(), secret: self::secret(path)? })
        }
        _ => None,
    };
    match mutual.as_ref().is_some_and(|mutual| mutual.secret == secret) {
        true => Err(ServeError::OneSecret),
        false => Ok(Some(Chap { user, secret, mutual })),
    }
}

fn secret(path: &Path) -> Result<Secret, ServeError> {
    let bad = |why: String| ServeError::Secret { path: path.to_owned(), why };
    let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.len() < CHAP_SECRET_LEN_MIN {
        return Err(bad(format!(
            "a CHAP secret has at least {CHAP_SECRET_LEN_MIN} bytes; this one has {}",
            text.len()
        )));
    }
    Ok(Secret::new(text))
}

/// The file or memory as a volume of one piece.
fn volume(args: &ServeArgs) -> Result<(VolumeSpec, Option<Sidecar>), ServeError> {
    let block_size = args.block_size.bytes();
    if let Some(physical) = args.physical_block_size.filter(|physical| *physical < block_size) {
        return Err(ServeError::SmallPhysicalBlocks { physical, block: args.block_size });
    }
    let (what, mut piece, raw) = match (&args.file, args.memory) {
        (Some(path), _) => file(args, path)?,
        (None, memory) => {
            let len = memory.unwrap_or_default().0;
            let (device, media, zero) = (Uuid::nil(), Media::Memory, ZeroWith::Writes);
            let piece = Piece { device, media, offset: 0, len, zero };
            ("--memory".to_owned(), piece, None)
        }
    };
    check_size(&what, piece.len, args.block_size)?;
    if let Some(smallest) = raw.as_ref().map(|raw| raw.logical).filter(|least| *least > block_size)
    {
        return Err(ServeError::SmallBlocks { what, smallest });
    }
    // Memory has no blocks of its own.
    let own = raw.as_ref().map_or(block_size, |raw| raw.physical.max(block_size));
    let id = identity(args.file.as_deref(), args.block_size);
    let sidecar = match &raw {
        Some(raw) => sidecar(args, raw, id)?,
        None => None,
    };
    // The same file is the same device at the next start, and another file is not.
    piece.device = sidecar.as_ref().map_or(piece.device, |sidecar| sidecar.spec().device);
    let name = args.name.clone().unwrap_or_else(|| name_of(args.file.as_deref()));
    let spec = VolumeSpec {
        physical_block_size: args.physical_block_size.unwrap_or(own),
        write_policy: match args.write_policy {
            Policy::Normal => WritePolicy::Normal,
            Policy::High => WritePolicy::High,
        },
        read_only: args.read_only,
        volatile: raw.as_ref().is_none_or(|raw| raw.volatile),
        rotational: raw.as_ref().is_some_and(|raw| raw.rotational),
        allow_sanitize: args.allow_sanitize,
        journal: sidecar.as_ref().filter(|_| !args.read_only).map(|sidecar| sidecar.spec().clone()),
        ..VolumeSpec::new(id, name, block_size, vec![piece])
    };
    Ok((spec, sidecar))
}

/// The journal beside a file. Where none can be made there are no atomic writes; but what is in one
/// that is there must be finished before the file is served.
fn sidecar(args: &ServeArgs, raw: &RawDevice, volume: Uuid) -> Result<Option<Sidecar>, ServeError> {
    let Some(file) = &args.file else {
        return Ok(None);
    };
    let is_there = Sidecar::is_beside(file);
    if args.read_only && !is_there {
        return Ok(None);
    }
    match Sidecar::open(file, raw, volume) {
        Ok(sidecar) => Ok(sidecar),
        Err(source) if is_there => {
            Err(ServeError::Os { doing: "finish what the journal beside the file holds", source })
        }
        Err(error) => {
            let file = file.display();
            tracing::warn!(%file, %error, "no journal beside the file: WRITE ATOMIC is not offered");
            Ok(None)
        }
    }
}

/// Reservations survive beside the file: whoever takes it along can take them too. Beside a device
/// node nothing survives, and a directory that cannot be written to keeps nothing; then hosts are told
/// that reservations do not survive power loss.
fn beside(file: &Path) -> Option<ReservationPlace> {
    let path = fs::canonicalize(file).ok().filter(|path| path.is_file())?;
    let mut name = path.file_name()?.to_owned();
    name.push(".reservations");
    let path = path.with_file_name(name);
    let options =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    match options {
        Ok(_) => Some(ReservationPlace::File(path)),
        Err(error) => {
            tracing::warn!(
                path = %path.display(), %error,
                "reservations will not survive a restart: this file cannot be written"
            );
            None
        }
    }
}

/// What to call it, where its bytes are, and what is known of it.
type Medium = (String, Piece, Option<RawDevice>);

fn file(args: &ServeArgs, path: &Path) -> Result<Medium, ServeError> {
    let (size, block) = (args.size, args.block_size);
    if let Some(Size(bytes)) = size {
        // Nothing is made that could not be served then.
        check_size("--size", bytes, block)?;
        if i64::try_from(bytes).is_err() {
            return Err(ServeError::LargeFile(Size::VOLUME_MAX.0 - u64::from(block.bytes())));
        }
    }
    let open = if args.page_cache { RawDevice::open_cached } else { RawDevice::open };
    let raw = open(path, size.map(|size| size.0))?;
    let what = path.display().to_string();
    if !raw.fresh && size.is_some_and(|size| size.0 != raw.size) {
        return Err(ServeError::Exists { what, bytes: raw.size });
    }
    let media = Media::File(Arc::clone(&raw.fd));
    let piece = Piece { device: Uuid::nil(), media, offset: 0, len: raw.size, zero: raw.zero };
    Ok((what, piece, Some(raw)))
}

/// What READ CAPACITY's exponent can tell, and no more than a host could take for a real disk.
fn physical_block_size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(bytes @ 512..=65_536) if bytes.is_power_of_two() => Ok(bytes),
        _ => Err("a physical block has 512 to 65536 bytes, a power of two".to_owned()),
    }
}

fn check_size(what: &str, bytes: u64, block: BlockSize) -> Result<(), ServeError> {
    let what = || what.to_owned();
    Size(bytes).of_volume().map_err(|source| ServeError::Size { what: what(), source })?;
    if bytes.is_multiple_of(u64::from(block.bytes())) {
        Ok(())
    } else {
        Err(ServeError::Odd { what: what(), bytes, block })
    }
}

/// The same file is the same logical unit at the next start, if its blocks are: a block's address
/// means other bytes when they are not. Memory never is.
fn identity(file: Option<&Path>, block: BlockSize) -> Uuid {
    match file.and_then(|file| fs::canonicalize(file).ok()) {
        Some(path) => {
            let machine = fs::read("/etc/machine-id").unwrap_or_default();
            let space = Uuid::new_v5(&Uuid::NAMESPACE_OID, &machine);
            let file = Uuid::new_v5(&space, path.as_os_str().as_encoded_bytes());
            match block {
                BlockSize::B512 => file,
                BlockSize::B4096 => Uuid::new_v5(&file, b"4096"),
            }
        }
        None => Uuid::new_v4(),
    }
}

/// What an iSCSI name can have of a file's name.
fn name_of(file: Option<&Path>) -> VolumeName {
    let stem = file
        .and_then(Path::file_stem)
        .map_or_else(|| "memory".into(), |stem| stem.to_string_lossy());
    let fit = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-') => c,
        _ => '-',
    };
    let name: String = stem.chars().map(fit).take(VolumeName::MAX_LEN).collect();
    VolumeName::new(name).unwrap_or_else(|_| VolumeName::new("volume").expect("letters only"))
}
