//! The binary `outband-bench-load`: puts load on an iSCSI target or NBD server and measures it.

#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use outband_bench::cpu::Reading;
use outband_bench::load::{self, Load, Measured, Pattern, Terms, Url};
use outband_bench::pingpong::{self, Shape};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Load on iSCSI targets and NBD servers, from one thread
#[derive(Parser, Debug)]
#[command(name = "outband-bench-load")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Keep requests in flight for a while and measure
    Run(RunArgs),
    /// Write the whole volume once
    Fill {
        /// iscsi://ADDRESS:PORT/TARGET/LUN or nbd://ADDRESS:PORT/EXPORT
        url: Url,
    },
    /// Put no load on anything: only look at what a process uses
    Watch {
        /// The process
        #[arg(long, value_name = "PID")]
        server: Vec<u32>,
        /// Seconds to look on
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
    },
    /// Answer messages of one length with messages of another: the other end of `limit`
    Echo(ShapeArgs),
    /// Round trips to `echo`: what the machine allows without a protocol
    Limit(LimitArgs),
}

#[derive(Args, Debug)]
struct RunArgs {
    /// iscsi://ADDRESS:PORT/TARGET/LUN or nbd://ADDRESS:PORT/EXPORT
    url: Url,
    /// read, write or rw:PERCENT of reads; with rand in front at random
    #[arg(long, default_value = "randread")]
    pattern: Pattern,
    /// Bytes of a request
    #[arg(long, default_value_t = 4096)]
    block: u32,
    /// Requests in flight, of each session
    #[arg(long, default_value_t = 32)]
    depth: u32,
    /// Sessions to connect
    #[arg(long, default_value_t = 1)]
    sessions: u32,
    /// How many of them work, if not all; the others answer pings
    #[arg(long)]
    active: Option<u32>,
    /// Bytes of the volume to use, if not all
    #[arg(long)]
    span: Option<u64>,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds to run before that
    #[arg(long, default_value_t = 0.5)]
    ramp: f64,
    /// CRC32C over headers
    #[arg(long)]
    header_digest: bool,
    /// CRC32C over data
    #[arg(long)]
    data_digest: bool,
    /// Ask for ImmediateData=No
    #[arg(long)]
    no_immediate: bool,
    /// Ask for InitialR2T=Yes
    #[arg(long)]
    initial_r2t: bool,
    /// MaxRecvDataSegmentLength to declare
    #[arg(long, default_value_t = 262_144)]
    segment: u32,
    /// Stamp what is written and check what is read
    #[arg(long)]
    verify: bool,
    /// Never sleep
    #[arg(long)]
    spin: bool,
    /// Process whose CPU counts as the server's; may be repeated
    #[arg(long, value_name = "PID")]
    server: Vec<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ShapeArgs {
    /// Bytes of a request
    #[arg(long)]
    request: usize,
    /// Bytes of a reply
    #[arg(long)]
    reply: usize,
    /// One message after the other, instead of all that is there
    #[arg(long)]
    blocking: bool,
}

#[derive(Args, Debug)]
struct LimitArgs {
    /// What `echo` printed
    server: SocketAddr,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Requests in flight
    #[arg(long, default_value_t = 32)]
    depth: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Process whose CPU counts as the server's
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
}

impl From<&ShapeArgs> for Shape {
    fn from(args: &ShapeArgs) -> Self {
        let (request_len, reply_len) = (args.request.max(1), args.reply.max(1));
        Self { request_len, reply_len, blocking: args.blocking }
    }
}

impl From<RunArgs> for Load {
    fn from(args: RunArgs) -> Self {
        Self {
            url: args.url,
            pattern: args.pattern,
            block_len: args.block,
            depth: args.depth,
            sessions: args.sessions,
            active: args.active.unwrap_or(args.sessions),
            span: args.span,
            time: seconds(args.seconds),
            ramp: seconds(args.ramp),
            once: false,
            verify: args.verify,
            spin: args.spin,
            terms: Terms {
                header_digest: args.header_digest,
                data_digest: args.data_digest,
                no_immediate: args.no_immediate,
                initial_r2t: args.initial_r2t,
                segment_len: args.segment,
            },
            servers: args.server,
        }
    }
}

/// 128 KiB at depth 8: fast with any server, and within what one takes unasked.
fn filling(url: Url) -> Load {
    Load {
        url,
        pattern: Pattern { random: false, reads: 0 },
        block_len: 128 << 10,
        depth: 8,
        sessions: 1,
        active: 1,
        span: None,
        time: Duration::from_secs(3600),
        ramp: Duration::ZERO,
        once: true,
        verify: false,
        spin: false,
        terms: Terms::default(),
        servers: Vec::new(),
    }
}

/// Nothing negative, nothing beyond a day.
fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value.clamp(0.0, 86_400.0))
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    allow_many_sockets();
    let done = match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::Fill { url } => load::run(&filling(url)).map_err(Failure::from).and_then(good),
        Command::Watch { server, seconds } => watch(&server, seconds),
        Command::Echo(args) => echo(&args),
        Command::Limit(args) => limit(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outband-bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Thousands of sessions need more descriptors than a shell allows by itself.
fn allow_many_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused, the number of sessions will tell.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn run(args: RunArgs) -> Result<(), Failure> {
    let json = args.json;
    let measured = load::run(&args.into())?;
    if json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        show(&measured);
    }
    good(measured)
}

/// Figures of requests that failed, or of wrong data, are no figures.
fn good(measured: Measured) -> Result<(), Failure> {
    match (measured.failed, measured.wrong) {
        (0, 0) => Ok(()),
        (failed, wrong) => {
            Err(format!("{failed} requests failed, {wrong} brought wrong data").into())
        }
    }
}

fn show(measured: &Measured) {
    let Measured { pattern, block_len, depth, sessions, .. } = measured;
    println!("{pattern} of {block_len} bytes, depth {depth}, {sessions} sessions");
    println!("{:12.0} a second, {:.1} MiB/s", measured.iops, measured.mib_s);
    println!(
        "{:12.1} us p50, {:.1} p99, {:.1} p99.9, {:.1} at most",
        measured.p50_us, measured.p99_us, measured.p999_us, measured.max_us
    );
    println!(
        "{:12.2} us CPU here for each, {:.2} of the server; others {:.2} processors",
        measured.own_us, measured.server_us, measured.other_cpus
    );
    for (up_to, count) in &measured.histogram {
        println!("{count:12} below {up_to:.1} us");
    }
}

fn watch(servers: &[u32], secs: f64) -> Result<(), Failure> {
    let before = Reading::now(servers);
    thread::sleep(seconds(secs));
    let used = before.until(&Reading::now(servers));
    let part = |time: Duration| time.as_secs_f64() / used.wall.as_secs_f64().max(1e-9);
    let (server, other) = (part(used.servers), part(used.others));
    println!("{}", serde_json::json!({ "server_cpus": server, "other_cpus": other }));
    Ok(())
}

fn echo(args: &ShapeArgs) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    Ok(pingpong::serve(&listener, args.into())?)
}

fn limit(args: &LimitArgs) -> Result<(), Failure> {
    let shape = Shape::from(&args.shape);
    let limit = pingpong::run(args.server, shape, args.depth, seconds(args.seconds), &args.pid)?;
    println!("{}", serde_json::to_string(&limit)?);
    Ok(())
}
