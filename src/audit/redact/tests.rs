use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const LIMIT: usize = 2048;

fn described(content_type: &str) -> ContentDescription<'_> {
    ContentDescription { content_type: Some(content_type), content_encoding: None }
}

fn preview_of(chunks: &[&[u8]], limit: usize, description: &ContentDescription<'_>, known: &[Secret]) -> Preview {
    let mut collector = PreviewCollector::new(limit, description);
    for chunk in chunks {
        collector.push(chunk);
    }
    collector.finish(&Redactor::default(), known)
}

fn preview(content_type: &str, body: &str) -> String {
    preview_of(&[body.as_bytes()], LIMIT, &described(content_type), &[]).text
}

mod corpus {
    use super::*;

    /// Rows that no redactor of texts can answer: a password typed as a user name, and the process's environment.
    const ELSEWHERE: [&str; 4] = ["red-109", "red-113", "red-114", "red-115"];

    fn file(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
        std::fs::read_to_string(path).expect("corpus")
    }

    fn known() -> Vec<Secret> {
        let file: Value = serde_json::from_str(&file("redaction_known.json")).expect("json");
        let values = file["values"].as_object().expect("values");
        let is_secret = |name: &str| !matches!(name, "client_id" | "upstream_user");
        let secrets = values.iter().filter(|(name, _)| is_secret(name));
        secrets.map(|(_, value)| Secret::new(value.as_str().expect("text").to_owned())).collect()
    }

    fn base64(value: &Value) -> Vec<u8> {
        STANDARD.decode(value.as_str().expect("text")).expect("base64")
    }

    fn chunks(row: &Value) -> Vec<Vec<u8>> {
        if let Some(chunks) = row["chunks_b64"].as_array() {
            return chunks.iter().map(base64).collect();
        }
        let body = row["body"].as_str().map(|body| body.as_bytes().to_vec());
        body.or_else(|| row.get("body_b64").map(base64)).into_iter().collect()
    }

    /// Everything that an audit row would keep of this exchange.
    fn kept(row: &Value, known: &[Secret]) -> Vec<String> {
        let redactor = Redactor::default();
        let redactor = redactor.with_known(known);
        let headers: Vec<(&str, &str)> = row["headers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|header| (header[0].as_str().expect("name"), header[1].as_str().expect("value")))
            .collect();
        let encoding = headers.iter().find(|(name, _)| *name == "Content-Encoding").map(|(_, value)| *value);
        let description = ContentDescription { content_type: row["content_type"].as_str(), content_encoding: encoding };
        let chunks = chunks(row);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let mut kept: Vec<String> =
            headers.iter().map(|(name, value)| redactor.header(name, value).into_owned()).collect();
        if let Some((_, query)) = row["request_target"].as_str().and_then(|target| target.split_once('?')) {
            kept.push(redactor.query(query));
        }
        kept.push(preview_of(&chunks, LIMIT, &description, known).text);
        kept
    }

    fn spellings(secret: &str) -> Vec<String> {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("string");
                text
            })
        };
        let utf16: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let quoted = serde_json::to_string(secret).expect("json");
        vec![
            secret.to_owned(),
            STANDARD.encode(secret),
            percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string(),
            form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            quoted.trim_matches('"').to_owned(),
            hex(secret.as_bytes()),
            hex(secret.as_bytes()).to_uppercase(),
            String::from_utf8_lossy(&utf16).into_owned(),
        ]
    }

    #[test]
    fn every_row_keeps_its_secrets_and_shows_the_rest() {
        let known = known();
        let rows = file("redaction.jsonl");
        let mut wrong = String::new();
        let mut checked = 0;
        for row in rows.lines().map(|line| serde_json::from_str::<Value>(line).expect("json")) {
            let id = row["id"].as_str().expect("id");
            if ELSEWHERE.contains(&id) {
                continue;
            }
            checked += 1;
            let kept = kept(&row, &known);
            let texts = |key: &str| -> Vec<String> {
                let list = row[key].as_array().into_iter().flatten();
                list.map(|text| text.as_str().expect("text").to_owned()).collect()
            };
            for spelling in texts("must_not_appear").iter().flat_map(|secret| spellings(secret)) {
                if kept.iter().any(|text| text.contains(&spelling)) {
                    writeln!(wrong, "{id}: shows {spelling}: {kept:?}").expect("string");
                }
            }
            for text in texts("should_appear") {
                if !kept.iter().any(|kept| kept.contains(&text)) {
                    writeln!(wrong, "{id}: hides {text}: {kept:?}").expect("string");
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        assert_eq!(checked, 52);
    }
}

#[test]
fn a_secret_name_is_seen_in_every_notation() {
    for (content_type, body) in [
        ("application/json", r#"{"a":[{"User":{"PassWord":"hush"}}]}"#),
        ("application/json", r#"{"password":["hush",{"x":"hush"}],"user":"bob"}"#),
        ("application/json", r#"{"pass\u0077ord" : "a\"hush"}"#),
        ("application/json", r#"{"body":"{\"inner\":\"{\\\"token\\\":\\\"hush\\\"}\"}"}"#),
        ("application/json", r#"{"name":"password","type":"string","value":"hush"}"#),
        ("application/json", r#"{"value":"hush","name":"password"}"#),
        ("application/json", r#"{"x":"{\"name\":\"password\",\"value\":\"hush\"}"}"#),
        ("application/json", r#"{"headers":[["Accept","*/*"],["Authorization","hush"]]}"#),
        ("application/json", r#"{"params":["db","admin","hush"],"method":"common.login"}"#),
        ("application/json", r#"{"url":"https://bob:hush@erp.test/x"}"#),
        ("application/json", "{password: hush, user: 1}"),
        ("application/json", "{'password': 'hush'}"),
        ("application/json", r#"{"password"/* why */:/* not */"hush"}"#),
        ("application/json", "{\"password\"\n:\n\"hush\"}"),
        ("application/json", r#"{"query":"mutation { login(password: \"hush hush\") { id } }"}"#),
        ("application/x-ndjson", "{\"a\":1}\n{\"secret\":\"hush\"}\n"),
        ("text/plain", r"payload=%7B%22password%22%3A%22hush%22%7D&x=1"),
        ("application/x-www-form-urlencoded", "a=1&pass%77ord=hu;hush&b=2"),
        ("application/x-www-form-urlencoded", "data=%7B%22token%22%3A%22hush%22%7D"),
        ("application/xml", "<a><b:PassWord x='1'>hush</b:PassWord></a>"),
        ("application/xml", "<login password = 'hush' user='bob'/>"),
        ("application/xml", "<password><![CDATA[</password>hush]]></password>"),
        ("application/xml", "<password><password/><password>x</password>hush</password>"),
        ("application/xml", "<add key=\"password\" value=\"hush\"/>"),
        ("application/xml", "<entry key='password'>hush</entry>"),
        ("application/xml", "<member><name>password</name><value><string>hush</string></value></member>"),
        ("application/xml", "<methodName>login</methodName><params><param>hush</param></params>"),
        ("application/xml", "<x>&lt;password&gt;hush&lt;/password&gt;</x>"),
        ("text/html", "<input type=hidden name=csrf_token value=hush>"),
        ("text/html", "<meta name=\"csrf-token\" content=\"hush\">"),
        (
            "multipart/form-data",
            "--B\nContent-Disposition: form-data;\n name*=UTF-8''pass%77ord\n\nhush\n--C\nhush\n--B--",
        ),
        ("application/yaml", "user: bob\n- password: |\n    hush\n    hush\n"),
        ("application/yaml", "credentials:\n  - hush\n  - x: hush\nuser: bob"),
        ("text/csv", "name;\"PASSWORD\";x\nbob;\"a\"\"\nhush\";1\n"),
        ("text/plain", "name\tpassword\nbob\thush\n"),
        ("text/plain", "SET-COOKIE: a=b; c=hush\r\nHost: x"),
        ("text/plain", "db.password = hush hush\n"),
        ("text/plain", "failed with api key: hush"),
        ("text/plain", "erp-login --password hush --user bob"),
        ("text/plain", "Array ( [password] => hush )"),
        ("", r#"{"password":"hush"}"#),
    ] {
        let shown = preview(content_type, body);
        assert!(!shown.contains("hush"), "{content_type}: {body}\n{shown}");
        assert!(shown.contains("[redacted]"), "{content_type}: {body}\n{shown}");
    }
}

#[test]
fn a_secret_is_seen_by_its_shape() {
    let redactor = Redactor::default();
    for text in [
        "x erpa_tok_hush0123456789",
        "ERPA_PWD_hush",
        "BEARER  hush",
        "bearer hush-123",
        "got Basic Ym9iOmh1c2g= from",
        "Basic Ym9iOmh1c2g",
        "x=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodXNoIn0.hush",
        "abc-eyJhbGciOiJub25lIn0.hush.",
        "-----BEGIN RSA PRIVATE KEY-----\nhush",
        "token is hush0123456789abcdef",
        "key 0123456789abcdef0123456789hush",
        "glpat-hush0123456789",
        "https://hush@erp.test/",
        "eyJwYXNzd29yZCI6ICJodXNoIn0=",
    ] {
        let shown = redactor.text(text);
        assert!(!shown.contains("hush") && !shown.contains("h1c2g") && !shown.contains("eyJ"), "{text}: {shown}");
    }
}

#[test]
fn ordinary_text_is_shown_as_it_came() {
    let redactor = Redactor::default();
    for text in [
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "550e8400-e29b-41d4-a716-446655440000",
        "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
        "Basic knowledge of the bearer token scheme",
        "text/html;q=0.9, */*;q=0.8",
        "order 4711 from 2026-11-23T12:00:00+05:00: 3 × 12,50 €",
        r#"{"id":1,"name":"Pass Ltd","code":"DE","key":"A-1","state":"open","expires_in":300,"token_type":"Bearer"}"#,
        "<party id='1'><name>Möller &amp; Co</name><key>x</key><value>12</value></party>",
        "https://erp.test/v1/parties?page=2&sort=name#top",
        "100% of a\\b & c; d=e",
    ] {
        assert!(matches!(redactor.text(text), Cow::Borrowed(_)), "{}", redactor.text(text));
    }
    assert_eq!(redactor.query("page=2&sort=name&state=open"), "page=2&sort=name&state=open");
}

#[test]
fn text_around_a_secret_stays_readable() {
    let body = r#"{"user":"bob","password":"x","lines":[{"id":1,"pin":4711,"note":"a Bearer y b"}],"total":"12.50"}"#;
    assert_eq!(
        preview("application/json", body),
        r#"{"user":"bob","password":"[redacted]","lines":[{"id":1,"pin":[redacted],"note":"a Bearer [redacted] b"}],"total":"12.50"}"#
    );
    assert_eq!(
        preview("application/xml", "<a p='1'><pwd>x</pwd><b>2</b></a>"),
        "<a p='1'><pwd>[redacted]</pwd><b>2</b></a>"
    );
    let redactor = Redactor::default();
    assert_eq!(redactor.query("a=1&code=x&b=2"), "a=1&code=[redacted]&b=2");
    assert_eq!(redactor.header("Referer", "/x?token=1&y=2"), "/x?token=[redacted]&y=2");
}

#[test]
fn the_operators_names_count_everywhere() {
    let lists = RedactionLists { headers: vec!["X-Acme-Ticket".into()], fields: vec!["bank line".into()] };
    let redactor = Redactor::new(&lists);
    assert_eq!(redactor.header("x-acme-ticket", "hush"), "[redacted]");
    assert_eq!(redactor.query("bank_line=1&x=2"), "bank_line=[redacted]&x=2");
    assert_eq!(
        redactor.text(r#"{"bankLine":1,"x_acme_ticket":"h"}"#),
        r#"{"bankLine":[redacted],"x_acme_ticket":"[redacted]"}"#
    );
}

#[test]
fn a_known_value_is_seen_in_every_encoding() {
    let value = "p\"a/s\\n ü&=+%";
    let known = [Secret::new(value.to_owned())];
    let redactor = Redactor::default();
    let json = serde_json::to_string(value).expect("json");
    let wrapped = STANDARD.encode(format!("{{\"a\":{json}}}"));
    let long = STANDARD.encode("x".repeat(40) + value);
    let (first, second) = long.split_at(60);
    for text in [
        value.to_owned(),
        json.clone(),
        serde_json::to_string(&json).expect("json"),
        form_urlencoded::byte_serialize(value.as_bytes()).collect(),
        percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string().to_lowercase(),
        value.replace('&', "&amp;").replace('"', "&#x22;"),
        STANDARD.encode(value),
        STANDARD.encode(format!("u:{value}")).replace('=', ""),
        STANDARD.encode(STANDARD.encode(value)),
        wrapped,
        format!("{first}\r\n{second}"),
        value.bytes().fold(String::new(), |text, byte| format!("{text}{byte:02X}")),
    ] {
        let shown = redactor.with_known(&known).text(&format!("it said {text}")).into_owned();
        assert_eq!(shown.replace(['"', '\\'], ""), "it said [redacted]", "{text}");
    }
}

#[test]
fn a_run_of_digits_right_behind_a_short_one_is_read_from_its_first_digit() {
    let redactor = Redactor::default();
    // `password=hunter22222` in base64, behind a name and its `=`, which looks like padding.
    assert_eq!(redactor.text("x=cGFzc3dvcmQ9aHVudGVyMjIyMjI="), "x=[redacted]");
    assert_eq!(redactor.text("x=70617373776f72643d68756e74657232"), "x=[redacted]");
}

#[test]
fn a_known_value_cut_by_the_end_of_the_body_is_not_shown() {
    let known = [Secret::new("0123456789abcdef".to_owned())];
    let shown = preview_of(&[b"x 0123456789ab"], LIMIT, &described("text/plain"), &known).text;
    assert_eq!(shown, "x [redacted]");
}

#[test]
fn a_known_value_cut_by_the_bound_on_memory_is_not_shown() {
    let known = [Secret::new("s3cr3t-v4lu3".to_owned())];
    let filler = "password=".to_owned() + &"x".repeat(4096 + 1024 - 9 - 26) + " and ";
    for cut in 0..24 {
        let body = filler.clone() + &"y".repeat(cut) + "%733cr3t-v4lu3" + &"z".repeat(4096);
        let shown = preview_of(&[body.as_bytes()], LIMIT, &described("text/html"), &known).text;
        assert!(!shown.contains("3c"), "{cut} {shown}");
    }
}

#[test]
fn a_binary_body_is_described_and_not_shown() {
    let png = described("image/png");
    let whole = preview_of(&[b"\x89PNG and more"], LIMIT, &png, &[]);
    assert_eq!(whole.length, 13);
    assert!(whole.text.starts_with("[binary, 13 bytes, sha256 "), "{}", whole.text);
    let undeclared = preview_of(&[b"\x89PNG", b" and more"], LIMIT, &described(""), &[]);
    assert_eq!(undeclared, whole);
    let long = vec![0xff_u8; 40_000];
    let declared = preview_of(&[&long], LIMIT, &png, &[]);
    assert_eq!(preview_of(&long.chunks(999).collect::<Vec<_>>(), LIMIT, &described("text/plain"), &[]), declared);
}

#[test]
fn no_limit_means_no_preview() {
    let preview = preview_of(&[b"abc", b"def"], 0, &described("text/plain"), &[]);
    assert_eq!(preview, Preview { text: String::new(), length: 6 });
}

#[test]
fn endless_escapes_hide_the_text_instead_of_costing_time() {
    let text = "%25".repeat(2) + &"25".repeat(20_000) + "70assword=hush";
    assert_eq!(Redactor::default().text(&text), "[redacted]");
}

#[test]
fn hostile_text_is_read_in_linear_time() {
    const TIMES: usize = 100_000;
    let redactor = Redactor::default();
    let known = [Secret::new("aaaaaaaaaaaaaaaaaaaab".to_owned())];
    for piece in [
        "[",
        "{",
        "{\"a\":",
        "[{\"a\":",
        "{\"",
        "[\"",
        "\"",
        "'",
        "\\",
        "\\\"",
        "<a ",
        "<a>",
        "<a b=\"",
        "<a b='<a b=\"",
        "<password>",
        "<a:b:",
        "<![CDATA[",
        "</",
        "=",
        ":",
        "a=",
        "&",
        "&&;",
        "eyJ",
        "eyJ.",
        "bearer ",
        "basic a-",
        "://",
        "-----BEGIN ",
        "-----BEGIN -----END ",
        "--",
        "--a",
        "--\ncontent-disposition:\n",
        "content-disposition: name=",
        "password",
        "a,password\n",
        "token ",
        "token 1",
        "a b:",
        "ghp_",
        "{\"value\":1",
        "{\"params\":[",
        "{\"name\":\"password\",",
        "?",
        "\n",
        "- a:\n ",
        "aaaa",
        "0123abcd",
        "&#",
        "\u{fc}",
        "a: 'b''",
        "<name>password</name>",
        "/*",
        "*/:",
        "[\"password\",",
    ] {
        // A quadratic step would need minutes here.
        let text = piece.repeat(TIMES / piece.len() + 1);
        let _ = redactor.with_known(&known).text(&text);
    }
}

fn chunked(body: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).chain([0, body.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| body[pair[0]..pair[1]].to_vec()).collect()
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ":",
        ",",
        "=",
        "&",
        "<",
        ">",
        "/",
        "\n",
        " ",
        "%",
        "%22",
        "&quot;",
        "\\u0022",
        "password",
        "token",
        "name",
        "value",
        "Bearer ",
        "eyJ",
        "--",
        "'",
        "\u{202e}",
        "ü",
        "\0",
        "a",
        "-----BEGIN ",
    ]);
    let text = prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![text, prop::collection::vec(any::<u8>(), 0..300)]
}

const TYPES: [&str; 9] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "text/xml",
    "multipart/form-data; boundary=b",
    "text/csv",
    "text/plain; charset=utf-16",
    "text/plain; charset=latin1",
    "application/x-unheard-of",
    "",
];

/// The same pair of a name and a value in one notation or another.
fn spelled(form: usize, name: &str, secret: &str) -> String {
    let json = serde_json::json!({ name: secret, "after": 1 }).to_string();
    let escaped: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    match form {
        0 => json,
        1 => serde_json::json!({ "a": [json] }).to_string(),
        2 => serde_json::json!({ "a": serde_json::json!({ "b": json }).to_string() }).to_string(),
        3 => format!("a=1&{name}={escaped}&b=2"),
        4 => format!("a={}", form_urlencoded::byte_serialize(json.as_bytes()).collect::<String>()),
        5 => format!("<a><{name}>{}</{name}></a>", secret.replace('&', "&amp;").replace('<', "&lt;")),
        6 => format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{secret}\r\n--b--"),
        7 => serde_json::json!({ "p": STANDARD.encode(json) }).to_string(),
        8 => serde_json::json!({ "value": secret, "name": name }).to_string(),
        9 => format!("{name}: {secret}\nother: 1\n"),
        _ => serde_json::json!([[name, secret]]).to_string(),
    }
}

proptest! {
    #[test]
    fn any_chunking_of_any_body_gives_the_same_safe_preview(
        body in any_body(),
        repeat in 1_usize..40,
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        limit in 0_usize..600,
        content_type in prop::sample::select(TYPES.to_vec()),
    ) {
        let body = body.repeat(repeat);
        let whole = preview_of(&[&body], limit, &described(content_type), &[]);
        let chunks = chunked(&body, &cuts);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(&preview_of(&chunks, limit, &described(content_type), &[]), &whole);
        prop_assert!(whole.text.len() <= limit);
        prop_assert_eq!(whole.length, u64::try_from(body.len()).expect("length"));
        prop_assert!(spans::is_safe_to_print(&whole.text), "{:?}", whole.text);
    }

    #[test]
    fn a_secret_under_a_secret_name_never_shows(
        form in 0_usize..11,
        name in prop::sample::select(vec!["password", "newPassword", "API_KEY", "client-secret", "sessionId", "pwd"]),
        head in "[a-z\\[{\"' ]{0,12}",
        secret in "[A-Z0-9]{3}[A-Z0-9 /+%&<=;:,\\\\\"{}-]{0,24}[A-Z0-9]{3}",
        cuts in prop::collection::vec(any::<usize>(), 0..4),
        content_type in prop::sample::select(TYPES.to_vec()),
        limit in prop::sample::select(vec![40_usize, 200, 2048]),
        filler in prop::sample::select(vec![0_usize, 150, 1100, 1180, 1700]),
    ) {
        let (first, last) = ("QQXJ", "JXQQ");
        let marker = format!("{first}{secret}{last}");
        let body = format!("{head}\n{}{}", " ".repeat(filler), spelled(form, name, &marker));
        let chunks = chunked(body.as_bytes(), &cuts);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let shown = preview_of(&chunks, limit, &described(content_type), &[]).text;
        // The ends of the value are plain in every notation.
        prop_assert!(!shown.contains(first) && !shown.contains(last), "{}\n{}", body, shown);
    }

    #[test]
    fn a_known_value_never_shows(
        before in "[ -~ü]{0,20}",
        value in "[!-~ü]{6,30}",
        after in "[ -~ü]{0,20}",
        form in 0_usize..6,
    ) {
        let known = [Secret::new(value.clone())];
        let text = format!("{before} {value} {after}");
        let encoded = match form {
            0 => text,
            1 => serde_json::json!({ "a": text }).to_string(),
            2 => form_urlencoded::byte_serialize(text.as_bytes()).collect(),
            3 => STANDARD.encode(text),
            4 => text.bytes().fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
            _ => serde_json::json!({ "a": serde_json::json!({ "b": text }).to_string() }).to_string(),
        };
        let shown = Redactor::default().with_known(&known).text(&encoded).into_owned();
        prop_assert!(!shown.contains(&value), "{}\n{}", encoded, shown);
        prop_assert!(form == 0 || shown.contains("[redacted]"), "{}\n{}", encoded, shown);
    }
}
