//! `policy test`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::arguments::{Output, PolicyTest};
use super::output::{self, Failure, line, safe};
use super::run::Asking;
use crate::config::Config;
use crate::policy::{CaseResult, Coverage, PolicyStore, Untested};

pub(super) fn run(asking: &Asking, arguments: &PolicyTest) -> Result<ExitCode, Failure> {
    let folder = match &arguments.directory {
        Some(folder) => folder.clone(),
        None => Config::load(&asking.sources).map_err(Failure::invalid)?.policies.directory,
    };
    let set = PolicyStore::open(&folder).map_err(Failure::invalid)?.current();
    let results = set.run_cases();
    let coverage = arguments.coverage.then(|| set.coverage());
    let report = Report { folder, results, coverage };
    match asking.output {
        Output::Table => report.print()?,
        Output::Json | Output::Ndjson | Output::Csv => output::print(&report.to_json(), &[], asking.output)?,
    }
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Report {
    folder: PathBuf,
    results: Vec<CaseResult>,
    coverage: Option<Coverage>,
}

impl Report {
    fn failed(&self) -> usize {
        self.results.iter().filter(|result| result.difference.is_some()).count()
    }

    fn passed(&self) -> usize {
        self.results.len() - self.failed()
    }

    /// Where something stands, so that an editor finds it.
    fn place(&self, file: &Path, line: usize) -> String {
        format!("{}:{line}", self.folder.join(file).display())
    }

    fn print(&self) -> Result<(), Failure> {
        for result in &self.results {
            match &result.difference {
                None => line(&safe(&format!("ok    {}", result.name)))?,
                Some(difference) => {
                    line(&safe(&format!("FAIL  {}", result.name)))?;
                    line(&safe(&format!("  --> {}", self.place(&result.file, result.line))))?;
                    line(&safe(&format!("    - expected: {}", difference.expected)))?;
                    line(&safe(&format!("    + decided:  {}", difference.decided)))?;
                }
            }
        }
        if let Some(coverage) = &self.coverage {
            self.print_coverage(coverage)?;
        }
        line(&format!("{} passed, {} failed", self.passed(), self.failed()))
    }

    fn print_coverage(&self, coverage: &Coverage) -> Result<(), Failure> {
        let Coverage { rules, untested_rules, endpoints, untested_endpoints } = coverage;
        for (what, untested) in [("rule", untested_rules), ("endpoint", untested_endpoints)] {
            for Untested { name, file, line: number } in untested {
                line(&safe(&format!("no case  {what} {name}  {}", self.place(file, *number))))?;
            }
        }
        line(&format!(
            "cases exercise {} of {rules} rules and reach {} of {endpoints} endpoints",
            rules - untested_rules.len(),
            endpoints - untested_endpoints.len()
        ))
    }

    fn to_json(&self) -> Value {
        let cases = self.results.iter().map(|result| {
            json!({
                "name": result.name,
                "file": self.folder.join(&result.file).display().to_string(),
                "line": result.line,
                "passed": result.difference.is_none(),
                "expected": result.difference.as_ref().map(|difference| &difference.expected),
                "decided": result.difference.as_ref().map(|difference| &difference.decided),
            })
        });
        let untested = |list: &[Untested]| -> Vec<Value> {
            let one = |untested: &Untested| {
                let Untested { name, file, line } = untested;
                json!({ "name": name, "file": self.folder.join(file).display().to_string(), "line": line })
            };
            list.iter().map(one).collect()
        };
        let coverage = self.coverage.as_ref().map(|coverage| {
            json!({
                "rules": coverage.rules, "untested_rules": untested(&coverage.untested_rules),
                "endpoints": coverage.endpoints, "untested_endpoints": untested(&coverage.untested_endpoints),
            })
        });
        json!({
            "passed": self.passed(), "failed": self.failed(), "cases": cases.collect::<Vec<_>>(), "coverage": coverage,
        })
    }
}
