//! `server:` knows every setting of the Pingora that is linked: after an upgrade, a new one must be passed on or refused.

use erp_access::config::{Config, Sources};
use pingora_core::server::configuration::ServerConf;

#[test]
fn every_setting_of_pingora_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("erp-access.yaml");
    let settings = serde_yaml::to_value(ServerConf::default()).expect("YAML");
    for name in settings.as_mapping().expect("a mapping").keys() {
        let name = name.as_str().expect("a name");
        std::fs::write(&file, format!("server: {{ {name}: {{}} }}\n")).expect("written");
        let report = Config::load(&Sources::of_file(&file)).expect_err("no setting is a section").to_string();
        assert!(report.contains(&format!("`server.{name}` is ")) && !report.contains("unknown"), "{report}");
    }
}

#[test]
fn settings_passed_on_are_read_by_pingora() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("erp-access.yaml");
    std::fs::write(&file, "server: { threads: 7, upstream_keepalive_pool_size: 9 }\n").expect("written");
    let server = Config::load(&Sources::of_file(&file)).expect("right").server;
    let conf: ServerConf = serde_yaml::from_value(server.to_yaml()).expect("settings of Pingora");
    assert_eq!((conf.threads, conf.upstream_keepalive_pool_size, conf.max_retries), (7, 9, 3));
    assert_eq!((conf.grace_period_seconds, conf.graceful_shutdown_timeout_seconds), (Some(10), Some(5)));
}
