//! `outband services`: the programs that make up the pool, and how each is.

use outband_pool_api::Service;

use crate::failure::Failure;
use crate::link::StationArgs;
use crate::output::{Output, ago, table};

pub(crate) async fn run(station: &StationArgs, output: &Output) -> Result<(), Failure> {
    let services = station.client()?.services().await?;
    output.show(&services, |services| list(services));
    Ok(())
}

fn list(services: &[Service]) -> String {
    let row = |service: &Service| {
        vec![
            service.kind.to_string(),
            service.name.clone(),
            service.health.to_string(),
            service.state.clone(),
            service.version.clone(),
            service.started.map(ago).unwrap_or_default(),
            service.starts.map(|starts| starts.to_string()).unwrap_or_default(),
            service.detail.clone(),
        ]
    };
    let heads = ["service", "name", "health", "state", "version", "started", "starts", "what"];
    table(&heads, &["starts"], services.iter().map(row).collect())
}
