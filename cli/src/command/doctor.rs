//! `outband doctor`: what in the pool is not as it should be, and the command that leads on.

use outband_pool_api::Finding;

use crate::failure::Failure;
use crate::link::StationArgs;
use crate::output::Output;

pub(crate) async fn run(station: &StationArgs, output: &Output) -> Result<(), Failure> {
    let findings = station.client()?.doctor().await?;
    output.show(&findings, |findings| list(findings));
    Ok(())
}

fn list(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing to complain of".to_owned();
    }
    let one = |finding: &Finding| {
        let Finding { code, subject, detail, next } = finding;
        format!("{code}: {subject}: {detail}\n  → {next}")
    };
    findings.iter().map(one).collect::<Vec<_>>().join("\n")
}
