//! Steps in a row: a heading, a time, and at the first failure the command that repeats it.

use std::time::Instant;

use crate::failure::Failure;
use crate::process;

#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, f64)>,
}

impl Steps {
    /// Runs one step; `rerun` is what a person types to repeat it alone.
    pub(crate) fn run(
        &mut self,
        name: &str,
        rerun: &str,
        step: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        println!("\n=== {name}");
        let start = Instant::now();
        if let Err(source) = step() {
            println!("steps: {} passed, 1 failed", self.done.len());
            let (step, rerun) = (name.to_owned(), rerun.to_owned());
            return Err(Failure::Step { step, rerun, source: Box::new(source) });
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("--- {name}: {seconds:.1} s");
        self.done.push((name.to_owned(), seconds));
        Ok(())
    }

    pub(crate) fn cargo(&mut self, name: &str, arguments: &[&str]) -> Result<(), Failure> {
        let rerun = format!("cargo {}", arguments.join(" "));
        self.run(name, &rerun, || process::cargo(arguments))
    }

    /// The table of times and the closing line.
    pub(crate) fn close(self) {
        println!();
        for (name, seconds) in &self.done {
            println!("{seconds:8.1} s  {name}");
        }
        println!("steps: {} passed, 0 failed", self.done.len());
    }
}
