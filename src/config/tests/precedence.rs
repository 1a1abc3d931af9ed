//! Flag > environment > file > default, and where each value came from.

use super::super::Admin;
use super::{environment, load, read, resolve, setting, sources};

const FILE: &str = "log:\n  level: warn\n  format: json\ngateway:\n  listen: [127.0.0.1:1]\n";

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let (folder, mut sources) = sources(FILE);
    sources.environment =
        environment(&[("ERP_ACCESS_LOG__LEVEL", "error"), ("ERP_ACCESS_GATEWAY__LISTEN", "127.0.0.1:2")]);
    sources.overrides = vec![("log.level".into(), "info".into()), ("log.level".into(), "debug".into())];
    let config = load(&sources, resolve).expect("right");
    let file = folder.path().join("test.yaml");
    assert_eq!(setting(&config, "log.level"), ("debug", "flag".into()));
    assert_eq!(
        setting(&config, "gateway.listen"),
        ("[\"127.0.0.1:2\"]", "environment ERP_ACCESS_GATEWAY__LISTEN".into())
    );
    assert_eq!(setting(&config, "log.format"), ("json", format!("{}:3", file.display())));
    assert_eq!(setting(&config, "tokens.lifetime"), ("15m", "default".into()));
}

#[test]
fn override_reaches_into_sections_that_the_file_does_not_have() {
    let (_folder, mut sources) = sources("");
    sources.environment = environment(&[("ERP_ACCESS_UPSTREAMS__ERP__PEERS", "[erp.internal:80]")]);
    sources.overrides = vec![("upstreams.erp.timeouts".into(), "{ read: 5s }".into())];
    let config = load(&sources, resolve).expect("right");
    let erp = config.upstreams.values().next().expect("one");
    assert_eq!((erp.peers.len(), erp.timeouts.read.as_secs(), erp.host.as_str()), (2, 5, "erp.internal:80"));
}

#[test]
fn wrong_variables_and_flags_are_reported_by_name_without_their_value() {
    let (_folder, mut sources) = sources("store: 5\n");
    sources.environment = environment(&[
        ("ERP_ACCESS_GATEWAY_LISTEN", "127.0.0.1:2"),
        ("ERP_ACCESS_LOG__LEVL", "hunter2"),
        ("ERP_ACCESS_TOKENS__LIFETIME", "hunter2"),
        ("ERP_ACCESS_SERVICE_HOST", "of somebody else"),
        ("ERP_ACCESS_APP_KEY", "hunter2"),
    ]);
    sources.overrides = vec![("store.directory".into(), "/x".into()), ("log.format".into(), "[".into())];
    let report = load(&sources, resolve).expect_err("wrong").to_string();
    for part in [
        "`ERP_ACCESS_GATEWAY_LISTEN` sets nothing",
        "`ERP_ACCESS_GATEWAY__LISTEN`",
        "unknown key `levl` in `log`",
        "--> environment variable ERP_ACCESS_LOG__LEVL",
        "`tokens.lifetime` is not a duration",
        "`store.directory` cannot be set",
        "--> flag --set log.format",
    ] {
        assert!(report.contains(part), "no `{part}` in:\n{report}");
    }
    assert!(!report.contains("hunter2") && !report.contains("SERVICE_HOST"), "{report}");
}

#[test]
fn printed_table_names_value_and_origin_and_hides_secrets() {
    let text = "\
upstreams:
  erp:
    peers: [erp.internal:80]
    session:
      steps:
        - path: /login
          headers: { X-Token: hunter2 }
          json: { user: \"{{username}}\", password: hunter2 }
";
    let config = read(text).expect("right");
    let table = config.print();
    assert!(!table.contains("hunter2"), "{table}");
    for key in ["gateway.limits.keep_alive", "upstreams.erp.session.steps[0].path", "server.threads"] {
        assert!(table.lines().any(|line| line.starts_with(key) && line.contains(" # ")), "no `{key}` in:\n{table}");
    }
    assert!(table.contains("test.yaml:6") && table.contains("# default"), "{table}");
}

#[test]
fn admin_socket_alone_is_read_from_a_file_with_other_mistakes() {
    let (_folder, sources) = sources("admin: { socket: here.sock }\nupstreams: { erp: 5 }\n");
    assert!(Admin::load(&sources).expect("right").socket.ends_with("here.sock"));
    let (_folder, sources) = super::sources("admin: { sockt: x }\n");
    assert!(Admin::load(&sources).is_err());
}
