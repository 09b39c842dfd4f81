//! What measurements should reach, said with what they did: a bench that misses one ends as a failure.
//!
//! On a busy machine, where ratios mean little, `BENCH_ONLY_REPORT=1` has it only said.

use std::process::ExitCode;

use anyhow::bail;

/// In the environment, whether what is missed is no failure.
const ONLY_REPORT: &str = "BENCH_ONLY_REPORT";

/// What was to be reached so far, and what of it was missed.
#[derive(Debug, Default)]
pub struct Reach {
    missed: Vec<String>,
}

impl Reach {
    /// Something that is to be at most so much.
    pub fn at_most(&mut self, what: &str, reached: f64, limit: f64) {
        self.judge(what, reached, "at most", limit, reached <= limit);
    }

    /// Something that is to be at least so much.
    pub fn at_least(&mut self, what: &str, reached: f64, limit: f64) {
        self.judge(what, reached, "at least", limit, reached >= limit);
    }

    fn judge(&mut self, what: &str, reached: f64, relation: &str, limit: f64, is_reached: bool) {
        let word = if is_reached { "" } else { ": MISSED" };
        let line = format!("{what} {reached:.2}, to be {relation} {limit}{word}");
        println!("{line}");
        if !is_reached {
            self.missed.push(line);
        }
    }

    /// An error with what was missed, unless it is only to be said.
    pub fn end(self) -> anyhow::Result<()> {
        self.judged(std::env::var_os(ONLY_REPORT).is_some_and(|value| value == "1"))
    }

    fn judged(self, only_report: bool) -> anyhow::Result<()> {
        if self.missed.is_empty() || only_report {
            return Ok(());
        }
        bail!(
            "not reached ({ONLY_REPORT}=1 makes that no failure): {}",
            self.missed.join("; ")
        )
    }

    /// The same as the code that a program ends with.
    pub fn exit_code(self) -> ExitCode {
        ended(self.end())
    }
}

/// The code that a bench ends with; why it failed is said.
pub fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Bytes as MiB.
pub fn mebibytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_a_failure_unless_it_is_only_reported() {
        let measured = |ratio: f64, rate: f64| {
            let mut reach = Reach::default();
            reach.at_most("ratio", ratio, 1.5);
            reach.at_least("rate", rate, 1000.0);
            reach
        };
        measured(1.5, 1000.0).judged(false).unwrap();
        let missed = measured(1.51, 999.0).judged(false).unwrap_err().to_string();
        assert!(
            missed.contains("ratio 1.51") && missed.contains("rate 999.00"),
            "{missed}"
        );
        // What could not be measured is not reached.
        assert!(measured(f64::NAN, 1000.0).judged(false).is_err());
        measured(2.0, 0.0).judged(true).unwrap();
    }
}
