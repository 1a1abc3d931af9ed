//! The file of `APP_KEY`: the key in use stands first, its predecessors below it, one in a line. Lines that begin with `#`
//! are left alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::secret_file::{SecretFileError, read_secret_file};
use crate::domain::Secret;

/// The key file cannot be changed. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("the key file {0}")]
    Unreadable(#[from] SecretFileError),
    /// It cannot be written.
    #[error("the key file `{0}` cannot be replaced: {1}")]
    Unwritable(PathBuf, io::Error),
    /// It does not hold what was written.
    #[error("the key file `{0}` does not hold what was written to it")]
    NotKept(PathBuf),
}

/// The keys in the text of a key file.
#[must_use]
pub fn keys_in(text: &Secret) -> Vec<Secret> {
    let lines = text.expose().lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !is_comment(line)).map(|line| Secret::new(line.to_owned())).collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Puts a key above those in a key file. When this returns, the file is on disk with it; until then it is as it was.
///
/// # Errors
/// When the file cannot be read, is open to others, or cannot be replaced.
pub fn put_key_first(path: &Path, key: &Secret) -> Result<(), KeyFileError> {
    let before = read_secret_file(path)?;
    let at = before.expose().lines().take_while(|line| is_comment(line) || line.trim().is_empty()).count();
    let mut lines: Vec<&str> = before.expose().lines().collect();
    lines.insert(at.min(lines.len()), key.expose());
    replace(path, &lines)
}

/// Takes a key out of a key file, if it is there; says whether it was. As safe as [`put_key_first`].
///
/// # Errors
/// When the file cannot be read, is open to others, or cannot be replaced.
pub fn take_key_out(path: &Path, is_it: impl Fn(&Secret) -> bool) -> Result<bool, KeyFileError> {
    let before = read_secret_file(path)?;
    let stays = |line: &&str| is_comment(line) || !is_it(&Secret::new(line.trim().to_owned()));
    let lines: Vec<&str> = before.expose().lines().filter(stays).collect();
    if lines.len() == before.expose().lines().count() {
        return Ok(false);
    }
    replace(path, &lines)?;
    Ok(true)
}

fn replace(path: &Path, lines: &[&str]) -> Result<(), KeyFileError> {
    let failed = |error| KeyFileError::Unwritable(path.to_owned(), error);
    // Where the file is a link, what it leads to is replaced, not the link.
    let file = fs::canonicalize(path).map_err(failed)?;
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    let mut text = Zeroizing::new(String::with_capacity(lines.iter().map(|line| line.len() + 1).sum()));
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let aside = folder.join(hidden);
    write_aside(&aside, &text).and_then(|()| fs::rename(&aside, &file)).map_err(|error| {
        let _ = fs::remove_file(&aside);
        failed(error)
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    let kept = read_secret_file(path)?;
    if kept.expose() == text.trim() { Ok(()) } else { Err(KeyFileError::NotKept(path.to_owned())) }
}

fn write_aside(aside: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // SECURITY: the mode is set at creation, and nothing that somebody put there is followed.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn file_with(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.key");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        (folder, path)
    }

    fn key(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn keys(path: &Path) -> Vec<String> {
        let text = read_secret_file(path).expect("read");
        keys_in(&text).iter().map(|key| key.expose().to_owned()).collect()
    }

    #[test]
    fn a_new_key_stands_above_the_others_and_below_what_people_wrote_on_top() {
        let (_folder, path) = file_with("# of the gateway in Lahore\r\n\r\nbase64:old\r\n# from 2024\nbase64:older");
        put_key_first(&path, &key("base64:new")).expect("put");
        assert_eq!(keys(&path), ["base64:new", "base64:old", "base64:older"]);
        let text = fs::read_to_string(&path).expect("read");
        assert_eq!(text, "# of the gateway in Lahore\n\nbase64:new\nbase64:old\n# from 2024\nbase64:older\n");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_is_taken_out_and_the_others_stay() {
        let (_folder, path) = file_with("base64:new\nbase64:old\n");
        assert!(take_key_out(&path, |key| key.expose() == "base64:old").expect("taken"));
        assert!(!take_key_out(&path, |key| key.expose() == "base64:old").expect("not there"));
        assert_eq!(keys(&path), ["base64:new"]);
    }

    #[test]
    fn a_file_that_is_open_to_others_is_not_touched() {
        let (_folder, path) = file_with("base64:old\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        assert!(matches!(put_key_first(&path, &key("base64:new")), Err(KeyFileError::Unreadable(_))));
        assert_eq!(fs::read_to_string(&path).expect("read"), "base64:old\n");
    }

    #[test]
    fn a_link_stays_a_link_and_what_a_crash_left_is_replaced() {
        let (folder, path) = file_with("base64:old\n");
        let link = folder.path().join("link");
        symlink(&path, &link).expect("linked");
        fs::write(folder.path().join(".app.key.new"), "half").expect("written");
        put_key_first(&link, &key("base64:new")).expect("put");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(keys(&path), ["base64:new", "base64:old"]);
        assert!(!folder.path().join(".app.key.new").exists());
    }
}
