//! `outband events`: what happened in the pool.

use std::time::Duration;

use outband_pool_api::Event;

use crate::failure::Failure;
use crate::link::StationArgs;
use crate::output::{Output, ago, say, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those after this number
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    after: u64,
    /// Go on and show each as it happens
    #[arg(long, short)]
    follow: bool,
}

const PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: Args, station: &StationArgs, output: &Output) -> Result<(), Failure> {
    let client = station.client()?;
    let mut events = client.events(args.after).await?;
    if !args.follow {
        output.show(&events, |events| list(events));
        return Ok(());
    }
    let mut after = args.after;
    loop {
        for event in &events {
            after = event.number;
            match output.is_json() {
                true => output.show(event, |_| String::new()),
                false => say(&line(event)),
            }
        }
        tokio::time::sleep(PAUSE).await;
        events = match client.events(after).await {
            Ok(events) => events,
            // It comes back, and then its numbers begin anew.
            Err(error) if error.is_retryable() => {
                after = 0;
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
    }
}

fn line(event: &Event) -> String {
    format!("{:<16} {:<16} {}", event.kind, event.subject, event.text)
}

fn list(events: &[Event]) -> String {
    let rows = events
        .iter()
        .map(|event| {
            vec![
                event.number.to_string(),
                ago(event.at_millis / 1000),
                event.kind.clone(),
                event.subject.clone(),
                event.text.clone(),
            ]
        })
        .collect();
    table(&["number", "when", "kind", "subject", "what"], &["number"], rows)
}
