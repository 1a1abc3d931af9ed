use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// What stands at `pointer` in `body`.
fn at<'d>(body: &'d [u8], pointer: &str) -> Result<Held<'d>, JsonRefused> {
    let mut pointers = PointerSet::default();
    let slot = pointers.add(&pointer.parse().expect("a pointer"));
    match read_json(body, &pointers, 0)? {
        Document::Object(found) => Ok(found.at(slot).clone()),
        Document::List(_) => panic!("no list was asked for"),
    }
}

fn refused(body: &[u8]) -> Option<JsonRefused> {
    at(body, "/method").err()
}

#[test]
fn what_stands_at_a_place_keeps_its_type() {
    let body = br#"{"method":"a","params":[1,"1",true,null,1.5,[7],{"0":"zero"}],"a/b":{"~":"\u0061"}}"#;
    for (pointer, held) in [
        ("/method", Held::Text("a".into())),
        ("/params/0", Held::Whole(1)),
        ("/params/1", Held::Text("1".into())),
        ("/params/2", Held::Boolean(true)),
        ("/params/3", Held::Null),
        ("/params/4", Held::Other),
        ("/params/5", Held::Other),
        ("/params/5/0", Held::Whole(7)),
        ("/params/6/0", Held::Text("zero".into())),
        ("/params/00", Held::Absent),
        ("/params/7", Held::Absent),
        ("/params", Held::Other),
        ("/method/0", Held::Absent),
        ("/a~1b/~0", Held::Text("a".into())),
    ] {
        assert_eq!(at(body, pointer), Ok(held), "{pointer}");
    }
}

#[test]
fn values_of_different_types_are_never_the_same() {
    assert!(Held::Text("1".into()).is(&JsonScalar::Text("1".into())));
    assert!(!Held::Text("1".into()).is(&JsonScalar::Whole(1)));
    assert!(!Held::Whole(1).is(&JsonScalar::Boolean(true)));
    assert!(!Held::Absent.is(&JsonScalar::Text(String::new())));
}

#[test]
fn what_two_parsers_read_differently_is_refused() {
    use JsonRefused::{DuplicateKey, LookalikeKey, NotAnObject, NotJson, Number};
    let cases: [(&[u8], JsonRefused); 35] = [
        (br#"{"method":"a","method":"b"}"#, DuplicateKey),
        (br#"{"x":{"a":1,"\u0061":2}}"#, DuplicateKey),
        (br#"{"x":[[{"y":{"a":1,"b":2,"a":3}}]]}"#, DuplicateKey),
        (br#"{"method":"a","Method":"b"}"#, LookalikeKey),
        (br#"{"METHOD":"b"}"#, LookalikeKey),
        (br#"{"method":"a","method\u0000x":"b"}"#, LookalikeKey),
        (br#"[{"method":"a"}]"#, NotAnObject),
        (b"null", NotAnObject),
        (b"\"text\"", NotAnObject),
        (b"1", NotAnObject),
        (br#"{"method":"a"}{"method":"b"}"#, NotJson),
        (br#"{"method":"a"} x"#, NotJson),
        (b"{\"method\":\"a\"}\0", NotJson),
        (b"\xef\xbb\xbf{}", NotJson),
        (b"\xff\xfe{\0}\0", NotJson),
        (b"{\"a\":\"\xff\"}", NotJson),
        (b"{\"a\":\"\xed\xa0\x80\"}", NotJson),
        (br#"{"a":"\ud800"}"#, NotJson),
        (br#"{"a":"\udc00\ud800"}"#, NotJson),
        (br#"{"\ud800":1}"#, NotJson),
        (b"{'a':1}", NotJson),
        (b"{a:1}", NotJson),
        (br#"{"a":1,}"#, NotJson),
        (b"{\"a\":/**/1}", NotJson),
        (b"{\"a\":NaN}", NotJson),
        (b"{\"a\":01}", NotJson),
        (b"{\"a\":+1}", NotJson),
        (b"{\"a\":1e400}", NotJson),
        (b"{\"a\":\"\n\"}", NotJson),
        (b"", NotJson),
        (br#"{"method":9007199254740992}"#, Number),
        (br#"{"method":18446744073709551616}"#, Number),
        (br#"{"method":1.0}"#, Number),
        (br#"{"method":1e2}"#, Number),
        (br#"{"method":-0}"#, Number),
    ];
    for (body, why) in cases {
        assert_eq!(refused(body), Some(why), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn letters_that_fold_to_a_wanted_key_look_alike() {
    // The long s and the Kelvin sign.
    assert_eq!(at("{\"pa\u{17f}s\":1}".as_bytes(), "/pass"), Err(JsonRefused::LookalikeKey));
    assert_eq!(at("{\"\u{212a}ind\":1}".as_bytes(), "/kind"), Err(JsonRefused::LookalikeKey));
    assert_eq!(at(br#"{"other":{"Method":1,"method":2}}"#, "/method"), Ok(Held::Absent), "not where it decides");
}

#[test]
fn numbers_that_do_not_decide_may_be_any_that_a_double_holds() {
    for number in ["9007199254740993", "1.0", "-0", "1e300", "18446744073709551616"] {
        let body = format!(r#"{{"method":"a","x":{number}}}"#);
        assert_eq!(refused(body.as_bytes()), None, "{number}");
    }
    assert_eq!(at(br#"{"method":9007199254740991}"#, "/method"), Ok(Held::Whole(LARGEST_WHOLE)));
}

#[test]
fn deep_nesting_is_refused_without_overflowing() {
    assert_eq!(refused(&vec![b'['; 100_000]), Some(JsonRefused::NotAnObject));
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(refused(nested(DEEPEST - 1).as_bytes()), None);
    assert_eq!(refused(nested(DEEPEST).as_bytes()), Some(JsonRefused::TooDeep));
    assert_eq!(refused(format!("{{\"a\":{}", "[".repeat(100_000)).as_bytes()), Some(JsonRefused::TooDeep));
    assert_eq!(refused("{\"a\":".repeat(100_000).as_bytes()), Some(JsonRefused::TooDeep));
}

#[test]
fn a_list_is_read_part_by_part() {
    let mut pointers = PointerSet::default();
    let slot = pointers.add(&"/method".parse().expect("a pointer"));
    let read = |body: &'static [u8]| read_json(body, &pointers, 2);
    let Ok(Document::List(parts)) = read(br#"[{"method":"a"},{"x":1}]"#) else { panic!("two parts") };
    assert_eq!(
        parts.iter().map(|part| part.at(slot).clone()).collect::<Vec<_>>(),
        [Held::Text("a".into()), Held::Absent]
    );
    assert_eq!(read(b"[]"), Err(JsonRefused::NotABatch));
    assert_eq!(read(b"[{},[]]"), Err(JsonRefused::NotABatch));
    assert_eq!(read(b"[{},null]"), Err(JsonRefused::NotABatch));
    assert_eq!(read(b"[{},{},{}]"), Err(JsonRefused::TooManyParts));
    assert_eq!(read(br#"[{"a":1},{"a":1,"a":2}]"#), Err(JsonRefused::DuplicateKey));
}

#[test]
fn a_pointer_is_read_as_the_standard_says() {
    for (text, why) in [
        ("", PointerRefused::NoSlash),
        ("method", PointerRefused::NoSlash),
        ("/a~2", PointerRefused::Escape),
        ("/a~", PointerRefused::Escape),
        ("/a/-", PointerRefused::BehindTheEnd),
    ] {
        assert_eq!(text.parse::<JsonPointer>(), Err(why), "{text}");
    }
    assert_eq!("/a".repeat(17).parse::<JsonPointer>(), Err(PointerRefused::TooDeep));
    assert!("/".parse::<JsonPointer>().is_ok(), "the key that is an empty text");
}

/// Any JSON, with keys that no parser confuses and numbers that all read alike.
fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-LARGEST_WHOLE..=LARGEST_WHOLE).prop_map(Value::from),
        (-1000_i32..1000).prop_map(|number| json!(f64::from(number) + 0.5)),
        ".{0,8}".prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 40, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z0-9~/\"\\\\]{0,3}", inner, 0..16)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-z]{1,3}", any_json(), 1..5)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
}

/// Every place in a document, and places beside them.
fn places(value: &Value, here: &str, all: &mut Vec<String>) {
    if here.matches('/').count() >= 16 {
        return;
    }
    match value {
        Value::Object(members) => {
            for (key, inner) in members {
                let place = format!("{here}/{}", key.replace('~', "~0").replace('/', "~1"));
                places(inner, &place, all);
                all.push(place);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                let place = format!("{here}/{index}");
                places(inner, &place, all);
                all.push(place);
            }
            all.push(format!("{here}/{}", items.len()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => all.push(format!("{here}/0")),
    }
}

fn held_of(value: Option<&Value>) -> Held<'_> {
    match value {
        None => Held::Absent,
        Some(Value::Null) => Held::Null,
        Some(Value::Bool(value)) => Held::Boolean(*value),
        Some(Value::String(text)) => Held::Text(text.into()),
        Some(Value::Number(number)) => number.as_i64().map_or(Held::Other, Held::Whole),
        Some(Value::Array(_) | Value::Object(_)) => Held::Other,
    }
}

/// The document as text, with one member of its `chosen`th object written a second time, in another spelling.
fn with_duplicate(value: &Value, chosen: &mut usize) -> String {
    match value {
        Value::Object(members) => {
            let repeats = !members.is_empty() && {
                let now = *chosen == 0;
                *chosen = chosen.wrapping_sub(1);
                now
            };
            let mut written: Vec<String> = members
                .iter()
                .map(|(key, inner)| format!("{}:{}", Value::from(key.as_str()), with_duplicate(inner, chosen)))
                .collect();
            if repeats {
                let key = members.keys().next().expect("one");
                let escaped: Vec<String> = key.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
                written.push(format!("\"{}\":null", escaped.concat()));
            }
            format!("{{{}}}", written.join(","))
        }
        Value::Array(items) => {
            let written: Vec<String> = items.iter().map(|item| with_duplicate(item, chosen)).collect();
            format!("[{}]", written.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn objects(value: &Value) -> usize {
    match value {
        Value::Object(members) => usize::from(!members.is_empty()) + members.values().map(objects).sum::<usize>(),
        Value::Array(items) => items.iter().map(objects).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

proptest! {
    #[test]
    fn the_reader_agrees_with_a_pointer_look_up_in_the_tree(document in any_object()) {
        let mut all = Vec::new();
        places(&document, "", &mut all);
        let mut pointers = PointerSet::default();
        let asked: Vec<_> = all.iter().map(|place| (place, pointers.add(&place.parse().expect("a pointer")))).collect();
        let text = document.to_string();
        let Document::Object(found) = read_json(text.as_bytes(), &pointers, 0).expect("one meaning") else {
            panic!("an object")
        };
        for (place, slot) in asked {
            prop_assert_eq!(found.at(slot), &held_of(document.pointer(place)), "{} in {}", place, text);
        }
    }

    #[test]
    fn a_repeated_key_is_refused_wherever_it_stands(document in any_object(), seed in any::<usize>()) {
        let mut chosen = seed % objects(&document);
        let text = with_duplicate(&document, &mut chosen);
        prop_assert_eq!(read_json(text.as_bytes(), &PointerSet::default(), 0), Err(JsonRefused::DuplicateKey), "{}", text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = read_json(&bytes, &PointerSet::default(), 3);
    }
}
