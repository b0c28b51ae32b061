//! `cargo xtask monitoring`: what `docs/monitoring/` ships is tried with Debian's Prometheus. A target
//! works, its page is linted, and every metric and query that the files name is asked for.

mod names;
mod web;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::failure::{Failure, root};
use crate::process::{Guard, built, captured, captured_with, tool};
use crate::target::{self, Target};
use crate::tools;

const PROGRAMS: [(&str, &str); 2] = [("promtool", "prometheus"), ("prometheus", "prometheus")];
const FOLDER: &str = "docs/monitoring";
/// A question to a local program.
const QUESTION: Duration = Duration::from_secs(60);
/// From the start of Prometheus until it has the figures of a target at work.
const SCRAPED: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(250);

pub(crate) fn run() -> Result<(), Failure> {
    tools::ensure_programs(&PROGRAMS)?;
    let files = root().join(FOLDER);
    promtool(&["check", "config", "prometheus.yml"], &files)?;
    promtool(&["check", "rules", "alerts.yml"], &files)?;
    promtool(&["test", "rules", "alerts_test.yml"], &files)?;
    let folder = target::folder()?;
    let metrics = web::free_address()?;
    let volume = folder.path().join("disk.img");
    let volume = volume.to_string_lossy();
    let arguments = [&*volume, "--size", "64M", "--any-host", "--metrics", &metrics];
    target::with(folder.path(), &arguments, |target| {
        at_work(target, &metrics, folder.path(), &files)
    })
}

fn promtool(arguments: &[&str], files: &Path) -> Result<(), Failure> {
    let said =
        captured(Command::new(tool("promtool")?).args(arguments).current_dir(files), QUESTION)?;
    print!("{said}");
    Ok(())
}

fn at_work(target: &Target, metrics: &str, folder: &Path, files: &Path) -> Result<(), Failure> {
    let scraper = Scraper::start(metrics, folder)?;
    for mode in ["randwrite", "randread"] {
        let mut bench = Command::new(built("outband")?);
        bench.args(["bench", target.url(), "--rw", mode, "--secs", "3s", "--depth", "8"]);
        captured(bench.arg("--yes-erase"), QUESTION)?;
    }
    lint(&web::get(metrics, "/metrics")?, folder)?;
    scraper.has_figures(target)?;
    scraper.knows_every_metric(files)?;
    scraper.answers_the_dashboard(files)
}

/// As `promtool check metrics` wants a page.
fn lint(page: &str, folder: &Path) -> Result<(), Failure> {
    let path = folder.join("page.txt");
    fs::write(&path, page).map_err(Failure::at(&path))?;
    let page = File::open(&path).map_err(Failure::at(&path))?;
    let mut check = Command::new(tool("promtool")?);
    let said = captured_with(check.args(["check", "metrics"]), Stdio::from(page), QUESTION)?;
    if said.trim().is_empty() {
        println!("promtool check metrics: nothing to complain of");
        return Ok(());
    }
    Err(Failure::wrong(format!("promtool complains of the page of figures:\n{said}")))
}

/// A Prometheus that asks one target every second.
struct Scraper {
    _process: Guard,
    address: String,
}

impl Scraper {
    fn start(metrics: &str, folder: &Path) -> Result<Self, Failure> {
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: outband-units\n    \
             static_configs: [{{targets: [\"{metrics}\"]}}]\n"
        );
        fs::write(&config, text).map_err(Failure::at(&config))?;
        let log = folder.join("prometheus.log");
        let log = File::create(&log).map_err(Failure::at(&log))?;
        let address = web::free_address()?;
        let program = tool("prometheus")?;
        let child = Command::new(&program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(Failure::at(&program))?;
        Ok(Self { _process: Guard(child), address })
    }

    /// The result of a query, which must be one that Prometheus understands.
    fn query(&self, query: &str) -> Result<Vec<Value>, Failure> {
        let encoded = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let path = format!("/api/v1/query?query={encoded}");
        let answer = web::get(&self.address, &path)?;
        let answer: Value = serde_json::from_str(&answer)
            .map_err(|error| Failure::wrong(format!("Prometheus said {answer}: {error}")))?;
        if answer["status"] != "success" {
            return Err(Failure::wrong(format!("`{query}`: {}", answer["error"])));
        }
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    fn has_figures(&self, target: &Target) -> Result<(), Failure> {
        let volume = target.name().rsplit(':').next().unwrap_or_default();
        let query = format!(
            "sum(outband_volume_command_duration_seconds_count{{volume=\"{volume}\"}}) > 100"
        );
        let deadline = Instant::now() + SCRAPED;
        loop {
            match self.query(&query) {
                Ok(found) if !found.is_empty() => {
                    println!("Prometheus has the figures of {volume}");
                    return Ok(());
                }
                answer if Instant::now() >= deadline => {
                    return Err(Failure::wrong(format!("Prometheus has no figures: {answer:?}")));
                }
                _ => thread::sleep(LOOK),
            }
        }
    }

    fn knows_every_metric(&self, files: &Path) -> Result<(), Failure> {
        let mut count = 0;
        for file in ["alerts.yml", "grafana-units.json", "zabbix-unit.yaml"] {
            let path = files.join(file);
            let text = fs::read_to_string(&path).map_err(Failure::at(&path))?;
            for metric in names::metrics(&text) {
                count += 1;
                if self.query(&format!("last_over_time({metric}[5m])"))?.is_empty() {
                    let why = format!("{file} names {metric}, which a target does not tell");
                    return Err(Failure::wrong(why));
                }
            }
        }
        println!("{count} metrics named in {FOLDER} are there");
        Ok(())
    }

    fn answers_the_dashboard(&self, files: &Path) -> Result<(), Failure> {
        let path = files.join("grafana-units.json");
        let text = fs::read_to_string(&path).map_err(Failure::at(&path))?;
        let board: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))?;
        let queries = names::queries(&board);
        for query in &queries {
            self.query(query)?;
        }
        println!("{} queries of the dashboard are understood", queries.len());
        Ok(())
    }
}
