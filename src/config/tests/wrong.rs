//! Files that are refused, and what is said about them.

use super::{read, report};

#[test]
fn several_mistakes_are_reported_at_once_with_place_and_excerpt() {
    let text = "\
gateway:
  listn: 127.0.0.1:8080
  limits:
    keep_alive: 60
tokens:
  lifetime: 15m
  lifetime: 20m
audit:
  guarantee: before
";
    let expected = "\
error: unknown key `listn` in `gateway`
 --> test.yaml:2:3
  |
2 |   listn: 127.0.0.1:8080
  |   ^^^^^
  = help: did you mean `listen`?

error: `gateway.limits.keep_alive` is not a duration
 --> test.yaml:4:17
  |
4 |     keep_alive: 60
  |                 ^^
  = help: write a number and a unit: `50ms`, `10s`, `5m`, `24h`

error: `lifetime` is written twice
 --> test.yaml:7:3
  |
7 |   lifetime: 20m
  |   ^^^^^^^^
  = help: it already stands on line 6; keep one of them

error: `audit.guarantee` is none of `before_relay`, `after_response`
 --> test.yaml:9:14
  |
9 |   guarantee: before
  |              ^^^^^^

4 errors in the configuration";
    assert_eq!(report(text), expected);
}

/// Asserts that `text` is refused with a report that contains each of `parts`.
#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let report = report(text);
    for part in parts {
        assert!(report.contains(part), "no `{part}` in:\n{report}");
    }
}

#[test]
fn unknown_section_is_refused_with_a_suggestion() {
    refused("gatway: {}\n", &["unknown section `gatway`", "test.yaml:1:1", "did you mean `gateway`?"]);
}

#[test]
fn unknown_key_that_resembles_nothing_lists_what_is_known() {
    refused("log: { colour: red }\n", &["unknown key `colour` in `log`", "known here: level, format"]);
}

#[test]
fn what_is_not_yaml_is_refused_with_its_place() {
    refused("gateway:\n  listen: [1\nlog: {}\n", &["not readable as YAML", "test.yaml:"]);
    refused("a: 1\n---\nb: 2\n", &["not readable as YAML"]);
    refused("log: &x {}\nstore: *x\n", &["not readable as YAML"]);
    refused("log: !custom {}\n", &["not readable as YAML"]);
    refused("log:\n\tlevel: info\n", &["not readable as YAML"]);
}

#[test]
fn merge_keys_are_refused() {
    refused("log: { <<: { level: debug } }\n", &["merge keys (`<<`) are not supported"]);
}

#[test]
fn wrong_kinds_are_refused() {
    refused("gateway: 5\n", &["`gateway` is not a section of keys but a number"]);
    refused("policies: { watch: yes }\n", &["`policies.watch` is neither `true` nor `false`"]);
    refused("policies: { directory: 5 }\n", &["is not a text but a number", "quotation marks"]);
    refused("policies: { directory: }\n", &["`policies.directory` has no value"]);
    refused("tokens: { per_credential: many }\n", &["is not a whole number but a text"]);
    refused("tokens: { per_credential: 1.5 }\n", &["is not a whole number but a number"]);
    refused("tokens: { per_credential: -1 }\n", &["is not a whole number"]);
    refused("tokens: { per_credential: 010 }\n", &["is not a whole number"]);
    refused("- a\n", &["`the configuration` is not a section of keys but a list"]);
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    refused("tokens: { lifetime: 30s }\n", &["`tokens.lifetime` is out of range: 1m to 1d is possible"]);
    refused("password_hashing: { memory: 1MiB }\n", &["at least 19MiB"]);
    refused("password_hashing: { iterations: 1 }\n", &["out of range: 2 to 100"]);
    refused("gateway: { limits: { header_count: 99999999999 } }\n", &["out of range"]);
}

#[test]
fn listeners_and_networks_are_checked_item_by_item() {
    let text = "gateway:\n  listen: [localhost:80, 127.0.0.1:80, 127.0.0.1:80]\n  trusted_proxies: [10.0.0.1/8, 0.0.0.0/0, x]\n";
    refused(
        text,
        &[
            "test.yaml:2:12",
            "`gateway.listen` is not an address",
            "`gateway.listen` names this twice",
            "did you mean `10.0.0.0/8`?",
            "trusts everybody",
            "is not a network",
            "5 errors",
        ],
    );
    refused("gateway: { listen: [] }\n", &["names no address"]);
}

#[test]
fn public_url_is_scheme_and_host_only() {
    for (url, part) in [
        ("erp.example.com", "not a URL of scheme and host"),
        ("ftp://erp.example.com", "not a URL of scheme and host"),
        ("https://user@erp.example.com", "not a URL of scheme and host"),
        ("https://erp.example.com/api", "has a path"),
    ] {
        refused(&format!("gateway: {{ public_url: \"{url}\" }}\n"), &[part]);
    }
}

#[test]
fn settings_of_pingora_are_checked_and_what_systemd_does_is_refused() {
    let text =
        "server:\n  thread: 2\n  daemon: true\n  user: erp\n  upgrade_sock: /x\n  max_retries: 0\n  work_stealing: 1\n";
    refused(
        text,
        &[
            "unknown key `thread` in `server`",
            "did you mean `threads`?",
            "`server.daemon` is not supported",
            "systemd runs",
            "set `User=`",
            "one process owns the store",
            "`server.max_retries` is 0",
            "`server.work_stealing` is neither",
            "6 errors",
        ],
    );
}

#[test]
fn key_written_into_the_file_is_refused_and_not_shown() {
    let secret = "base64:c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=";
    for text in [
        format!("app_key: {secret}\n"),
        format!("app_key: {{ file: \"{secret}\" }}\n"),
        format!("app_key:\n  key: {secret}\n"),
        format!("log: {{ level: {secret} }}\n"),
        format!("log:\n  {secret}: 1\n"),
        format!("x: [{secret}\n"),
    ] {
        let report = report(&text);
        assert!(!report.contains("c2VjcmV0"), "{report}");
    }
    refused(&format!("app_key: {secret}\n"), &["does not take the key itself", "app_key.file", "app_key: [hidden]"]);
}

#[test]
fn pasted_secrets_are_hidden_in_excerpts() {
    for text in [
        "upstreams:\n  erp:\n    peers: [erp.internal:80]\n    password: hunter2\n",
        "upstreams:\n  erp:\n    peers: [erp.internal:80]\n    api_secret: |\n      hunter2\n",
        "password: \"hunter2\n",
        "tokens: hunter2\n",
        "upstreams: { erp: { password: hunter2 } }\n",
        "x: { password: *hunter2 }\n",
        "x:\n  password: &hunter2 [\n",
        "x:\n  password: !hunter2 5\n",
        "x:\n  password: !!int hunter2\n",
        "x:\n  password: @hunter2\n",
        "x:\n  password: %hunter2\n",
        "x:\n  password: a: hunter2\n",
        "x:\n  password: \"\\qhunter2\"\n",
        "x: { ? password : hunter2 }\n",
        "x: { password: a, hunter2 }\n",
        "x:\n  - password: hunter2\n   y: 1\n",
        "x:\n  password:\n    hunter2: [\n",
        "x:\n  ? password\n  : hunter2\n",
        "upstreams: { erp: { peers: [\"http://u:hunter2@erp\"] } }\n",
    ] {
        let report = report(text);
        assert!(!report.contains("hunter2"), "{report}");
    }
}

#[test]
fn peers_are_resolved_and_special_addresses_refused() {
    let one = |peer: &str| format!("upstreams: {{ erp: {{ peers: [\"{peer}\"] }} }}\n");
    refused(&one("nowhere.internal:80"), &["`upstreams.erp.peers` cannot be resolved", "1 error"]);
    refused(&one("erp.internal"), &["is not a host with a port"]);
    refused(&one("http://erp.internal:80"), &["is not a host with a port"]);
    refused(&one("empty.internal:80"), &["resolves to no address"]);
    refused(&one("metadata.internal:80"), &["169.254.169.254, a link-local or metadata address", "allow_link_local"]);
    refused(&one("[fe80::1]:80"), &["link-local"]);
    refused(&one("[::ffff:169.254.169.254]:80"), &["link-local"]);
    refused(&one("[fd00:ec2::254]:80"), &["link-local"]);
    refused(&one("0.0.0.0:80"), &["no address of a single machine"]);
    refused("upstreams: { erp: {} }\n", &["names no address"]);
    assert!(read("upstreams: { erp: { peers: [\"169.254.1.1:80\"], allow_link_local: true } }\n").is_ok());
}

#[test]
fn tls_needs_the_name_of_the_server() {
    let erp = |tls: &str| format!("upstreams: {{ erp: {{ peers: [erp.internal:443], tls: {tls} }} }}\n");
    refused(&erp("{}"), &["`upstreams.erp.tls.server_name` is missing"]);
    refused(&erp("{ server_name: \"\" }"), &["`upstreams.erp.tls.server_name` is empty"]);
    refused(&erp("{ server_name: \"a b\" }"), &["is not the name of a server"]);
}

#[test]
fn keys_beside_the_peers_are_checked() {
    let erp = |keys: &str| format!("upstreams: {{ erp: {{ peers: [erp.internal:443], {keys} }} }}\n");
    refused(&erp("balance: random"), &["is none of `round_robin`, `least_connections`, `in_order`"]);
    refused(&erp("connections: none"), &["is none of `shared`, `per_session`"]);
    refused(
        &erp("ejection: { failures: -1, pause: 5 }"),
        &["failures` is not", "`upstreams.erp.ejection.pause` is not"],
    );
    refused(&erp("health_check: {}"), &["`upstreams.erp.health_check.path` is missing"]);
    refused(
        &erp("health_check: { path: \"/x?key={{api_key}}\", every: 1ms, healthy: 0 }"),
        &["path` takes no variables", "every` is out of range", "healthy` is out of range"],
    );
    refused(&erp("timeouts: { total: 2h }"), &["`upstreams.erp.timeouts.total` is out of range"]);
    refused(&erp("timeouts: { total: never }"), &["`upstreams.erp.timeouts.total` is not a duration"]);
    refused(&erp("http_version: http3"), &["is none of `http1`, `http2`"]);
    refused(&erp("health_check: { path: /x, status: [] }"), &["`upstreams.erp.health_check.status` names no status"]);
    refused(
        &erp("tls: { server_name: x, client_certificate: { certificate_file: x } }"),
        &["`upstreams.erp.tls.client_certificate.key_file` is missing"],
    );
    refused(&erp("tls: { server_name: x, verify: false }"), &["unknown key `verify`"]);
}

#[test]
fn peers_with_weights_are_checked() {
    let one = |peer: &str| format!("upstreams: {{ erp: {{ peers: [{peer}] }} }}\n");
    refused(&one("{ weight: 2 }"), &["has no `address`"]);
    refused(&one("{ address: \"erp.internal:80\", weight: 0 }"), &["peers[].weight` is out of range"]);
    refused(&one("{ address: \"erp.internal:80\", wieght: 1 }"), &["unknown key `wieght`"]);
    refused(&one("{ address: \"169.254.169.254:80\" }"), &["link-local"]);
}

#[test]
fn client_headers_that_carry_secrets_or_claims_are_not_forwardable() {
    for header in ["Authorization", "cookie", "X-Api-Key", "X-Forwarded-User", "Host", "a_b", "a b"] {
        let text = format!("upstreams: {{ erp: {{ peers: [erp.internal:80], forward_headers: [\"{header}\"] }} }}\n");
        refused(&text, &["`upstreams.erp.forward_headers` "]);
    }
}

fn recipe(session: &str) -> String {
    format!("upstreams:\n  erp:\n    peers: [erp.internal:80]\n    session:\n{session}")
}

#[test]
fn variables_of_a_recipe_are_checked_in_order() {
    let session = "      steps:
        - path: /login
          json: { user: \"{{usrname}}\", sid: \"{{sid}}\" }
          extract: { sid: /sid, password: /p }
        - path: /next
          headers: { X-Sid: \"{{sid}}\", X-Broken: \"{{sid\" }
      inject:
        headers: { Authorization: \"Session base64({{sid}}:{{uid}}\", X-Uid: \"{{uid}}\" }
";
    refused(
        &recipe(session),
        &[
            "test.yaml:7:25",
            "steps[0].json` uses the unknown variable `usrname`",
            "did you mean `username`?",
            "uses `sid` before a step has extracted it",
            "extract `password`, which there is already",
            "opens `{{` without a closing `}}`",
            "opens a `(` that is never closed",
            "`upstreams.erp.session.inject.headers.X-Uid` uses the unknown variable `uid`",
            "X-Uid: \"{{uid}}\"",
            "6 errors",
        ],
    );
}

#[test]
fn parts_of_a_recipe_are_checked() {
    let session = "      steps:
        - method: PATCH
          path: login?key={{api_key}}
          headers: { Host: x, Content-Length: \"1\", \"a b\": x, X-Line: \"a\\nb\" }
          success: { status: [99, 500], present: [result], absent: [/a~2] }
          extract: { Sid: /sid, sid: sid }
      inject: { headers: { Connection: close } }
      lifetime: forever
      lost: { status: [200] }
      attempts_per_minute: 0
";
    refused(
        &recipe(session),
        &[
            "steps[0].method` is none of `GET`, `POST`, `PUT`, `DELETE`",
            "steps[0].path` takes no variables",
            "headers.Host` is set by the gateway itself",
            "headers.Content-Length` is set by the gateway",
            "headers.a b` is not the name of a header",
            "headers.X-Line` is not printable ASCII",
            "success.status` is not a status from 200 to 399",
            "success.present` is not a JSON pointer",
            "success.absent` is not a JSON pointer",
            "extract.Sid` is not the name of a variable",
            "extract.sid` is not a JSON pointer",
            "headers.Connection` is set by the gateway",
            "lifetime` is not a duration",
            "lost.status` names a status of success",
            "attempts_per_minute` is out of range",
        ],
    );
    refused(&recipe("      steps: [{}]\n"), &["`upstreams.erp.session.steps[0].path` is missing"]);
    refused(&recipe("      steps: login\n"), &["is not a list but a text"]);
}

#[test]
fn repeated_names_are_refused_everywhere() {
    refused(
        "upstreams:\n  erp: { peers: [erp.internal:80] }\n  erp: { peers: [erp.internal:81] }\n",
        &["`erp` is written twice", "line 2"],
    );
    refused("log: {}\nlog: {}\n", &["`log` is written twice"]);
    refused(&recipe("      inject:\n        headers: { X-A: a, x-a: b }\n"), &["headers.x-a` is written twice"]);
    refused("upstreams: { ERP: { peers: [erp.internal:80] } }\n", &["`upstreams.ERP` is not the name of an upstream"]);
}

#[test]
fn control_characters_of_the_file_do_not_reach_the_terminal() {
    let report = report("log: { level: \"\u{202e}gubed\" }\n");
    assert!(report.contains("is none of") && !report.contains('\u{202e}'), "{report}");
}

#[test]
fn deep_or_large_files_are_refused() {
    refused(&format!("x: {}1{}\n", "[".repeat(60), "]".repeat(60)), &["not readable as YAML"]);
    refused(&format!("#{}\n", "x".repeat(1 << 20)), &["is larger than 1 MiB"]);
}

#[test]
fn missing_file_is_said_so() {
    let sources = super::Sources::of_file("/nonexistent/erp-access.yaml");
    let errors = super::load(&sources, super::resolve).expect_err("missing");
    assert!(errors.to_string().contains("`/nonexistent/erp-access.yaml` cannot be read"), "{errors}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "([a-z_]{1,8}(: ?)?|[\\[\\]{}\"'|>&*!%#\n -]|\\PC){0,40}") {
        let _ = read(&text).map_err(|errors| errors.to_string());
    }

    #[test]
    fn no_value_of_a_template_makes_the_reader_panic(text in "([a-z(){} ]|base64\\(|\\{\\{|\\}\\}|\\PC){0,30}") {
        let _ = super::super::template::parse(&text);
    }
}
