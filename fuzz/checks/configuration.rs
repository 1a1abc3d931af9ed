//! The configuration, and the session recipes in it.

use std::cell::OnceCell;
use std::path::PathBuf;

use erp_access::config::{Config, Sources};

/// Any file is refused, with reasons that do not steer a terminal, or read.
pub(crate) fn configuration(input: &[u8]) {
    read(input);
}

/// The same for what stands under `session:`.
pub(crate) fn recipe(input: &[u8]) {
    let mut text = b"gateway:\n  listen: [\"127.0.0.1:0\"]\nstore:\n  directory: data\napp_key:\n  file: app.key\nupstreams:\n  erp:\n    peers: [\"127.0.0.1:1\"]\n    session:\n".to_vec();
    for line in input.split(|byte| *byte == b'\n') {
        text.extend_from_slice(b"      ");
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    read(&text);
}

fn read(text: &[u8]) {
    thread_local! {
        static FILE: OnceCell<PathBuf> = const { OnceCell::new() };
    }
    let file = FILE.with(|file| file.get_or_init(new_file).clone());
    std::fs::write(&file, text).expect("written");
    if let Err(errors) = Config::load(&Sources::of_file(file)) {
        assert!(!errors.problems().is_empty());
        let steers = |character: char| character.is_control() && character != '\n';
        assert!(!errors.to_string().contains(steers), "{errors}");
    }
}

fn new_file() -> PathBuf {
    let thread =
        format!("{:?}", std::thread::current().id()).replace(|character: char| !character.is_ascii_digit(), "");
    let folder = std::env::temp_dir().join(format!("erp-access-fuzz-{}-{thread}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join("erp-access.yaml")
}
