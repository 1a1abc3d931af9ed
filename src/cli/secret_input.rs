//! Secrets come from standard input or a prompt, never from the arguments.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::domain::Secret;

use super::output::{Failure, line_to_stderr};

/// Longest secret, in bytes.
const LONGEST: u64 = 16 * 1024;

/// Reads one secret: a line from the terminal without showing it, or all of standard input without its last line end.
pub(super) fn read(what: &str) -> Result<Secret, Failure> {
    let input = io::stdin();
    let mut text = Zeroizing::new(String::new());
    if input.is_terminal() {
        line_to_stderr(&format!("{what}:"));
        let shown =
            tcgetattr(&input).map_err(|error| Failure::other(format!("cannot read from the terminal: {error}")))?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(&input, OptionalActions::Flush, &hidden);
        let read = input.lock().read_line(&mut text);
        let _ = tcsetattr(&input, OptionalActions::Flush, &shown);
        read.map_err(|error| Failure::other(format!("cannot read {what}: {error}")))?;
    } else {
        let read = input.lock().take(LONGEST).read_to_string(&mut text);
        read.map_err(|error| Failure::other(format!("cannot read {what} from standard input: {error}")))?;
    }
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    let trimmed = trimmed.strip_suffix('\r').unwrap_or(trimmed);
    if trimmed.is_empty() {
        return Err(Failure::invalid(format!("{what} is empty; write it to standard input")));
    }
    Ok(Secret::new(trimmed.to_owned()))
}
