//! `outband demo`: a whole pool on this machine, shown at work. The station and the units are this
//! same program as child processes; the hosts are the initiator library in this process.

mod child;
mod churn;
mod ground;
mod hosts;
mod lab;
mod script;
mod show;
mod stay;

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use self::ground::Ground;
use self::lab::Lab;
use self::show::Show;
use crate::failure::{Failure, chain};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep the pool running at the end, and say what to try next
    #[arg(long)]
    stay: bool,
    /// Where the temporary directory is made; on a disk, and found by itself if not given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The last lines of each child's log that are shown when a step fails.
const TAIL: usize = 8;

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let handle = |kind| signal(kind).map_err(Failure::os("handle signals"));
    let (mut interrupt, mut terminate) =
        (handle(SignalKind::interrupt())?, handle(SignalKind::terminate())?);
    let ground = Ground::choose(args.dir.as_deref())?;
    let show = Show::new();
    let mut lab = Lab::new(ground)?;
    let ended = tokio::select! {
        ended = script::run(&mut lab, &show, args.stay) => ended,
        _ = interrupt.recv() => Err(Failure::Interrupted),
        _ = terminate.recv() => Err(Failure::Interrupted),
    };
    let is_staying = args.stay && show.is_done();
    let ended = match ended {
        // With --stay that is how it is meant to end.
        Err(Failure::Interrupted) if is_staying => Ok(()),
        Err(Failure::Interrupted) => Err(Failure::Interrupted),
        Err(why) => {
            let (number, title) = show.step_under_way();
            show.failed(&chain(&why));
            for (name, tail) in lab.tails(TAIL) {
                show.tail(&name, &tail);
            }
            Err(Failure::Failed(format!("the demo failed at step {number}: {title}")))
        }
        Ok(()) => Ok(()),
    };
    lab.end().await;
    ended
}
