//! Query parameters whose value a rule forces: every spelling that some server takes for one of them is taken out of
//! the query that was sent, and the forced value is put in, once.

use std::borrow::Cow;
use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// What stands for itself in a query (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The query that was sent, with these parameters forced.
pub(super) fn put(sent: Option<&str>, forced: &BTreeSet<(&str, &str)>) -> String {
    let is_forced = |name: &str| forced.iter().any(|(known, _)| is_spelling_of(name, known));
    let mut pieces: Vec<Cow<'_, str>> = Vec::new();
    for piece in sent.unwrap_or_default().split('&').filter(|piece| !piece.is_empty()) {
        let mut inner = piece.split(';').map(name_of);
        if inner.next().is_some_and(|name| is_forced(&name)) {
            continue;
        }
        // SECURITY: to some servers `;` separates parameters like `&`; as an escape it is part of the value to all.
        pieces.push(if inner.any(|name| is_forced(&name)) { piece.replace(';', "%3B").into() } else { piece.into() });
    }
    let escaped = |text| utf8_percent_encode(text, ESCAPED);
    pieces.extend(forced.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)).into()));
    pieces.join("&")
}

/// Whether a server may take `name` for `wanted`: capitals aside, as a list (`a[]`), cut at a NUL, with the spaces and
/// dots that PHP makes underscores of.
pub(super) fn is_spelling_of(name: &str, wanted: &str) -> bool {
    name == wanted || spelling(name).eq(spelling(wanted))
}

fn spelling(name: &str) -> impl Iterator<Item = char> {
    let name = name.split('\0').next().unwrap_or_default().trim();
    let list = name.char_indices().skip(1).find(|(_, character)| *character == '[').map(|(at, _)| at);
    let name = list.and_then(|at| name.get(..at)).unwrap_or(name);
    let folded = name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    folded.map(|character| if matches!(character, '.' | ' ') { '_' } else { character })
}

/// The name of a parameter as it is sent, decoded.
fn name_of(piece: &str) -> String {
    let name = piece.split('=').next().unwrap_or_default().replace('+', " ");
    percent_decode(name.as_bytes()).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forced(sent: &str) -> String {
        put(Some(sent), &BTreeSet::from([("company", "7")]))
    }

    #[test]
    fn a_forced_parameter_is_added_or_takes_the_place_of_all_that_were_sent() {
        assert_eq!(put(None, &BTreeSet::from([("company", "7")])), "company=7");
        assert_eq!(forced(""), "company=7");
        assert_eq!(forced("a=1&b=%20x+y&c"), "a=1&b=%20x+y&c&company=7");
        assert_eq!(forced("company=8&a=1&company=9&company"), "a=1&company=7");
        assert_eq!(forced("companyx=8&xcompany=9&a=company"), "companyx=8&xcompany=9&a=company&company=7");
    }

    #[test]
    fn spellings_that_some_servers_take_for_it_are_taken_out() {
        for sent in [
            "Company=8",
            "COMPANY=8",
            "%63ompany=8",
            "comp%61ny=8",
            "company[]=8",
            "company%5B%5D=8",
            "company[0]=8",
            "+company=8",
            "%20company=8",
            "company%00x=8",
            "company+=8",
            "&&company=8",
            "company=8;a=1",
        ] {
            assert_eq!(forced(sent), "company=7", "{sent}");
        }
        let with_underscore = put(Some("company.id=8&company+id=9"), &BTreeSet::from([("company_id", "7")]));
        assert_eq!(with_underscore, "company_id=7");
    }

    #[test]
    fn a_semicolon_that_would_bring_it_in_becomes_part_of_the_value() {
        assert_eq!(forced("a=1;company=8&b=2;c=3"), "a=1%3Bcompany=8&b=2;c=3&company=7");
    }

    #[test]
    fn names_and_values_are_escaped() {
        let forced = put(Some("a=1"), &BTreeSet::from([("$filter", "Company eq '7' & x=1#é")]));
        assert_eq!(forced, "a=1&%24filter=Company%20eq%20%277%27%20%26%20x%3D1%23%C3%A9");
    }

    proptest! {
        #[test]
        fn a_reader_of_any_kind_finds_the_forced_value_only(sent in "[a-cA-C%20-9=&;+\\[\\].]{0,40}") {
            let put = put(Some(&sent), &BTreeSet::from([("ab", "7")]));
            for separators in [&['&'][..], &['&', ';']] {
                let found: Vec<(String, &str)> = put
                    .split(separators)
                    .map(|piece| (name_of(piece), piece.split_once('=').map_or("", |(_, value)| value)))
                    .filter(|(name, _)| is_spelling_of(name, "ab"))
                    .collect();
                prop_assert_eq!(&found, &vec![("ab".to_owned(), "7")], "{} became {}", sent, put);
            }
        }
    }
}
