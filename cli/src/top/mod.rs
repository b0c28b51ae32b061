//! `outband top`: the pool on a terminal, live. [`state`] decides, [`view`] draws, [`terminal`] and
//! [`snapshot`] do the rest.

mod rows;
mod snapshot;
mod state;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::failure::{Failure, chain};
use crate::link::{StationArgs, time};
use crate::output::{Output, is_colourful};
use snapshot::{Snapshot, follow};
use state::{Outcome, State};
use terminal::{Screen, Typed};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Between two looks; what units count is told once a second
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    every: Duration,
}

pub(crate) async fn run(args: Args, station: &StationArgs, output: &Output) -> Result<(), Failure> {
    if output.is_json() || !terminal::is_there() {
        let instead = "`outband top` needs a terminal; for one look at the pool use \
                       `outband status`, for programs `outband status -o json` or /v1/rates";
        return Err(Failure::Usage(instead.to_owned()));
    }
    let client = station.client()?;
    // What is wrong from the start is said where it can be read afterwards.
    client.pool().await?;
    let every = args.every.max(Duration::from_secs(1));
    let (look, looked_at) = watch::channel(None);
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(follow(client, every, looked_at, tell));
    let signals = Signals::new().map_err(Failure::os("hear signals"))?;
    let mut screen = Screen::take().map_err(Failure::os("use the terminal"))?;
    show(&mut screen, told, &look, signals).await
}

struct Signals([Signal; 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        let [end, hang_up, interrupt] =
            [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal);
        Ok(Self([end?, hang_up?, interrupt?]))
    }

    async fn any(&mut self) {
        let [end, hang_up, interrupt] = &mut self.0;
        tokio::select! {
            _ = end.recv() => {}
            _ = hang_up.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

async fn show(
    screen: &mut Screen,
    mut told: mpsc::Receiver<Result<Snapshot, outband_pool_api::Error>>,
    look: &watch::Sender<Option<String>>,
    mut signals: Signals,
) -> Result<(), Failure> {
    let failed = || Failure::os("use the terminal");
    let (mut state, mut keys) = (State::default(), terminal::keys());
    let colour = is_colourful();
    loop {
        state.page = view::page(screen.terminal.size().map_err(failed())?.height);
        screen.terminal.draw(|frame| view::draw(frame, &state, colour)).map_err(failed())?;
        tokio::select! {
            () = signals.any() => return Err(Failure::Interrupted),
            Some(answer) = told.recv() => state.take(answer.map_err(|error| chain(&error))),
            typed = keys.recv() => match typed {
                None => return Ok(()),
                Some(Err(error)) => return Err(failed()(error)),
                Some(Ok(Typed::Resized)) => {}
                Some(Ok(Typed::Key(key))) => {
                    if state.on_key(key) == Outcome::Quit {
                        return Ok(());
                    }
                    look.send_if_modified(|look| {
                        let is_new = *look != state.close;
                        look.clone_from(&state.close);
                        is_new
                    });
                }
            },
        }
    }
}
