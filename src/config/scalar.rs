//! Durations, sizes and the other small texts of a configuration, read and shown.

use std::time::Duration;

use super::decode::Wrong;
use super::tree::{Node, Value};

/// Units of time, largest first, in milliseconds.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of size, largest first, in bytes.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `10s`, `5m`, `50ms`: one number, one unit.
pub(super) fn duration(node: &Node) -> Result<Duration, Wrong> {
    measured(node, &TIMES).map(Duration::from_millis).ok_or_else(|| {
        Wrong::new("is not a duration").with_help("write a number and a unit: `50ms`, `10s`, `5m`, `24h`")
    })
}

/// The shortest way to write it.
pub(super) fn show_duration(duration: Duration) -> String {
    show_measured(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIMES, "0s")
}

/// `64KiB`, `500B`: one number, one unit. `0` needs none.
pub(super) fn size(node: &Node) -> Result<u64, Wrong> {
    measured(node, &SIZES)
        .ok_or_else(|| Wrong::new("is not a size").with_help("write a number and a unit: `500B`, `64KiB`, `256MiB`"))
}

/// The shortest way to write it.
pub(super) fn show_size(bytes: u64) -> String {
    show_measured(bytes, &SIZES, "0")
}

/// A number that is not negative and has no fraction.
pub(super) fn whole(node: &Node) -> Result<u64, Wrong> {
    let number = match &node.value {
        Value::Number(number) => number.as_u64(),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
    };
    number.ok_or_else(|| Wrong::new(format!("is not a whole number but {}", node.value.kind())))
}

/// `true` or `false` and nothing else.
pub(super) fn switch(node: &Node) -> Result<bool, Wrong> {
    match &node.value {
        Value::Bool(value) => Ok(*value),
        Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            Err(Wrong::new("is neither `true` nor `false`"))
        }
    }
}

/// A text that is not empty.
pub(super) fn text(node: &Node) -> Result<&str, Wrong> {
    match &node.value {
        Value::Text(text) if text.is_empty() => Err(Wrong::new("is empty")),
        Value::Text(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Err(Wrong::new(format!("is not a text but {}", node.value.kind()))
            .with_help("put it in quotation marks if you mean the text")),
        Value::Null => Err(Wrong::new("has no value").with_help("give it one, or remove the line for the default")),
        Value::List(_) | Value::Map(_) => Err(Wrong::new(format!("is not a text but {}", node.value.kind()))),
    }
}

/// `text` in quotation marks, as YAML and JSON write it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn measured(node: &Node, units: &[(&str, u64)]) -> Option<u64> {
    let text = match &node.value {
        Value::Text(text) => text,
        Value::Number(number) => return number.as_u64().filter(|zero| *zero == 0),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => return None,
    };
    let digits = text.find(|part: char| !part.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show_measured(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    let exact = units.iter().find(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor));
    exact.map_or_else(|| zero.to_owned(), |(name, factor)| format!("{}{name}", amount / factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::texts::Place;

    fn node(value: Value) -> Node {
        Node { value, place: Place::start_of(0) }
    }

    fn text_node(text: &str) -> Node {
        node(Value::Text(text.to_owned()))
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, seconds) in [("10s", 10), ("5m", 300), ("24h", 86_400), ("2d", 172_800), ("1500ms", 1)] {
            assert_eq!(duration(&text_node(text)).expect(text).as_secs(), seconds);
        }
        assert_eq!(duration(&node(Value::Number(0.into()))).expect("zero"), Duration::ZERO);
    }

    #[test]
    fn anything_else_is_not_a_duration() {
        for text in [
            "",
            "s",
            "10",
            "10 s",
            "-1s",
            "1.5s",
            "1h30m",
            "10S",
            "10sec",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert!(duration(&text_node(text)).is_err(), "{text}");
        }
        assert!(duration(&node(Value::Number(10.into()))).is_err());
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, bytes) in [("500B", 500), ("64KiB", 65_536), ("1MiB", 1_048_576), ("2GiB", 2_147_483_648)] {
            assert_eq!(size(&text_node(text)).expect(text), bytes);
        }
        for text in ["64KB", "64k", "1e3B", "0x10B", "99999999999GiB"] {
            assert!(size(&text_node(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_values_read_back_as_the_same() {
        for millis in [0, 1, 50, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000, 172_800_000] {
            let shown = show_duration(Duration::from_millis(millis));
            assert_eq!(duration(&text_node(&shown)).expect(&shown), Duration::from_millis(millis));
        }
        for bytes in [1, 500, 1024, 1536, 1 << 20, 1 << 30, u64::MAX] {
            let shown = show_size(bytes);
            assert_eq!(size(&text_node(&shown)).expect(&shown), bytes);
        }
    }
}
