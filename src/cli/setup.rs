//! `init` and `key generate`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::arguments::Init;
use super::output::{Failure, line};
use super::run::world;
use crate::app::{self, Core};
use crate::config::{Config, Environment, Sources};
use crate::directory::By;
use crate::domain::{Actor, Authority, IssuedKind, IssuedSecret, Secret, SystemEntropy, UserId};
use crate::policy::schemas;
use crate::secrets::AppKey;
use crate::store::NewUser;

/// The policies that a new installation begins with.
const POLICIES: [(&str, &str); 6] = [
    ("endpoints/erp.yaml", include_str!("../../policies/endpoints/erp.yaml")),
    ("order-reader.yaml", include_str!("../../policies/order-reader.yaml")),
    ("order-writer.yaml", include_str!("../../policies/order-writer.yaml")),
    ("stock-always.yaml", include_str!("../../policies/stock-always.yaml")),
    ("schedule.yaml", include_str!("../../policies/schedule.yaml")),
    ("cases/samples.yaml", include_str!("../../policies/cases/samples.yaml")),
];

/// Writes a key to a new file with mode 0600, or to standard output.
pub(super) fn generate_key(file: Option<&Path>) -> Result<ExitCode, Failure> {
    let key = AppKey::generate(&SystemEntropy).map_err(Failure::other)?.to_text();
    match file {
        Some(file) => {
            write_new(file, &format!("{}\n", key.expose()), 0o600)?;
            line(&format!("{} holds a new APP_KEY; keep a copy apart from the databases", file.display()))?;
        }
        None => line(key.expose())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a configuration, policies, an `APP_KEY`, databases and the first administrator. Overwrites nothing.
pub(super) fn init(arguments: &Init) -> Result<ExitCode, Failure> {
    let folder = std::path::absolute(&arguments.directory).map_err(Failure::other)?;
    let file = folder.join("erp-access.yaml");
    if file.exists() {
        return Err(Failure::other(format!("`{}` exists already; nothing was changed", file.display())));
    }
    DirBuilder::new().recursive(true).mode(0o750).create(&folder).map_err(Failure::other)?;
    for (name, text) in POLICIES {
        write_new(&folder.join("policies").join(name), text, 0o640)?;
    }
    for schema in schemas() {
        write_new(&folder.join("policies").join(schema.name), &schema.text(), 0o640)?;
    }
    generate_key(Some(&folder.join("app.key")))?;
    let data = data_folder(arguments, &folder);
    write_new(&file, &configuration(arguments, &folder, &data), 0o640)?;
    let sources = Sources { file: file.clone(), overrides: Vec::new(), environment: Environment::default() };
    let config = Config::load(&sources).map_err(Failure::invalid)?;
    app::migrate(&config).map_err(Failure::other)?;
    let password = first_administrator(&config, &arguments.administrator)?;
    line(&format!("\nwritten: {}", file.display()))?;
    line("┌─ shown once, never again ───────────────────────────────────────────────")?;
    line(&format!("│ administrator  {}", arguments.administrator))?;
    line(&format!("│ first password {}   (serves 72 hours; to be changed at the first sign-in)", password.expose()))?;
    line("└─────────────────────────────────────────────────────────────────────────")?;
    line("next:")?;
    line(&format!("  export ERP_ACCESS_CONFIG={}", file.display()))?;
    line("  erp-access check --print          # what is in force, and where it comes from")?;
    line("  erp-access serve                  # start the gateway")?;
    line("  erp-access upstream secret set erp --username NAME     # the ERP's password, on standard input")?;
    Ok(ExitCode::SUCCESS)
}

fn data_folder(arguments: &Init, folder: &Path) -> PathBuf {
    match &arguments.data {
        Some(data) => std::path::absolute(data).unwrap_or_else(|_| data.clone()),
        None if folder == Path::new("/etc/erp-access") => PathBuf::from("/var/lib/erp-access"),
        None => folder.join("data"),
    }
}

fn configuration(arguments: &Init, folder: &Path, data: &Path) -> String {
    let socket = if folder == Path::new("/etc/erp-access") {
        "/run/erp-access/admin.sock".to_owned()
    } else {
        data.join("admin.sock").display().to_string()
    };
    format!(
        "# Written by `erp-access init`. Every key with its meaning and default is in conf/erp-access.yaml.
gateway:
  listen: [\"127.0.0.1:8080\"]
store:
  directory: {data}
policies:
  directory: policies
admin:
  socket: {socket}
app_key:
  file: app.key
upstreams:
  erp:
    peers: [\"{upstream}\"]
    session:
      steps:
        - method: POST
          path: /api/session
          json: {{ username: \"{{{{username}}}}\", password: \"{{{{password}}}}\" }}
          success: {{ status: [200], present: [/token] }}
          extract: {{ token: /token }}
      inject:
        headers:
          X-ERP-Session: \"{{{{token}}}}\"
      lost: {{ status: [401] }}
",
        data = data.display(),
        upstream = arguments.upstream,
    )
}

fn first_administrator(config: &Config, name: &str) -> Result<Secret, Failure> {
    let world = world();
    let core = Core::open(config, &world).map_err(Failure::other)?;
    let password = IssuedSecret::generate(IssuedKind::Password, &*world.entropy).map_err(Failure::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
    let hashed = runtime.block_on(core.control.hasher.hash(password.secret().clone())).map_err(Failure::other)?;
    let now = world.clock.now();
    let user = NewUser {
        id: UserId::new(now, &*world.entropy).map_err(Failure::other)?,
        name: name.to_owned(),
        authority: Authority::Admin,
        password: hashed,
        created_at: now,
    };
    core.control
        .directory
        .create_user(&By { actor: Actor::System, at: now, expected: None }, &user)
        .map_err(Failure::other)?;
    core.control.copy_changes();
    Ok(password.secret().clone())
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("`{}`: {error}", path.display()));
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
