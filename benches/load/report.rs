//! What was measured, as a table.

use std::time::Duration;

use super::drive::Counted;
use super::subjects::{Kind, cores};

/// One subject in one scenario.
pub(crate) struct Cell {
    kind: Kind,
    /// Requests per second, each round.
    rates: Vec<f64>,
    /// Microseconds of CPU time of each request, each round.
    cpu: Vec<f64>,
    /// In microseconds, at half of its rate.
    latencies: Vec<u32>,
    failed: u64,
}

/// One scenario.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) cells: Vec<Cell>,
}

/// A gateway with very many live tokens, beside one with one.
pub(crate) struct Tokens {
    pub(crate) count: u32,
    pub(crate) ratio: f64,
    pub(crate) bytes: f64,
}

/// All of it.
pub(crate) struct Report {
    rounds: usize,
    time: Duration,
    pub(crate) tables: Vec<Table>,
    /// In MiB.
    pub(crate) memory: Vec<(&'static str, f64)>,
    /// In milliseconds.
    pub(crate) cold: Vec<(&'static str, f64)>,
    pub(crate) tokens: Option<Tokens>,
}

/// The one in the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

impl Cell {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, rates: Vec::new(), cpu: Vec::new(), latencies: Vec::new(), failed: 0 }
    }

    pub(crate) fn saturated(&mut self, counted: &Counted, cpu: f64) {
        let answered = counted.answered.max(1) as f64;
        self.rates.push(counted.answered as f64 / counted.elapsed.as_secs_f64());
        self.cpu.push(cpu * 1e6 / answered);
        self.failed += counted.failed;
    }

    pub(crate) fn at_half_load(&mut self, counted: Counted) {
        self.latencies.extend(counted.latencies);
        self.failed += counted.failed;
    }

    pub(crate) fn rate(&self) -> f64 {
        median(&mut self.rates.clone())
    }

    fn cpu(&self) -> f64 {
        median(&mut self.cpu.clone())
    }

    fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        f64::from(sorted.get(place).copied().unwrap_or(0))
    }
}

impl Table {
    /// What the others are compared with.
    fn basis(&self) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.kind == Kind::Bare)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("### {}: {}\n\n", self.name, self.about);
        text.push_str("| | requests/s | ratio | CPU µs | p50 µs | p90 | p99 | p99.9 | p99 ratio | failed |\n");
        text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
        for cell in &self.cells {
            let ratio = self.basis().map_or("–".to_owned(), |basis| format!("{:.2}", cell.rate() / basis.rate()));
            let tail = |basis: &Cell| format!("{:.2}", cell.percentile(0.99) / basis.percentile(0.99).max(1.0));
            let tail = self.basis().map_or("–".to_owned(), tail);
            let at = |share| format!("{:.0}", cell.percentile(share));
            text.push_str(&format!(
                "| {} | {:.0} | {ratio} | {:.1} | {} | {} | {} | {} | {tail} | {} |\n",
                cell.kind.name(),
                cell.rate(),
                cell.cpu(),
                at(0.5),
                at(0.9),
                at(0.99),
                at(0.999),
                cell.failed
            ));
        }
        text
    }
}

impl Report {
    pub(crate) fn new(rounds: usize, time: Duration) -> Self {
        Self { rounds, time, tables: Vec::new(), memory: Vec::new(), cold: Vec::new(), tokens: None }
    }

    /// What is not of one scenario.
    pub(crate) fn rest(&self) -> String {
        let mut text =
            String::from("### Memory and start\n\n| | peak memory MiB | start to first answer ms |\n|---|---:|---:|\n");
        for ((name, memory), (_, cold)) in self.memory.iter().zip(&self.cold) {
            text.push_str(&format!("| {name} | {memory:.0} | {cold:.0} |\n"));
        }
        if let Some(Tokens { count, ratio, bytes }) = &self.tokens {
            text.push_str(&format!(
                "\nWith {count} live tokens: {ratio:.3} of the requests/s with one, {bytes:.0} bytes of memory a token.\n"
            ));
        }
        text
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# Results of `./dev load`\n\n");
        text.push_str(&format!(
            "Measured by one run on this machine; `benches/README.md` says how to read it.\n\n| | |\n|---|---|\n| machine | {} |\n| kernel | {} |\n| commit | {} |\n| rounds | {} of {} s at saturation, and as many at half of each one's own rate |\n| cores | the subject on one, clients and ERP on another |\n\n",
            machine(),
            first_line("/proc/version").split(" (").next().unwrap_or_default(),
            commit(),
            self.rounds,
            self.time.as_secs_f64(),
        ));
        text.push_str("Medians of interleaved rounds. Ratios are to bare Pingora in the same run. Latencies are counted from the moment at which a request was due (open loop), at half of the subject's own requests/s.\n\n");
        for table in &self.tables {
            text.push_str(&table.text());
            text.push('\n');
        }
        text.push_str(&self.rest());
        text
    }
}

fn first_line(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let cores = cores();
    format!("{cores} cores, {}, shared with others", model.trim_start_matches([' ', '\t', ':']))
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changed =
        if git(&["status", "--porcelain", "--", "src", "Cargo.lock"]).is_empty() { "" } else { ", with changes" };
    format!("{}{changed}", git(&["rev-parse", "--short=12", "HEAD"]))
}
