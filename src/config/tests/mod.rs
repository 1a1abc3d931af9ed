//! Whole files, right and wrong.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::load::load;
use super::{Config, ConfigErrors, Environment, Sources};

mod documents;
mod peers;
mod precedence;
mod recipes;
mod shipped;
mod sinks;
mod wrong;

/// Sources whose file holds `text`, and the folder that keeps it.
fn sources(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.yaml");
    std::fs::write(&file, text).expect("written");
    (folder, Sources::of_file(file))
}

/// Knows addresses and a few names without asking the network.
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: &[&str] = match host {
        "erp.internal" => &["192.0.2.10", "192.0.2.11"],
        "metadata.internal" => &["169.254.169.254"],
        "empty.internal" => &[],
        address => &[address],
    };
    let parse = |address: &&str| address.parse().map(|ip| SocketAddr::new(ip, port)).map_err(io::Error::other);
    addresses.iter().map(parse).collect()
}

fn read(text: &str) -> Result<Config, ConfigErrors> {
    let (_folder, sources) = sources(text);
    load(&sources, resolve)
}

/// The whole report with the file's name shortened.
fn report(text: &str) -> String {
    let (folder, sources) = sources(text);
    let errors = load(&sources, resolve).expect_err("something is wrong");
    errors.to_string().replace(&format!("{}/", folder.path().display()), "")
}

fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

fn setting<'a>(config: &'a Config, key: &str) -> (&'a str, String) {
    let setting = config.origins().iter().find(|setting| setting.key == key).expect(key);
    (&setting.value, setting.origin.to_string())
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}
