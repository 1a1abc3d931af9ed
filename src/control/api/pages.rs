//! Lists in pages: by the place after the last item of the page before, so that nothing is skipped or shown twice when
//! the list changes meanwhile.

use serde_json::{Value, json};

use super::super::audit::USUAL_ROWS;
use super::super::{ControlError, Result};
use super::answers::Shape;

/// Items on a page, where the caller does not say.
const USUAL: usize = 100;
/// Items on a page at most.
pub(super) const MOST: usize = 1000;

/// Which page.
#[derive(Debug)]
pub(super) struct Page {
    after: Option<String>,
    limit: usize,
}

impl Page {
    /// Takes `limit` and `after` out of a query.
    pub(super) fn taken_from(query: &mut Vec<(String, String)>) -> Result<Self> {
        let mut take = |wanted: &str| {
            let place = query.iter().position(|(name, _)| name == wanted)?;
            Some(query.remove(place).1)
        };
        let limit = match take("limit").map(|text| text.parse::<usize>()) {
            None => USUAL,
            Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
            Some(_) => return Err(ControlError::invalid(format!("`limit` must be a number from 1 to {MOST}"))),
        };
        Ok(Self { after: take("after"), limit })
    }

    /// The page that a search gives: it has `last` and `before` of its own.
    pub(super) fn newest(query: &[(String, String)]) -> Self {
        let last = query.iter().find(|(name, _)| name == "last").and_then(|(_, text)| text.parse().ok());
        Self { after: None, limit: last.filter(|last| *last > 0).unwrap_or(USUAL_ROWS) }
    }

    /// The page of this list.
    pub(super) fn of(&self, list: Vec<Value>, shape: Shape) -> Value {
        let by = match shape {
            Shape::Pages(by) => by,
            Shape::Newest | Shape::Whole | Shape::One => {
                let full = list.len() >= self.limit;
                let next = list.last().filter(|_| full).and_then(|row| row["seq"].as_i64()).map(|seq| seq.to_string());
                return json!({ "items": list, "next": next });
            }
        };
        let mut keyed: Vec<(String, Value)> = list.into_iter().map(|item| (key(&item, by), item)).collect();
        keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let begin = match &self.after {
            Some(after) => keyed.partition_point(|(key, _)| key <= after),
            None => 0,
        };
        let mut rest = keyed.into_iter().skip(begin);
        let page: Vec<(String, Value)> = rest.by_ref().take(self.limit).collect();
        let next = rest.next().and_then(|_| page.last().map(|(key, _)| key.clone()));
        let items: Vec<Value> = page.into_iter().map(|(_, item)| item).collect();
        json!({ "items": items, "next": next })
    }
}

/// Names and ids hold no space, so the key has one meaning.
fn key(item: &Value, by: &[&str]) -> String {
    by.iter().map(|name| item[*name].as_str().unwrap_or_default()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<Value> {
        names.iter().map(|name| json!({ "name": name })).collect()
    }

    fn page(limit: &str, after: Option<&str>) -> Page {
        let mut query = vec![("limit".to_owned(), limit.to_owned())];
        query.extend(after.map(|after| ("after".to_owned(), after.to_owned())));
        Page::taken_from(&mut query).expect("a page")
    }

    #[test]
    fn nothing_is_skipped_or_shown_twice_when_the_list_changes_between_two_pages() {
        let shape = Shape::Pages(&["name"]);
        let first = page("2", None).of(list(&["d", "a", "c"]), shape);
        assert_eq!(first, json!({ "items": [{ "name": "a" }, { "name": "c" }], "next": "c" }));
        // `c` is gone, `b` and `e` are new.
        let second = page("2", Some("c")).of(list(&["a", "b", "d", "e"]), shape);
        assert_eq!(second, json!({ "items": [{ "name": "d" }, { "name": "e" }], "next": null }));
    }

    #[test]
    fn a_limit_that_is_none_is_refused() {
        for text in ["0", "1001", "-1", "many", ""] {
            let mut query = vec![("limit".to_owned(), text.to_owned())];
            assert!(Page::taken_from(&mut query).is_err(), "{text}");
        }
    }
}
