//! The file of a backup: a tar archive with a manifest and the databases, encrypted with age where that is asked for. Both
//! can be opened without this program: `age -d -i KEY FILE | tar x`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use age::x25519::{Identity, Recipient};
use age::{Decryptor, Encryptor};
use sha2::{Digest as _, Sha256};
use tar::{Archive, Builder, Entry, EntryType, Header};

use super::manifest::{FORMAT, Manifest, Part};

const MANIFEST: &str = "manifest.json";
/// Longer than any manifest.
const MANIFEST_BYTES: u64 = 64 * 1024;
/// How a file that is encrypted with age begins.
const AGE: &[u8] = b"age-encryption.org/";

/// A backup cannot be written, or is not one.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file cannot be read or written.
    #[error("`{0}`: {1}")]
    File(PathBuf, io::Error),
    /// The archive ends early, or is none.
    #[error("the file is not a whole backup: {0}")]
    Broken(io::Error),
    /// It is encrypted, and no key was given.
    #[error("the backup is encrypted: give its key with `--decrypt-with FILE`")]
    KeyMissing,
    /// It is not encrypted, though a key was given.
    #[error("the backup is not encrypted, though a key was given: is it the right file?")]
    NotEncrypted,
    /// It is encrypted to another key.
    #[error("the key does not open the backup: {0}")]
    WrongKey(String),
    /// It cannot be encrypted.
    #[error("the backup cannot be encrypted: {0}")]
    Encryption(String),
    /// Something in it is not what its manifest says.
    #[error("the backup is damaged or was changed: {0}")]
    Wrong(String),
    /// It was made by a newer version.
    #[error("the backup has format {0}, and this version knows {FORMAT}: install a newer version of erp-access")]
    Newer(u32),
}

type Result<T> = std::result::Result<T, ArchiveError>;

/// A file as a part: its size and its SHA-256.
pub(super) fn part(name: &str, file: &Path) -> Result<Part> {
    let failed = |error| ArchiveError::File(file.to_owned(), error);
    let mut hashing = Hashing::new(io::sink());
    let bytes = io::copy(&mut File::open(file).map_err(failed)?, &mut hashing).map_err(failed)?;
    Ok(Part { name: name.to_owned(), bytes, sha256: hashing.end() })
}

/// Writes a backup of the parts of the manifest, which are files in `folder`, to a new file. On disk when this returns; gives
/// its SHA-256.
pub(super) fn write(file: &Path, manifest: &Manifest, folder: &Path, to: Option<&Recipient>) -> Result<String> {
    let failed = |error| ArchiveError::File(file.to_owned(), error);
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    let out = Hashing::new(BufWriter::new(opened));
    let out = match to {
        None => fill(Builder::new(out), manifest, folder)?,
        Some(recipient) => {
            let recipients = std::iter::once::<&dyn age::Recipient>(recipient);
            let refused = |error: &dyn std::fmt::Display| ArchiveError::Encryption(error.to_string());
            let encryptor = Encryptor::with_recipients(recipients).map_err(|error| refused(&error))?;
            let sealed = encryptor.wrap_output(out).map_err(failed)?;
            fill(Builder::new(sealed), manifest, folder)?.finish().map_err(failed)?
        }
    };
    let Hashing { inner, hash } = out;
    inner.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    Ok(hex::encode(hash.finalize()))
}

fn fill<W: Write>(mut builder: Builder<W>, manifest: &Manifest, folder: &Path) -> Result<W> {
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| ArchiveError::Wrong(error.to_string()))?;
    let seconds = manifest.made_at.as_second().unsigned_abs();
    let header = |bytes: u64| {
        let mut header = Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(seconds);
        header
    };
    let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
    builder.append_data(&mut header(size), MANIFEST, text.as_slice()).map_err(ArchiveError::Broken)?;
    for part in &manifest.parts {
        let path = folder.join(&part.name);
        let failed = |error| ArchiveError::File(path.clone(), error);
        let file = File::open(&path).map_err(failed)?;
        builder.append_data(&mut header(part.bytes), &part.name, BufReader::new(file)).map_err(failed)?;
    }
    builder.into_inner().map_err(ArchiveError::Broken)
}

/// Unpacks a backup into a folder that is empty, and checks every byte of it against its manifest. Gives that and the
/// SHA-256 of the file.
///
/// # Errors
/// When it cannot be read or decrypted, or is not whole. Files may be left in the folder.
pub fn unpack(file: &Path, identity: Option<&Identity>, into: &Path, names: &[&str]) -> Result<(Manifest, String)> {
    let failed = |error| ArchiveError::File(file.to_owned(), error);
    let mut start = Vec::with_capacity(AGE.len());
    let length = u64::try_from(AGE.len()).unwrap_or(u64::MAX);
    File::open(file).and_then(|file| file.take(length).read_to_end(&mut start)).map_err(failed)?;
    let mut source = Hashing::new(BufReader::new(File::open(file).map_err(failed)?));
    let manifest = match (start == AGE, identity) {
        (true, None) => return Err(ArchiveError::KeyMissing),
        (false, Some(_)) => return Err(ArchiveError::NotEncrypted),
        (false, None) => extract(&mut source, into, names)?,
        (true, Some(identity)) => {
            let refused = |error: age::DecryptError| ArchiveError::WrongKey(error.to_string());
            let decryptor = Decryptor::new(&mut source).map_err(refused)?;
            let mut plain = decryptor.decrypt(std::iter::once::<&dyn age::Identity>(identity)).map_err(refused)?;
            extract(&mut plain, into, names)?
        }
    };
    io::copy(&mut source, &mut io::sink()).map_err(failed)?;
    Ok((manifest, source.end()))
}

fn extract(source: &mut impl Read, into: &Path, names: &[&str]) -> Result<Manifest> {
    let mut archive = Archive::new(source);
    let manifest = extract_all(&mut archive, into, names)?;
    // The end of an encrypted file is what says that nothing was cut off.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ArchiveError::Broken)?;
    Ok(manifest)
}

fn extract_all(archive: &mut Archive<impl Read>, into: &Path, names: &[&str]) -> Result<Manifest> {
    let missing = || ArchiveError::Broken(io::ErrorKind::UnexpectedEof.into());
    let mut entries = archive.entries().map_err(ArchiveError::Broken)?.map(|entry| entry.map_err(ArchiveError::Broken));
    let manifest = read_manifest(entries.next().ok_or_else(missing)??)?;
    if !manifest.parts.iter().map(|part| part.name.as_str()).eq(names.iter().copied()) {
        return Err(ArchiveError::Wrong("its manifest does not name the databases".into()));
    }
    for part in &manifest.parts {
        extract_part(entries.next().ok_or_else(missing)??, part, into)?;
    }
    match entries.next() {
        None => Ok(manifest),
        Some(_) => Err(ArchiveError::Wrong("it holds more than its manifest says".into())),
    }
}

fn read_manifest(entry: Entry<'_, impl Read>) -> Result<Manifest> {
    expect(&entry, MANIFEST)?;
    let mut text = Vec::new();
    entry.take(MANIFEST_BYTES).read_to_end(&mut text).map_err(ArchiveError::Broken)?;
    // A newer manifest may have members that this version does not know.
    let format: Format = serde_json::from_slice(&text).map_err(|error| wrong_manifest(&error))?;
    if format.format != FORMAT {
        return Err(ArchiveError::Newer(format.format));
    }
    serde_json::from_slice(&text).map_err(|error| wrong_manifest(&error))
}

#[derive(serde::Deserialize)]
struct Format {
    format: u32,
}

fn wrong_manifest(error: &serde_json::Error) -> ArchiveError {
    ArchiveError::Wrong(format!("its manifest cannot be read: {error}"))
}

/// SECURITY: an archive names only what is expected; nothing is written to a place that it chooses.
fn expect(entry: &Entry<'_, impl Read>, name: &str) -> Result<()> {
    let file = entry.header().entry_type() == EntryType::Regular;
    if file && *entry.path_bytes() == *name.as_bytes() {
        return Ok(());
    }
    Err(ArchiveError::Wrong(format!("`{name}` is not where it belongs")))
}

fn extract_part(mut entry: Entry<'_, impl Read>, part: &Part, into: &Path) -> Result<()> {
    expect(&entry, &part.name)?;
    let path = into.join(&part.name);
    let failed = |error| ArchiveError::File(path.clone(), error);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    let mut out = Hashing::new(file);
    let bytes = io::copy(&mut entry, &mut out).map_err(ArchiveError::Broken)?;
    out.inner.sync_all().map_err(failed)?;
    if bytes != part.bytes || out.end() != part.sha256 {
        return Err(ArchiveError::Wrong(format!("`{}` is not the one that its manifest names", part.name)));
    }
    Ok(())
}

/// Counts what passes into a SHA-256.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    fn end(self) -> String {
        hex::encode(self.hash.finalize())
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hash.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}
