use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use proptest::prelude::*;

use super::kinds::{Group, Variable};
use super::*;
use crate::directory::CredentialKind;
use crate::domain::{AccountId, CanonicalPath, CredentialId, Labels};
use crate::policy::facts::Requester;

/// A request about which everything is known.
struct Scene {
    query: Option<&'static str>,
    headers: HeaderMap,
    labels: Labels,
    client: Option<&'static str>,
    now: &'static str,
}

impl Default for Scene {
    fn default() -> Self {
        let labels = Labels::default().changed(&["tier=gold".parse().expect("a label")]).expect("few");
        Self { query: None, headers: HeaderMap::new(), labels, client: Some("192.0.2.7"), now: "2026-11-23T18:30:00Z" }
    }
}

impl Scene {
    fn query(query: &'static str) -> Self {
        Self { query: Some(query), ..Self::default() }
    }

    fn headers(headers: &[(&'static str, &'static [u8])]) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
        }
        Self { headers: map, ..Self::default() }
    }

    fn holds(&self, source: &str) -> Result<bool, String> {
        let path = CanonicalPath::parse(b"/v1/parties/5").expect("a path");
        let now: Timestamp = self.now.parse().expect("a time");
        let requester = Requester {
            account: "acme",
            account_id: AccountId::from_bytes([1; 16]),
            credential: "webshop",
            credential_id: CredentialId::from_bytes([2; 16]),
            kind: CredentialKind::Bounded,
            labels: &self.labels,
        };
        let facts = Facts {
            headers: Some(&self.headers),
            tls: Some(false),
            client: self.client.map(|address| address.parse().expect("an address")),
            requester: Some(requester),
            ..Facts::new("GET", &path, self.query, now)
        };
        compiled(source).holds(&facts, &[("id".into(), "5".into())])
    }
}

fn compiled(source: &str) -> Condition {
    Condition::compile(source).unwrap_or_else(|wrong| panic!("{source}: {wrong:?}"))
}

fn holds(source: &str) -> Result<bool, String> {
    Scene::default().holds(source)
}

/// What is wrong with an expression, one line each.
fn refused(source: &str) -> String {
    let wrong = Condition::compile(source).map(drop).expect_err(source);
    wrong.into_iter().map(|wrong| wrong.message).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_condition_sees_everything_that_is_known_of_a_request() {
    for source in [
        r#"request.method == "GET""#,
        r#"request.path == "/v1/parties/5""#,
        r#"request.params.id == "5" && request.params["id"] == "5""#,
        "size(request.query) == 0",
        "!request.tls",
        r#"client.ip.startsWith("192.0.2.")"#,
        r#"principal.account == "acme" && principal.credential == "webshop""#,
        "principal.account_id != principal.credential_id && size(principal.account_id) > 30",
        r#"principal.kind == "bounded""#,
        r#"principal.labels.tier == "gold" && principal.labels["region"] == null"#,
        r#"now > timestamp("2026-11-23T18:00:00Z") && now < timestamp("2026-11-24T00:00:00+05:00")"#,
    ] {
        assert_eq!(holds(source), Ok(true), "{source}");
    }
}

#[test]
fn a_query_parameter_that_was_not_sent_is_null() {
    let archived = r#"request.query["archived"] == "true""#;
    assert_eq!(holds(archived), Ok(false));
    assert_eq!(Scene::query("archived=true").holds(archived), Ok(true));
    assert_eq!(Scene::query("x=1").holds("request.query.archived == null"), Ok(true));
}

#[test]
fn whether_a_query_parameter_was_sent_can_be_asked() {
    for (source, sent, not_sent) in [
        (r#""archived" in request.query"#, true, false),
        ("has(request.query.archived)", true, false),
        (r#"request.query.exists(name, name == "archived")"#, true, false),
        ("size(request.query) == 0", false, true),
    ] {
        assert_eq!(Scene::query("archived=").holds(source), Ok(sent), "{source}");
        assert_eq!(holds(source), Ok(not_sent), "{source}");
    }
}

#[test]
fn a_parameter_sent_twice_cannot_be_decided() {
    let scene = Scene::query("a=1&b=2&%61=2");
    assert!(scene.holds(r#"request.query["a"] == "1""#).is_err());
    assert!(scene.holds(r#"request.query["b"] == "2""#).is_err(), "also where another one is asked for");
    assert!(scene.holds(r#"request.method == "GET""#).is_ok(), "a condition that does not look at the query");
}

#[test]
fn headers_are_seen_by_their_names_in_lower_case() {
    let scene = Scene::headers(&[("x-channel", b"shop"), ("accept", b"application/json")]);
    assert_eq!(scene.holds(r#"request.headers["x-channel"] == "shop""#), Ok(true));
    assert_eq!(scene.holds(r#"request.headers.accept.contains("json")"#), Ok(true));
    assert_eq!(scene.holds(r#""x-other" in request.headers"#), Ok(false));
    assert!(refused(r#"request.headers["X-Channel"] == "shop""#).contains("`x-channel`"));
}

#[test]
fn a_header_that_is_sent_twice_or_is_no_text_cannot_be_decided() {
    let scene = Scene::headers(&[("x-channel", b"shop"), ("x-channel", b"pos"), ("x-odd", b"\xff"), ("x-fine", b"1")]);
    assert!(scene.holds(r#"request.headers["x-channel"] == "shop""#).is_err());
    assert!(scene.holds(r#"request.headers["x-odd"] == "1""#).is_err());
    assert_eq!(scene.holds(r#"request.headers["x-fine"] == "1""#), Ok(true));
}

#[test]
fn headers_that_carry_secrets_are_refused_at_load_and_never_seen() {
    for name in SECRET_HEADERS {
        for source in [
            format!(r#"request.headers["{name}"] == "x""#),
            format!(r#"request.headers["{}"] == "x""#, name.to_uppercase()),
            format!(r#""{name}" in request.headers"#),
        ] {
            assert!(refused(&source).contains("carries secrets"), "{source}");
        }
        assert!(refused(r#"request.headers["auth" + "orization"] == "x""#).contains("must be written out"));
    }
    assert!(refused("has(request.headers.cookie)").contains("carries secrets"));
    let scene = Scene::headers(&[("authorization", b"Bearer x"), ("cookie", b"a=b"), ("x-api-key", b"k"), ("a", b"1")]);
    assert_eq!(scene.holds("size(request.headers) == 1"), Ok(true));
    assert_eq!(scene.holds(r#"request.headers.exists(name, name.contains("auth") || name == "cookie")"#), Ok(false));
    assert_eq!(scene.holds(r#"["auth", "x"].exists(part, part + "orization" in request.headers)"#), Ok(false));
}

#[test]
fn an_address_that_is_not_known_is_null() {
    let unknown = Scene { client: None, ..Scene::default() };
    assert_eq!(unknown.holds("client.ip == null && !has(client.ip)"), Ok(true));
    assert!(unknown.holds(r#"client.ip.startsWith("10.")"#).is_err());
    let mapped = Scene { client: Some("::ffff:10.0.0.1"), ..Scene::default() };
    assert_eq!(mapped.holds(r#"client.ip == "10.0.0.1" && has(client.ip)"#), Ok(true));
}

#[test]
fn the_clock_on_the_wall_is_that_of_the_zone_named() {
    for (source, expected) in [
        (r#"now.getHours("Asia/Karachi") == 23 && now.getMinutes("Asia/Karachi") == 30"#, true),
        (r#"now.getHours("UTC") == 18"#, true),
        (r#"now.getDayOfWeek("UTC") == 1"#, true),
        (r#"now.getDayOfWeek("Asia/Tokyo") == 2 && now.getDate("Asia/Tokyo") == 24"#, true),
        (r#"now.getMonth("UTC") == 10 && now.getFullYear("UTC") == 2026"#, true),
    ] {
        assert_eq!(holds(source), Ok(expected), "{source}");
    }
    assert!(refused("now.getHours() == 18").contains("takes 1 argument here, not 0"));
    assert!(refused(r#"now.getHours("Karachi") == 18"#).contains("there is no time zone `Karachi`"));
}

#[test]
fn a_condition_about_something_that_is_not_known_cannot_be_evaluated() {
    let path = CanonicalPath::parse(b"/v1/parties/5").expect("a path");
    let facts = Facts::new("GET", &path, None, Timestamp::UNIX_EPOCH);
    for source in ["request.tls", "has(request.headers.accept)", r#"principal.kind == "bounded""#] {
        let why = compiled(source).holds(&facts, &[]).expect_err(source);
        assert!(why.contains("not known"), "{why}");
        assert!(compiled(&format!("true || {source}")).holds(&facts, &[]).is_err(), "{source}");
    }
    assert_eq!(compiled("client.ip == null").holds(&facts, &[]), Ok(true));
}

#[test]
fn an_evaluation_that_fails_says_nothing_of_the_request() {
    let scene = Scene::query("page=hunter2&list=1");
    for source in [
        r#"int(request.query["page"]) > 1"#,
        r#"double(request.query["page"]) > 1.0"#,
        r#"request.query["absent"].startsWith("x")"#,
        r#"request.query["absent"] < request.query["page"]"#,
        r#"[1, 2][int(request.query["list"]) + 5] == 1"#,
        r#"10 / (int(request.query["list"]) - 1) == 1"#,
        r#"9223372036854775807 + int(request.query["list"]) == 1"#,
        r#"timestamp(request.query["page"]) < now"#,
        r#"now.getHours(request.query["page"]) == 1"#,
        r#"request.params[request.query["page"]] == "1""#,
    ] {
        let why = scene.holds(source).expect_err(source);
        assert!(!why.contains("hunter2"), "{source}: {why}");
    }
}

#[test]
fn unknown_names_are_refused_with_a_suggestion() {
    for (source, hint) in [
        (r#"reqest.method == "GET""#, "did you mean `request`?"),
        (r#"request.metod == "GET""#, "did you mean `method`?"),
        (r#"principal.lables.tier == "gold""#, "did you mean `labels`?"),
        (r#"client.ipp == "x""#, "did you mean `ip`?"),
        ("nov > now", "did you mean `now`?"),
        (r#"request.path.startWith("/")"#, "did you mean `startsWith`?"),
        (r#"["a"].exists(word, wrd == request.method)"#, "did you mean `word`?"),
    ] {
        assert!(refused(source).contains(hint), "{source}: {}", refused(source));
    }
}

#[test]
fn what_is_certain_to_be_of_the_wrong_kind_is_refused() {
    for (source, why) in [
        ("request.method == 5", "a text is never equal to a whole number"),
        (r#"request.query["page"] > 5"#, "cannot compare a text or null with a whole number"),
        ("request.method == null", "a text is never equal to null"),
        (r#"request.tls == "true""#, "never equal"),
        (r#"now > "2026-12-31""#, "write `timestamp("),
        ("now", "gives a time; it must give true or false"),
        ("request.method", "gives a text; it must give true or false"),
        ("request.query", "gives texts by name"),
        ("request", "alone is no value"),
        (r#"principal == "acme""#, "alone is no value"),
        ("request.tls && request.method", "`&&` needs true or false, not a text"),
        ("!request.method", "`!` needs true or false"),
        ("request.method ? true : false", "`?:` needs true or false"),
        (r#"request.tls ? "a" : "b""#, "it must give true or false"),
        (r#"request.method in ["GET", 1, 2] && request.method in [1, 2]"#, "is never in a list"),
        (r#""GE" in request.method"#, "text.contains(part)"),
        ("5 in request.query", "are texts, not a whole number"),
        (r#"request.method.size() == "3""#, "never equal"),
        (r#"request.method[0] == "G""#, "has no entries"),
        ("request.method.length == 3", "a text has no `length`"),
        ("size(now) == 1", "`size` cannot take a time"),
        ("request.path.contains(5)", "`contains` cannot take a whole number"),
        ("request.path + 1 == request.path", "cannot take a text and a whole number"),
        ("1 + 1.5 == 2.5", "two numbers of the same kind"),
        ("request.method.exists(letter, letter == \"G\")", "only lists and texts by name"),
        (r#"["a"].exists(word, word)"#, "`||` needs true or false"),
        ("has(request.method)", "always there"),
    ] {
        assert!(refused(source).contains(why), "{source}: {}", refused(source));
    }
}

#[test]
fn functions_are_called_with_as_many_arguments_as_they_take() {
    for (source, why) in [
        ("request.path.startsWith()", "takes 1 argument here, not 0, as in"),
        (r#"request.path.startsWith("a", "b")"#, "takes 1 argument here, not 2"),
        (r#"contains(request.path, "a")"#, "is called otherwise, as in `request.path.contains("),
        ("size() == 1", "is called otherwise"),
        ("request.query.exists(name)", "is called otherwise"),
        ("all(request.query, name, true)", "is called otherwise"),
        ("frobnicate(now)", "there is no function `frobnicate`"),
        ("dyn(request.method) == 5", "there is no function `dyn`"),
        (r#"type(request.method) == type("")"#, "there is no function `type`"),
        (r#"timestamp("tomorrow") > now"#, "no instant with its offset"),
    ] {
        assert!(refused(source).contains(why), "{source}: {}", refused(source));
    }
}

#[test]
fn regular_expressions_are_not_available() {
    assert!(refused(r#"request.path.matches("(a+)+$")"#).contains("regular expressions"));
}

#[test]
fn what_cel_has_besides_is_refused_rather_than_left_to_chance() {
    for source in [
        r#"{"a": 1}["a"] == 1"#,
        "request.?method == \"GET\"",
        "[?1] == [1]",
        "Thing{a: 1} == 1",
        "b\"GET\" == b\"GET\"",
        "optional.none().hasValue()",
        ".request.method == \"GET\"",
        "",
        "   ",
        "request.method ==",
        "‘a’ == 1",
        "true true",
        "\"unclosed",
    ] {
        assert!(!refused(source).is_empty(), "{source}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let wrong = Condition::compile(r#"request.metod == "GET" && now > 5 && clint.ip == "x""#).expect_err("refused");
    let places: Vec<_> = wrong.iter().filter_map(|wrong| wrong.at).collect();
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert_eq!(places, [7, 30, 37], "{wrong:?}");
}

#[test]
fn places_are_counted_in_characters() {
    let wrong = Condition::compile(r#"request.method == "é€😀" && reqest.tls"#).expect_err("refused");
    assert_eq!(wrong.first().and_then(|wrong| wrong.at), Some(27), "{wrong:?}");
    let wrong = Condition::compile("request.method ==\n \"é€😀\" \"x\"").expect_err("refused");
    assert_eq!(wrong.first().and_then(|wrong| wrong.at), Some(25), "{wrong:?}");
}

#[test]
fn a_repetition_over_a_list_or_over_names_works() {
    for (source, expected) in [
        (r#"["/v1/parties", "/v1/orders"].exists(start, request.path.startsWith(start))"#, true),
        (r#"["GET", "HEAD"].all(method, method != request.method)"#, false),
        (r#"request.query.all(name, name in ["page", "size"])"#, true),
        (r#"size(request.query.filter(name, name.startsWith("p"))) == 1"#, true),
        (r#""2" in request.query.map(name, request.query[name])"#, true),
        (r#"["a", "b"].exists_one(word, word == "a")"#, true),
    ] {
        assert_eq!(Scene::query("page=2&size=5").holds(source), Ok(expected), "{source}");
    }
}

#[test]
fn a_repetition_over_too_many_names_fails() {
    let many = (0..65).map(|number| format!("p{number}=1")).collect::<Vec<_>>().join("&");
    let many: &'static str = many.leak();
    let source = r#"request.query.all(name, name != "x")"#;
    assert!(Scene::query(many).holds(source).is_err());
    assert_eq!(Scene::query(many).holds(r#"request.query["p1"] == "1""#), Ok(true));
}

#[test]
fn what_costs_too_much_is_refused_at_load() {
    let chain = |unit: &str, times: usize| vec![unit; times].join("");
    let nested = r#"["a"].exists(x, ["b"].exists(y, x == y))"#;
    let wide = format!("request.query.all(name, {})", [r#"name != "abc""#; 12].join(" && "));
    for source in [
        format!("{}true{}", "(".repeat(3000), ")".repeat(3000)),
        format!("{}true{}", "(".repeat(300), ")".repeat(300)),
        format!("{}true", "!".repeat(1999)),
        format!("{}1 == 1", "-".repeat(1900)),
        format!("1{} == 1", chain("+1", 900)),
        format!("size({}) == 1", chain("[", 600) + &chain("]", 600)),
        format!("{}true", chain("true?true:", 190)),
        format!("request.method{} == 1", chain(".a", 900)),
        format!("request.method{} == 1", chain("[0]", 600)),
        ["true"; 300].join(" || "),
        "a".repeat(2001),
        nested.to_owned(),
        wide,
    ] {
        let shown: String = source.chars().take(40).collect();
        let why = refused(&source);
        assert!(
            ["deeper", "parts", "steps", "characters", "inside", "cannot be read"]
                .iter()
                .any(|word| why.contains(word)),
            "{shown}: {why}"
        );
    }
}

#[test]
fn an_error_beside_a_part_that_decides_does_not_count() {
    let scene = Scene::query("page=x");
    assert_eq!(scene.holds(r#"request.method == "GET" || int(request.query["page"]) > 1"#), Ok(true));
    assert_eq!(scene.holds(r#"int(request.query["page"]) > 1 && request.method == "PUT""#), Ok(false));
    assert!(scene.holds(r#"int(request.query["page"]) > 1 && request.method == "GET""#).is_err());
    assert!(scene.holds(r#"!(int(request.query["page"]) > 1)"#).is_err());
}

#[test]
fn every_variable_is_described_with_its_kind_in_the_documents() {
    let document = include_str!("../../../docs/policies.md");
    for variable in Variable::ALL {
        let row = format!("| `{}` | {} |", variable.name(), variable.kind());
        assert!(document.contains(&row), "docs/policies.md lacks: {row}");
    }
    assert_eq!(Group::ALL.iter().map(|group| group.members().len()).sum::<usize>() + 1, Variable::ALL.len());
}

fn one_of(choices: &[&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(choices.to_vec()).prop_map(str::to_owned).boxed()
}

fn texts() -> BoxedStrategy<String> {
    one_of(&[
        "request.method",
        "request.params.id",
        "request.query.page",
        "request.query[\"absent\"]",
        "request.headers.accept",
        "request.headers[\"x\"]",
        "client.ip",
        "principal.labels.tier",
        "\"\"",
        "\"GET\"",
        "\"Asia/Karachi\"",
        "\"2026-11-23T00:00:00Z\"",
    ])
}

fn numbers() -> BoxedStrategy<String> {
    let leaves = prop_oneof![
        one_of(&["0", "1", "-1", "9223372036854775807", "-9223372036854775808", "now.getHours(\"UTC\")"]),
        texts().prop_map(|text| format!("int({text} + \"\")")),
        texts().prop_map(|text| format!("size({text})")),
        texts().prop_map(|zone| format!("now.getDate({zone} + \"\")")),
    ];
    let deeper = |inner: BoxedStrategy<String>| {
        let sign = one_of(&["+", "-", "*", "/", "%"]);
        prop_oneof![
            (inner.clone(), sign, inner.clone()).prop_map(|(one, sign, other)| format!("({one} {sign} {other})")),
            inner.clone().prop_map(|one| format!("-({one})")),
            (inner.clone(), inner).prop_map(|(place, of)| format!("[1, {of}][{place}]")),
        ]
    };
    leaves.prop_recursive(3, 12, 2, deeper).boxed()
}

/// Expressions of all kinds that give true or false, if they do not fail.
fn expressions() -> impl Strategy<Value = String> {
    let less = one_of(&["==", "!=", "<", "<=", ">", ">="]);
    let method = one_of(&["contains", "startsWith", "endsWith"]);
    let repetition = one_of(&["all", "exists", "exists_one"]);
    let range = one_of(&["request.query", "request.headers", "principal.labels", "[\"a\", \"5\"]"]);
    let leaves = prop_oneof![
        (numbers(), less.clone(), numbers()).prop_map(|(one, sign, other)| format!("({one} {sign} {other})")),
        (texts(), less, texts()).prop_map(|(one, sign, other)| format!("({one} {sign} {other})")),
        (texts(), method, texts()).prop_map(|(one, name, other)| format!("{one}.{name}({other})")),
        (range.clone(), repetition, texts()).prop_map(|(one, name, text)| format!("{one}.{name}(x, x < {text})")),
        (texts(), range).prop_map(|(one, range)| format!("({one} in {range})")),
        texts().prop_map(|text| format!("(now < timestamp({text} + \"\"))")),
        one_of(&["request.tls", "has(request.query.page)", "has(client.ip)"]),
    ];
    leaves.prop_recursive(3, 12, 3, |inner| {
        let sign = one_of(&["&&", "||", "==", "!="]);
        prop_oneof![
            (inner.clone(), sign, inner.clone()).prop_map(|(one, sign, other)| format!("({one} {sign} {other})")),
            inner.clone().prop_map(|one| format!("!{one}")),
            (inner.clone(), inner.clone(), inner).prop_map(|(one, two, three)| format!("({one} ? {two} : {three})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_expression_brings_loading_or_deciding_down(source in expressions()) {
        if let Ok(condition) = Condition::compile(&source) { eprintln!("OKOK {source}");
            let path = CanonicalPath::parse(b"/v1/parties/5").expect("a path");
            let scene = Scene::headers(&[("accept", b"5"), ("x", b"\xff")]);
            let facts = Facts {
                headers: Some(&scene.headers),
                tls: Some(true),
                requester: Some(Requester {
                    account: "acme",
                    account_id: AccountId::from_bytes([1; 16]),
                    credential: "webshop",
                    credential_id: CredentialId::from_bytes([2; 16]),
                    kind: CredentialKind::Bounded,
                    labels: &scene.labels,
                }),
                ..Facts::new("GET", &path, Some("a=1&page=9223372036854775807"), Timestamp::MAX)
            };
            let _ = condition.holds(&facts, &[("id".into(), "-9223372036854775808".into())]);
        }
    }

    #[test]
    fn no_text_brings_loading_down(source in "[a-z0-9.\"'()\\[\\]{}?:!<>=&|+*/%, -]{0,60}") {
        let _ = Condition::compile(&source);
    }
}
