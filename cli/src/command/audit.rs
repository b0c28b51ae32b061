//! `outband audit`: who has changed what, when and why.

use outband_pool_api::{AuditEntry, verify_audit};

use crate::failure::Failure;
use crate::link::StationArgs;
use crate::output::{Output, date, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only entries after this number; the newest if not said
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// At most so many; the station gives no more than 1000 at once
    #[arg(long, value_name = "COUNT", default_value = "50")]
    limit: u32,
    /// Only those about this unit, volume, host, token or job
    #[arg(long, value_name = "NAME")]
    about: Option<String>,
    /// Read the whole log and check that no entry was changed or left out
    #[arg(long, conflicts_with_all = ["after", "limit", "about"])]
    verify: bool,
}

const PAGE: u32 = 1000;

pub(crate) async fn run(args: Args, station: &StationArgs, output: &Output) -> Result<(), Failure> {
    let client = station.client()?;
    if !args.verify {
        let mut entries = client.audit(args.after, args.limit).await?;
        entries.retain(|entry| args.about.as_ref().is_none_or(|about| entry.subject == *about));
        output.show(&entries, |entries| list(entries));
        return Ok(());
    }
    let mut last: Option<AuditEntry> = None;
    loop {
        let after = last.as_ref().map_or(0, |entry| entry.number);
        let mut entries: Vec<AuditEntry> = last.into_iter().collect();
        let known = entries.len();
        entries.extend(client.audit(Some(after), PAGE).await?);
        let whole = verify_audit(&entries);
        whole.map_err(|broken| Failure::Failed(format!("the audit log is damaged: {broken}")))?;
        let more = entries.len() > known;
        last = entries.pop();
        if !more {
            break;
        }
    }
    let whole = last.map_or(0, |entry| entry.number);
    output.show(&whole, |count| format!("{count} entries, each as it was written"));
    Ok(())
}

fn list(entries: &[AuditEntry]) -> String {
    let row = |entry: &AuditEntry| {
        vec![
            entry.number.to_string(),
            date(entry.at_millis / 1000),
            entry.actor.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            entry.reason.clone().unwrap_or_default(),
        ]
    };
    let rows = entries.iter().map(row).collect();
    table(&["number", "when", "who", "what", "of", "why"], &["number"], rows)
}
