//! What `outband unit run` and `outband station run` share: being told to stop, and logs.

use std::future::{Future, pending};
use std::io::Read;

use clap::Args;
use outband_control::log;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Stop in order when standard input ends: for a parent process that may die
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

impl StopArgs {
    /// Ready at SIGTERM, at SIGINT, and at the end of standard input if that was asked for.
    pub(crate) fn told_to_stop(&self) -> Result<impl Future<Output = ()> + use<>, Failure> {
        let handle = |kind| signal(kind).map_err(Failure::os("handle signals"));
        let mut terminate = handle(SignalKind::terminate())?;
        let mut interrupt = handle(SignalKind::interrupt())?;
        let ended = self.stop_with_stdin.then(stdin_ended);
        Ok(async move {
            let ended = async {
                match ended {
                    Some(ended) => drop(ended.await),
                    None => pending().await,
                }
            };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = ended => {}
            }
        })
    }
}

/// A thread of its own: a read of standard input cannot be called off.
fn stdin_ended() -> oneshot::Receiver<()> {
    let (tell, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok(1..) = std::io::stdin().read(&mut buffer) {}
        // Nobody waits when the process stops for another reason.
        let _ = tell.send(());
    });
    ended
}

/// `OUTBAND_LOG` takes what tracing's filters take.
pub(crate) fn start_log(json: bool) -> Result<(), Failure> {
    let format = if json { log::Format::Json } else { log::Format::Human };
    Ok(log::start(log::filter_of_environment()?, format)?)
}
