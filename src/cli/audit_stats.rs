//! `audit stats`: how many requests there were, as a table with bars.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::arguments::Output;
use super::audit_search::AuditFilter;
use super::output::{self, Failure};
use super::run::Asking;
use crate::audit::StatsBy;
use crate::config::Environment;
use crate::control::{AuditQuery, Command};

/// Which rows, and by what to count them.
#[derive(Debug, clap::Args)]
pub struct AuditStats {
    /// By what to count
    #[arg(long, value_enum, default_value_t = By::Hour)]
    by: By,
    #[command(flatten)]
    filter: AuditFilter,
}

/// By what rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// By the hour of the decision, in UTC
    Hour,
    /// By the minute of the decision
    Minute,
    /// By endpoint
    Endpoint,
    /// By account
    Account,
    /// By the code that explains the answer; `ok` where the ERP's answer was passed on
    Code,
}

impl From<By> for StatsBy {
    fn from(by: By) -> Self {
        match by {
            By::Hour => Self::Hour,
            By::Minute => Self::Minute,
            By::Endpoint => Self::Endpoint,
            By::Account => Self::Account,
            By::Code => Self::Code,
        }
    }
}

/// Counts the rows and prints what there is.
pub(super) fn run(asking: &Asking, stats: AuditStats) -> Result<ExitCode, Failure> {
    let (by, query) = (stats.by.into(), Box::new(AuditQuery::from(stats.filter)));
    let mut groups = asking.ask(Command::AuditStats { query, by })?;
    if asking.output == Output::Table {
        let marks = if is_utf8(&asking.sources.environment) { Marks::Blocks } else { Marks::Ascii };
        draw(&mut groups, marks);
    }
    let columns = ["group", "total", "allowed", "denied", "errors", "p50_ms", "p95_ms", "share"];
    output::print(&groups, &columns, asking.output)?;
    Ok(ExitCode::SUCCESS)
}

/// What a bar is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    Blocks,
    Ascii,
}

/// The width of the longest bar, in characters.
const WIDTH: u64 = 20;

/// Gives each group its bar; the largest has the longest.
fn draw(groups: &mut Value, marks: Marks) {
    let total = |group: &Value| group.get("total").and_then(Value::as_u64).unwrap_or(0);
    let groups = groups.as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
    let most = groups.iter().map(total).max().unwrap_or(0);
    for group in groups {
        let bar = bar(total(group), most, marks);
        if let Some(members) = group.as_object_mut() {
            members.insert("share".into(), json!(bar));
        }
    }
}

/// What is not nothing is seen.
fn bar(value: u64, most: u64, marks: Marks) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let per_character = match marks {
        Marks::Blocks => 8,
        Marks::Ascii => 1,
    };
    let length = u128::from(value) * u128::from(WIDTH * per_character) / u128::from(most.max(1));
    let length = usize::try_from(length).unwrap_or(0).max(usize::from(value > 0));
    match marks {
        Marks::Ascii => "#".repeat(length),
        Marks::Blocks => format!("{}{}", "█".repeat(length / 8), EIGHTHS.get(length % 8).unwrap_or(&"")),
    }
}

/// Whether the terminal's texts are UTF-8, as POSIX has it: the first of these variables that is not empty counts.
fn is_utf8(environment: &Environment) -> bool {
    let mut locales = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| environment.get(name));
    let locale = locales.find(|locale| !locale.is_empty()).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_to_an_eighth() {
        for (value, most, blocks, ascii) in [
            (0, 100, "", ""),
            (100, 100, "████████████████████", "####################"),
            (50, 100, "██████████", "##########"),
            (52, 100, "██████████▍", "##########"),
            (1, 1_000_000, "▏", "#"),
            (7, 160, "▉", "#"),
            (0, 0, "", ""),
        ] {
            assert_eq!(bar(value, most, Marks::Blocks), blocks, "{value} of {most}");
            assert_eq!(bar(value, most, Marks::Ascii), ascii, "{value} of {most}");
        }
        assert_eq!(bar(u64::MAX, u64::MAX, Marks::Blocks).chars().count(), 20);
    }

    #[test]
    fn the_first_locale_that_is_set_says_whether_blocks_can_be_shown() {
        let of = |variables: &[(&str, &str)]| is_utf8(&variables.iter().copied().collect());
        assert!(of(&[("LANG", "en_US.UTF-8")]) && of(&[("LC_ALL", "C.utf8"), ("LANG", "C")]));
        assert!(of(&[("LC_ALL", ""), ("LC_CTYPE", "de_DE.UTF-8"), ("LANG", "C")]));
        assert!(!of(&[]) && !of(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]) && !of(&[("LANG", "de_DE.ISO-8859-1")]));
    }

    #[test]
    fn every_group_gets_a_bar() {
        let mut groups = json!([{ "group": "a", "total": 4 }, { "group": null, "total": 1 }]);
        draw(&mut groups, Marks::Ascii);
        assert_eq!((&groups[0]["share"], &groups[1]["share"]), (&json!("#".repeat(20)), &json!("#####")));
        draw(&mut Value::Null, Marks::Ascii);
    }
}
