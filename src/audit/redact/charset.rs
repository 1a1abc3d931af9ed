//! Reads a body as text where that is possible.

/// How the head describes a body.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContentDescription<'a> {
    /// The value of `Content-Type`.
    pub content_type: Option<&'a str>,
    /// The value of `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
}

/// How the bytes of a text stand for characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// UTF-8, or UTF-16 where the bytes show it.
    Unicode,
    /// Two bytes a character, the less significant first unless a mark says otherwise.
    Utf16,
    /// Two bytes a character, the more significant first.
    Utf16BigEndian,
    /// One byte a character.
    Latin1,
}

/// What a head declares a body to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// Text, with control characters or without.
    Text(Charset),
    /// Nothing that tells: text if it reads like text.
    Nothing,
    /// Not text, or text that is compressed or in a charset that is not read here.
    Binary,
}

impl ContentDescription<'_> {
    pub(super) fn declared(&self) -> Declared {
        let encoding = self.content_encoding.unwrap_or_default().trim();
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
            return Declared::Binary;
        }
        let content_type = self.content_type.unwrap_or_default();
        let Some(charset) = charset_of(content_type) else { return Declared::Binary };
        let media_type = self.media_type();
        let family = media_type.split('/').next().unwrap_or_default();
        let binary = matches!(family, "image" | "audio" | "video" | "font" | "model") && !media_type.ends_with("+xml");
        if binary || BINARY.iter().any(|name| media_type.contains(name)) {
            Declared::Binary
        } else if matches!(family, "text" | "multipart") || TEXT.iter().any(|name| media_type.contains(name)) {
            Declared::Text(charset)
        } else if charset == Charset::Unicode {
            Declared::Nothing
        } else {
            Declared::Text(charset)
        }
    }

    /// The media type without parameters, in lower case.
    pub(super) fn media_type(&self) -> String {
        let content_type = self.content_type.unwrap_or_default();
        content_type.split([';', ',']).next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

const TEXT: [&str; 6] = ["json", "xml", "form-urlencoded", "yaml", "javascript", "graphql"];
const BINARY: [&str; 10] =
    ["octet-stream", "pdf", "zip", "protobuf", "grpc", "msgpack", "cbor", "officedocument", "pkcs", "compressed"];

/// The charset parameter; nothing when it names one that is not read here.
fn charset_of(content_type: &str) -> Option<Charset> {
    let lower = content_type.to_ascii_lowercase();
    let parameters = lower.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    let mut values = parameters.filter(|(name, _)| name.trim() == "charset");
    let Some((_, value)) = values.next() else { return Some(Charset::Unicode) };
    match value.trim().trim_matches(['"', '\'']) {
        "" | "utf-8" | "utf8" | "us-ascii" | "ascii" => Some(Charset::Unicode),
        "utf-16" | "utf16" | "utf-16le" | "ucs-2" => Some(Charset::Utf16),
        "utf-16be" => Some(Charset::Utf16BigEndian),
        "iso-8859-1" | "latin1" | "iso-8859-15" | "windows-1252" | "cp1252" => Some(Charset::Latin1),
        _ => None,
    }
}

/// The text that `bytes` stand for, a character that the end cuts left out; nothing when they are not text.
pub(super) fn text_of(bytes: &[u8], declared: Declared) -> Option<String> {
    let (charset, controls) = match declared {
        Declared::Binary => return None,
        Declared::Nothing => (Charset::Unicode, Controls::Refused),
        Declared::Text(charset) => (charset, Controls::Taken),
    };
    let text = match (bytes, charset) {
        ([0xff, 0xfe, rest @ ..], _) => utf16(rest, u16::from_le_bytes),
        ([0xfe, 0xff, rest @ ..], _) => utf16(rest, u16::from_be_bytes),
        // What is declared to be UTF-16 and is not would be read as signs that hide every name.
        (_, Charset::Utf16 | Charset::Utf16BigEndian) if !bytes.contains(&0) => utf8(bytes),
        (_, Charset::Utf16BigEndian) | ([0, 1..=0x7f, 0, 1..=0x7f, ..], _) => utf16(bytes, u16::from_be_bytes),
        (_, Charset::Utf16) | ([1..=0x7f, 0, 1..=0x7f, 0, ..], _) => utf16(bytes, u16::from_le_bytes),
        (_, Charset::Unicode) => utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)),
        (_, Charset::Latin1) => utf8(bytes).or_else(|| Some(bytes.iter().map(|byte| char::from(*byte)).collect())),
    }?;
    let binary = match controls {
        Controls::Taken => text.as_bytes().contains(&0),
        Controls::Refused => text.contains(|character: char| character == '\0' || steers(character)),
    };
    (!binary).then_some(text)
}

/// Whether control characters may stand in a text.
enum Controls {
    Taken,
    Refused,
}

fn steers(character: char) -> bool {
    character.is_control() && !character.is_whitespace()
}

fn utf8(bytes: &[u8]) -> Option<String> {
    match str::from_utf8(bytes) {
        Ok(text) => Some(text.to_owned()),
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(bytes.get(..error.valid_up_to())?).ok().map(ToOwned::to_owned)
        }
        Err(_) => None,
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let mut units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    units.pop_if(|last| (0xd800..0xdc00).contains(last));
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(content_type: &str) -> Declared {
        ContentDescription { content_type: Some(content_type), content_encoding: None }.declared()
    }

    #[test]
    fn a_type_that_is_not_text_is_binary() {
        for binary in ["image/png", "application/pdf", "application/octet-stream", "text/plain; charset=utf-7"] {
            assert_eq!(declared(binary), Declared::Binary, "{binary}");
        }
        for text in ["text/csv", "application/problem+json", "image/svg+xml", "multipart/mixed; boundary=x"] {
            assert_eq!(declared(text), Declared::Text(Charset::Unicode), "{text}");
        }
        assert_eq!(declared("application/vnd.acme"), Declared::Nothing);
    }

    #[test]
    fn a_compressed_body_is_binary() {
        let compressed = ContentDescription { content_type: Some("text/plain"), content_encoding: Some("br") };
        assert_eq!(compressed.declared(), Declared::Binary);
    }

    #[test]
    fn utf_16_is_read_with_a_mark_and_without() {
        let text = Declared::Text(Charset::Unicode);
        for bytes in [&b"\xff\xfe{\0a\0}\0"[..], b"\xfe\xff\0{\0a\0}", b"{\0a\0}\0", b"\0{\0a\0}"] {
            assert_eq!(text_of(bytes, text).as_deref(), Some("{a}"), "{bytes:?}");
        }
    }

    #[test]
    fn a_character_cut_by_the_end_is_left_out() {
        assert_eq!(text_of(b"a\xc3", Declared::Nothing).as_deref(), Some("a"));
        assert_eq!(text_of(b"a\xc3b", Declared::Nothing), None);
    }

    #[test]
    fn control_characters_make_undeclared_content_binary() {
        assert_eq!(text_of(b"\n\x05bob\x12", Declared::Nothing), None);
        assert!(text_of(b"a\x1b[2J", Declared::Text(Charset::Unicode)).is_some());
        assert_eq!(text_of(b"a\0b", Declared::Text(Charset::Unicode)), None);
    }
}
