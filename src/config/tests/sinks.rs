//! `audit.sinks`, right and wrong.

use super::super::{SinkProtocol, SinkStart};
use super::shipped::documented;
use super::{read, report};

fn one(sink: &str) -> String {
    format!("audit:\n  sinks:\n    siem: {sink}\n")
}

#[test]
fn a_url_says_what_a_sink_speaks_and_where() {
    let config = read(
        "\
audit:
  sinks:
    a: { url: 'https://collector.internal/in?index=erp', token_file: token, gzip: false, start: now, batch: 7 }
    b: { url: 'syslog+tls://[2001:db8::1]', facility: 10 }
    c: { url: 'http://localhost:8686' }
    d: { url: 'syslog+tcp://127.0.0.1' }
",
    )
    .expect("right");
    let [a, b, c, d] = config.audit.sinks.as_slice() else { panic!("four sinks") };
    assert_eq!((a.name.as_str(), a.host.as_str(), a.port, a.batch), ("a", "collector.internal", 443, 7));
    assert!(a.tls.is_some() && a.start == SinkStart::Now);
    let SinkProtocol::Http { target, gzip: false, token_file: Some(file) } = &a.protocol else { panic!("{a:?}") };
    assert!(target == "/in?index=erp" && file.is_absolute() && file.ends_with("token"), "{a:?}");
    assert_eq!((b.host.as_str(), b.port), ("2001:db8::1", 6514));
    assert!(matches!(b.protocol, SinkProtocol::Syslog { facility: 10 }));
    assert_eq!((c.port, c.tls.is_none(), c.start), (8686, true, SinkStart::Beginning));
    assert!(matches!(&c.protocol, SinkProtocol::Http { target, gzip: true, token_file: None } if target == "/"));
    assert_eq!((d.port, matches!(d.protocol, SinkProtocol::Syslog { facility: 13 })), (601, true));
}

#[test]
fn audit_records_are_never_sent_over_the_network_in_the_clear() {
    for url in
        ["http://collector.internal/", "syslog+tcp://192.0.2.1:601", "http://0.0.0.0:80/", "http://localhost.evil"]
    {
        let said = report(&one(&format!("{{ url: '{url}' }}")));
        assert!(said.contains("in the clear") && said.contains("`https://`"), "{said}");
    }
}

#[test]
fn what_is_no_receiver_is_refused_with_an_example() {
    for url in [
        "collector.internal",
        "/ingest",
        "ftp://x/",
        "https://",
        "syslog://x",
        "syslog+tls://x/path",
        "https://x:99999",
    ] {
        let said = report(&one(&format!("{{ url: '{url}' }}")));
        assert!(said.contains("`audit.sinks.siem.url`") && said.contains("test.yaml:3:"), "{url}: {said}");
    }
    let said = report(&one("{ url: 'https://user:hunter2secret@collector.internal/' }"));
    assert!(said.contains("token_file") && !said.contains("hunter2secret"), "{said}");
    let said = report("audit: { sinks: { Siem: { url: 'https://x' }, b: {} } }");
    assert!(said.contains("`Siem` is not a sink name") && said.contains("`audit.sinks.b.url` is missing"), "{said}");
}

#[test]
fn keys_of_the_other_protocol_are_unknown() {
    for (sink, key) in [
        ("{ url: 'syslog+tls://x', gzip: true }", "gzip"),
        ("{ url: 'syslog+tls://x', token_file: t }", "token_file"),
        ("{ url: 'https://x', facility: 1 }", "facility"),
        ("{ url: 'http://127.0.0.1', ca_file: x }", "ca_file"),
        ("{ url: 'https://x', password: x }", "password"),
    ] {
        let said = report(&one(sink));
        assert!(said.contains(&format!("unknown key `{key}` in `audit.sinks.siem`")), "{said}");
    }
}

#[test]
fn every_key_of_a_sink_is_documented_with_its_default() {
    let text = "audit: { sinks: { collector: { url: 'https://x' }, siem: { url: 'syslog+tls://x' } } }";
    let documented = documented();
    let mut seen = 0;
    for setting in read(text).expect("right").origins() {
        let Some((_, key)) = setting.key.strip_prefix("audit.sinks.").and_then(|rest| rest.split_once('.')) else {
            continue;
        };
        let entry = ["collector", "siem"].iter().find_map(|sink| documented.get(&format!("audit.sinks.{sink}.{key}")));
        let entry = entry.unwrap_or_else(|| panic!("`{key}` is not in conf/erp-access.yaml"));
        // What may be a token itself, pasted, is never shown.
        let shown = |said: &&str| !said.contains(' ') && setting.value != "[hidden]";
        if let Some(said) = entry.default.as_deref().filter(shown) {
            assert_eq!(said, setting.value, "{key}");
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen} defaults were compared");
}
