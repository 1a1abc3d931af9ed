//! What is probably not meant in the policies in force goes to the log, once for each generation.

use crate::policy::yaml::Problems;

/// How many warnings are written out.
const WRITTEN: usize = 20;

pub(super) fn tell(warnings: &Problems) {
    for warning in lines(warnings) {
        log::warn!("{warning}");
    }
}

fn lines(warnings: &Problems) -> Vec<String> {
    let mut lines: Vec<_> = warnings
        .0
        .iter()
        .take(WRITTEN)
        .map(|warning| {
            let (file, line, column, code) = (warning.file.display(), warning.line, warning.column, warning.code);
            format!("{file}:{line}:{column}: {} [{code}]", warning.message)
        })
        .collect();
    if let Some(more @ 1..) = warnings.0.len().checked_sub(WRITTEN) {
        lines.push(format!("and {more} more warnings about the policies; `erp-access policy lint` shows all of them"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::yaml::{Code, Problem};

    #[test]
    fn each_warning_is_a_line_and_too_many_are_counted() {
        let warnings = |count| {
            Problems((0..count).map(|_| Problem::of_file(Path::new("p.yaml"), Code::NoCases, "no; do")).collect())
        };
        assert_eq!(lines(&warnings(1)), ["p.yaml:1:1: no [no-cases]"]);
        let many = lines(&warnings(30));
        assert!(many.len() == 21 && many.last().is_some_and(|last| last.starts_with("and 10 more")), "{many:?}");
    }
}
