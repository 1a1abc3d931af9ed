//! A gateway's files in a temporary folder, shared by the benches.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use erp_access::app::World;
use erp_access::config::{Config, Environment, Sources};
use erp_access::domain::{SystemClock, SystemEntropy};

/// The machine's clock and randomness.
pub(crate) fn world() -> World {
    World { clock: Arc::new(SystemClock::default()), entropy: Arc::new(SystemEntropy) }
}

/// Configuration and policies for an ERP at `erp`: `endpoints` endpoints, one policy that allows them all.
pub(crate) fn files(folder: &Path, erp: SocketAddr, endpoints: usize, audit: &str) -> Config {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    };
    let list: Vec<String> =
        (0..endpoints).map(|n| format!("  - {{ id: e{n}, methods: [GET], path: '/v1/things{n}/{{id}}' }}")).collect();
    let list = list.join("\n");
    let ids: Vec<String> = (0..endpoints).map(|n| format!("e{n}")).collect();
    let rules =
        format!("version: 1\npolicy: all\nschedule: exempt\nrules:\n  - {{ id: all, allow: [{}] }}\n", ids.join(", "));
    let conditioned = "version: 1\npolicy: conditioned\nschedule: exempt\nrules:\n  - { id: one, allow: [e0], when: 'request.query[\"archived\"] != \"true\"' }\n";
    write("policies/endpoints/erp.yaml", &format!("version: 1\nupstream: erp\nendpoints:\n{list}\n"));
    write("policies/all.yaml", &rules);
    write("policies/schedule.yaml", "version: 1\ndefault:\n  time_zone: UTC\n  windows: []\n");
    write("policies/conditioned.yaml", conditioned);
    write("app.key", "base64:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
    write(
        "erp-access.yaml",
        &format!(
            "gateway:\n  listen: [\"127.0.0.1:0\"]\nstore:\n  directory: data\nadmin:\n  socket: admin.sock\npolicies:\n  watch: false\napp_key:\n  file: app.key\n{audit}upstreams:\n  erp:\n    peers: [\"{erp}\"]\n    session:\n      inject:\n        headers:\n          X-ERP-Session: \"{{{{api_key}}}}\"\n"
        ),
    );
    let sources =
        Sources { file: folder.join("erp-access.yaml"), overrides: Vec::new(), environment: Environment::default() };
    let config = Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    erp_access::app::migrate(&config).expect("migrated");
    config
}
