use proptest::prelude::*;

use super::*;

fn pointer(text: &str) -> MaskPointer {
    text.parse().expect("a pointer")
}

fn masked(document: &str, pointers: &[&str]) -> Result<String, NotMasked> {
    let pointers: Vec<MaskPointer> = pointers.iter().map(|text| pointer(text)).collect();
    let masks: Vec<Masked<'_>> = pointers.iter().map(|at| Masked { at, with: "\"***\"" }).collect();
    mask_json(document.as_bytes(), &masks, 10_000).map(|bytes| String::from_utf8(bytes).expect("text"))
}

#[test]
fn only_the_values_at_the_places_change() {
    for (document, pointers, expected) in [
        (r#"{"a":1,"b":2}"#, ["/a", "/x"], r#"{"a":"***","b":2}"#),
        (
            r#" { "a" : { "b" : [ 1 , 2 ] } , "c" : 1.50 } "#,
            ["/a/b", "/c/d"],
            r#" { "a" : { "b" : "***" } , "c" : 1.50 } "#,
        ),
        (r#"{"l":[{"c":1,"d":2},{"c":3}],"c":4}"#, ["/l/*/c", "/z"], r#"{"l":[{"c":"***","d":2},{"c":"***"}],"c":4}"#),
        (r#"[{"a":1},{"a":[2]}]"#, ["/*/a", "/0"], r#"["***",{"a":"***"}]"#),
        (r#"{"l":[1,2,3]}"#, ["/l/1", "/l/01"], r#"{"l":[1,"***",3]}"#),
        (r#"{"l":{"1":1,"01":2}}"#, ["/l/1", "/m"], r#"{"l":{"1":"***","01":2}}"#),
        (r#"{"a/b":1,"~":2,"":3}"#, ["/a~1b", "/~0"], r#"{"a/b":"***","~":"***","":3}"#),
        (r#"{"":{"":3}}"#, ["//", "/x"], r#"{"":{"":"***"}}"#),
        (r#"{"a":null,"b":"x"}"#, ["/a", "/b"], r#"{"a":"***","b":"***"}"#),
        (r#"{"a":{"b":1},"c":{"b":2}}"#, ["/*/b", "/a"], r#"{"a":"***","c":{"b":"***"}}"#),
        (r#"{"A":1,"a ":2}"#, ["/a", "/A/b"], r#"{"A":1,"a ":2}"#),
        (r#"{"n":1e400,"m":-0,"k":1.10}"#, ["/m", "/x"], r#"{"n":1e400,"m":"***","k":1.10}"#),
        ("1", ["/a", "/*"], "1"),
        ("[]", ["/a", "/*"], "[]"),
    ] {
        assert_eq!(masked(document, &pointers).as_deref(), Ok(expected), "{document} {pointers:?}");
    }
}

#[test]
fn each_value_of_a_repeated_key_is_masked_however_the_key_is_spelt() {
    let document = r#"{"bank":"one","x":{"bank":0},"b\u0061nk":"two","\u0062\u0061\u006e\u006b":["three"]}"#;
    let expected = r#"{"bank":"***","x":{"bank":0},"b\u0061nk":"***","\u0062\u0061\u006e\u006b":"***"}"#;
    assert_eq!(masked(document, &["/bank"]).as_deref(), Ok(expected));
}

#[test]
fn where_two_masks_meet_the_outer_one_and_then_the_first_counts() {
    let (outer, inner, same) = (pointer("/a"), pointer("/a/b"), pointer("/*"));
    let masks = [Masked { at: &inner, with: "1" }, Masked { at: &outer, with: "2" }, Masked { at: &same, with: "3" }];
    assert_eq!(mask_json(br#"{"a":{"b":0},"c":0}"#, &masks, 100).as_deref(), Ok(&br#"{"a":2,"c":3}"#[..]));
}

#[test]
fn what_is_not_exactly_one_json_document_is_refused() {
    for document in [
        "",
        " ",
        "{",
        r#"{"a":1"#,
        r#"{"a":1}{"a":2}"#,
        r#"{"a":1} x"#,
        "{'a':1}",
        r#"{"a":01}"#,
        r#"{"a":NaN}"#,
        "\u{feff}{}",
        "{\"a\":\"\n\"}",
        r#"{"a":1,}"#,
        r#"{"a":tru}"#,
        r#"{"a":"\x"}"#,
        "{\"a\":1}\0",
        "[1,[2]",
        "a",
    ] {
        assert_eq!(masked(document, &["/a", "/*"]), Err(NotMasked::NotJson), "{document:?}");
    }
    let at = pointer("/a");
    let masks = [Masked { at: &at, with: "null" }];
    for bytes in [&b"{\"b\":\"\xff\"}"[..], b"\xff\xfe{\0}\0", b"{\"b\xc3\":1}"] {
        assert_eq!(mask_json(bytes, &masks, 100), Err(NotMasked::NotJson));
    }
}

#[test]
fn a_mask_that_makes_the_document_too_long_refuses_it() {
    let at = pointer("/*");
    let masks = [Masked { at: &at, with: "\"0123456789\"" }];
    let document = format!("[{}1]", "1,".repeat(999));
    assert_eq!(mask_json(document.as_bytes(), &masks, 12_000), Err(NotMasked::TooLong));
    let masked = mask_json(document.as_bytes(), &masks, 13_001).expect("it fits");
    assert_eq!((masked.len(), masked.capacity()), (13_001, 13_001), "no more room than was allowed");
    assert_eq!(mask_json(document.as_bytes(), &masks, 13_000), Err(NotMasked::TooLong));
}

#[test]
fn deep_nesting_beside_the_places_passes_without_overflowing() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let document = format!(r#"{{"a":{deep},"b":{deep}}}"#);
    let masked = {
        let at = pointer("/a");
        mask_json(document.as_bytes(), &[Masked { at: &at, with: "null" }], 1_000_000)
    };
    assert_eq!(masked, Ok(format!(r#"{{"a":null,"b":{deep}}}"#).into_bytes()));
}

/// JSON as it may be written: spaces, repeated keys, keys with escapes.
#[derive(Debug, Clone)]
enum Written {
    Scalar(String),
    List(Vec<Written>),
    /// Key, whether it is written in escapes, value.
    Object(Vec<(String, bool, Written)>),
}

impl Written {
    /// The text, with `mask` in place of the values at the places; an oracle of its own.
    fn render(&self, places: &[Vec<&str>], mask: Option<&str>, space: &str) -> String {
        let inner = |key: &str, value: &Self| {
            let fitting: Vec<Vec<&str>> = places
                .iter()
                .filter(|place| place.first().is_some_and(|segment| *segment == "*" || *segment == key))
                .map(|place| place.iter().skip(1).copied().collect())
                .collect();
            match mask {
                Some(mask) if fitting.iter().any(Vec::is_empty) => mask.to_owned(),
                _ => value.render(&fitting, mask, space),
            }
        };
        match self {
            Self::Scalar(text) => text.clone(),
            Self::List(items) => {
                let items = items.iter().enumerate().map(|(index, item)| inner(&index.to_string(), item));
                format!("[{space}{}{space}]", items.collect::<Vec<_>>().join(&format!("{space},{space}")))
            }
            Self::Object(members) => {
                let members = members.iter().map(|(key, escaped, value)| {
                    let units = || key.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<Vec<_>>().concat();
                    let written = if *escaped { format!("\"{}\"", units()) } else { format!("\"{key}\"") };
                    format!("{written}{space}:{space}{}", inner(key, value))
                });
                format!("{{{space}{}{space}}}", members.collect::<Vec<_>>().join(&format!("{space},{space}")))
            }
        }
    }
}

fn written() -> impl Strategy<Value = Written> {
    let scalar = prop_oneof![
        "secret-[a-z]{4}".prop_map(|text| format!("\"{text}\"")),
        "-?[1-9][0-9]{0,25}(\\.[0-9]{1,4})?([eE][+-]?[0-9])?",
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just(r#""\ud83d\ude00 \" \\ \/""#.to_owned()),
    ];
    scalar.prop_map(Written::Scalar).prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Written::List),
            prop::collection::vec(("[abc01]{0,1}", any::<bool>(), inner), 0..6).prop_map(Written::Object),
        ]
    })
}

fn place() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "0", "1", "*", ""]), 1..5)
}

proptest! {
    #[test]
    fn the_masked_document_is_the_one_that_was_written_with_masks(
        document in written(),
        places in prop::collection::vec(place(), 1..5),
        space in "[ \n\t\r]{0,2}",
    ) {
        let pointers: Vec<MaskPointer> = places.iter().map(|place| pointer(&format!("/{}", place.join("/")))).collect();
        let masks: Vec<Masked<'_>> = pointers.iter().map(|at| Masked { at, with: "\"***\"" }).collect();
        let text = document.render(&[], None, &space);
        let expected = document.render(&places, Some("\"***\""), &space);
        let masked = mask_json(text.as_bytes(), &masks, 100_000);
        prop_assert_eq!(masked.map(|bytes| String::from_utf8(bytes).expect("text")), Ok(expected), "{} {:?}", text, places);
    }

    #[test]
    fn no_bytes_make_masking_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let at = pointer("/*/a");
        let _ = mask_json(&bytes, &[Masked { at: &at, with: "null" }], 100);
    }

    #[test]
    fn what_serde_json_does_not_read_is_not_masked(text in "[\\[\\]{}\",:0-9a-e\\\\. -]{0,24}") {
        let at = pointer("/a/b");
        let read = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        let masked = mask_json(text.as_bytes(), &[Masked { at: &at, with: "null" }], 100).is_ok();
        prop_assert!(masked || !read, "{}", text);
        // What is skipped is not rounded, so numbers that no double holds pass.
        prop_assert!(!masked || serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
    }
}
