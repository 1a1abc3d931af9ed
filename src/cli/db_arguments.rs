//! What can be typed after `db`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `db …`
#[derive(Debug, Subcommand)]
pub enum Db {
    /// Bring the databases to this version's format
    Migrate,
    /// Back both databases up, at one moment, while the gateway serves
    #[command(
        after_help = "Without FILE the backup is left in `store.backups`. It holds everything but the APP_KEY, the configuration and the policies.\nExamples:\n  db backup\n  db backup /mnt/backups/monday.tar.age --encrypt-to backup.pub"
    )]
    Backup(Backup),
    /// Make a key for backups: the secret half goes to a new file with mode 0600, the public half is printed
    #[command(
        after_help = "Keep the file away from the gateway: whoever makes backups needs the public half only.\nExample: erp-access db backup-key backup.key > backup.pub"
    )]
    BackupKey {
        /// The file to write; it must not exist
        file: PathBuf,
    },
    /// Put a backup in the place of both databases, or of state alone; only while no gateway runs
    ///
    /// The backup is verified before anything is touched: every byte, the databases, the key, the chain of the audit trail.
    /// What was revoked, disabled, suspended, stopped or taken away since is listed, and taken away again or not, as you
    /// say. Tokens and sessions at ERPs are forgotten in any case. The audit trail that is there stays, and the files that
    /// are replaced are kept beside.
    #[command(
        after_help = "Examples:\n  db restore monday.tar --dry-run\n  db restore monday.tar.age --decrypt-with backup.key --keep-revocations --yes\nExit codes: 2 when it is not said what becomes of revocations, 5 while a gateway runs, 7 when the backup is not whole."
    )]
    Restore(Restore),
}

/// `db backup`
#[derive(Debug, Args)]
pub struct Backup {
    /// Where it is moved to; it must not exist
    pub file: Option<PathBuf>,
    /// A public key of `db backup-key` (age1…), or a file that holds one
    #[arg(long, value_name = "KEY")]
    pub encrypt_to: Option<String>,
}

/// `db restore`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Restore {
    /// The backup
    pub file: PathBuf,
    /// The file with the secret half of the key to which it is encrypted
    #[arg(long, value_name = "FILE")]
    pub decrypt_with: Option<PathBuf>,
    /// Take away again what was taken away since the backup
    #[arg(long, conflicts_with = "discard_revocations")]
    pub keep_revocations: bool,
    /// Let what was taken away since the backup come back
    #[arg(long)]
    pub discard_revocations: bool,
    /// Put the backup's audit trail in the place of the one that is there, which is kept beside
    #[arg(long)]
    pub with_audit: bool,
    /// Verify the backup, say what would happen, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
