//! The command line: `erp-access NOUN VERB`.

mod arguments;
mod audit_arguments;
mod audit_export;
mod audit_search;
mod audit_show;
mod audit_stats;
mod backups;
mod certificate_arguments;
mod connection;
mod credential_arguments;
mod credentials;
mod db_arguments;
mod demo;
mod doctor;
mod evidence;
mod limit_arguments;
mod key_arguments;
mod keys;
mod manual;
mod operator_key_arguments;
mod operator_keys;
mod output;
mod policy_apply;
mod policy_arguments;
mod policy_diff;
mod policy_explain;
mod policy_import;
mod policy_lint;
mod policy_replay;
mod policy_schema;
mod policy_suggest;
mod policy_test;
mod policy_trail;
mod reach;
mod rights;
mod run;
mod schedule_arguments;
mod schedules;
mod secret_input;
mod serve;
mod setup;
mod show;
mod shown_once;
mod upstream_arguments;
mod user_arguments;
mod users;

use std::process::ExitCode;

use clap::Parser as _;

pub use arguments::Arguments;
pub use output::Failure;

/// Runs the command line and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` come this way too, with exit code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run::run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            output::line_to_stderr(&format!("erp-access: {failure}"));
            failure.exit_code()
        }
    }
}
