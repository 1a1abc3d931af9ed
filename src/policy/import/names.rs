//! Names that a document gives, as names that we take.

/// Longest id, in bytes, with room for a number behind it.
const LONGEST: usize = 60;

/// The path of a document as a template of ours: parameters in lower case, no slash at the end.
pub(super) fn template(path: &str) -> Result<String, String> {
    let path = path.strip_prefix('/').ok_or("its path does not begin with `/`")?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut taken = Vec::new();
    let segments: Result<Vec<_>, String> = path.split('/').map(|segment| self::segment(segment, &mut taken)).collect();
    Ok(format!("/{}", segments?.join("/")))
}

fn segment(segment: &str, taken: &mut Vec<String>) -> Result<String, String> {
    let inside = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match inside {
        Some(name) if !name.contains(['{', '}', '*', '+', ':']) => {
            let wanted = parameter(name);
            let name = unique(&wanted, |name| taken.iter().any(|known| known == name));
            taken.push(name.clone());
            Ok(format!("{{{name}}}"))
        }
        Some(_) => Err(format!("`{segment}` is no plain parameter; a parameter takes one whole segment")),
        None if segment.contains(['{', '}']) => Err(format!("in `{segment}` the parameter is not a whole segment")),
        None => Ok(segment.to_owned()),
    }
}

/// The name of a parameter in `a-z 0-9 _`.
fn parameter(name: &str) -> String {
    let name = words(name, '_').replace(['-', '.'], "_");
    let name = name.trim_matches('_');
    if name.is_empty() { "value".to_owned() } else { name.to_owned() }
}

/// The id of an endpoint: what the document calls the operation, else method and path.
pub(super) fn id(operation_id: Option<&str>, method: &str, path: &str) -> String {
    let given = operation_id.map(|given| words(given, '-')).map(|given| cut(&given)).filter(|given| !given.is_empty());
    given.unwrap_or_else(|| {
        let from_path = words(path, '-');
        cut(&format!("{}-{}", method.to_ascii_lowercase(), from_path.trim_start_matches('-')))
    })
}

/// A name that is not taken, with a number behind it where needed.
pub(super) fn unique(wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(wanted) {
        return wanted.to_owned();
    }
    let separator = if wanted.contains('_') || !wanted.contains('-') { '_' } else { '-' };
    let mut numbered = (2_u32..).map(|number| format!("{wanted}{separator}{number}"));
    numbered.find(|name| !is_taken(name)).unwrap_or_else(|| wanted.to_owned())
}

/// Words in lower case: `listPets`, `List pets` and `list-pets` are the same.
fn words(text: &str, separator: char) -> String {
    let mut slug = String::with_capacity(text.len());
    let mut after_lower = false;
    for character in text.chars() {
        if character.is_ascii_uppercase() && after_lower {
            slug.push(separator);
        }
        after_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' => slug.push(character.to_ascii_lowercase()),
            '.' | '_' | '-' => slug.push(character),
            _ if slug.ends_with(separator) || slug.is_empty() => {}
            _ => slug.push(separator),
        }
    }
    slug
}

fn cut(slug: &str) -> String {
    let slug = slug.trim_matches(['.', '_', '-']);
    slug.chars().take(LONGEST).collect::<String>().trim_end_matches(['.', '_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EndpointId;

    #[test]
    fn an_id_is_a_slug_whatever_the_document_calls_the_operation() {
        for (given, wanted) in [
            (Some("listPets"), "list-pets"),
            (Some("Orders.Read_All"), "orders.read_all"),
            (Some("get /pets (all)"), "get-pets-all"),
            (Some("APIv2Get"), "apiv2-get"),
            (Some("  "), "get-pets-pet_id"),
            (Some("日本"), "get-pets-pet_id"),
            (None, "get-pets-pet_id"),
        ] {
            let id = id(given, "GET", "/pets/{pet_id}");
            assert_eq!(id, wanted);
            assert!(id.parse::<EndpointId>().is_ok(), "{id}");
        }
        assert!(id(Some(&"long".repeat(100)), "GET", "/").parse::<EndpointId>().is_ok());
    }

    #[test]
    fn parameters_are_renamed_and_stay_apart() {
        assert_eq!(template("/pets/{petId}/{pet-id}/{PetID}/"), Ok("/pets/{pet_id}/{pet_id_2}/{pet_id_3}".into()));
        assert_eq!(template("/a/{日}"), Ok("/a/{value}".into()));
        for wrong in ["pets", "/a/{id}.json", "/a/{id:.*}", "/a/{path+}", "/a/{b}{c}", "/a/{b", "/a/{*b}"] {
            assert!(template(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let taken = ["list-pets", "list-pets-2"];
        assert_eq!(unique("list-pets", |name| taken.contains(&name)), "list-pets-3");
    }
}
