//! What can be typed after `key`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::secrets::KeyId;

/// `key …`
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Generate an `APP_KEY` and write it to a new file with mode 0600, into a key file, or to standard output
    Generate {
        /// The file to write; it must not exist
        #[arg(long)]
        file: Option<PathBuf>,
        /// The key file in whose first line it is put, above the key in use, which stays as its predecessor
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        above: Option<PathBuf>,
    },
    /// Put a new `APP_KEY` into use, without a restart, and move everything that is sealed to it
    ///
    /// The new key is put into the first line of `app_key.file`; the former one stays below it and serves what it made:
    /// tokens until they expire, x-api-keys and passwords until they get their next token or are rotated, seals of the
    /// audit trail until they are pruned. A rotation that was interrupted is finished by the next start, or by this command.
    #[command(
        after_help = "Example: erp-access key rotate\nAfterwards: erp-access key status; make a backup of the key file"
    )]
    Rotate {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show what depends on which `APP_KEY`
    Status,
    /// Give a former `APP_KEY` up; refused while anything depends on it
    #[command(after_help = "Example: erp-access key retire 9f86d081 --yes")]
    Retire {
        /// Its id, as `key status` shows it
        key: KeyId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Go on without an `APP_KEY` that is lost for good; only while no gateway runs
    ///
    /// Forgets what only the lost key could open: secrets and sessions at ERPs, second factors and tokens. Accounts,
    /// credential sets with their ids and grants, users, and the audit trail stay; each set needs new secrets
    /// (`credential rotate`), each user a new password (`user reset-password`).
    #[command(after_help = "Example: erp-access key abandon --reason 'the disk with the key burned' --yes")]
    Abandon {
        /// Why; it is in the audit trail
        #[arg(long)]
        reason: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}
