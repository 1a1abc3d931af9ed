//! A temporary gateway in front of the little ERP, with one account and one credential set.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use serde_json::Value;

use super::DemoError;
use super::little_erp::{LittleErp, LittleErpHandle, Settings};
use crate::app::{self, App, World};
use crate::config::{Config, Environment, Sources};
use crate::control::{Caller, Command, Control, NewSet, SecretText};
use crate::domain::{Actor, CredentialId, Secret};
use crate::proxy::Stop;
use crate::secrets::AppKey;

/// The sample policies, as they are shipped.
const POLICIES: [(&str, &str); 6] = [
    ("endpoints/erp.yaml", include_str!("../../policies/endpoints/erp.yaml")),
    ("order-reader.yaml", include_str!("../../policies/order-reader.yaml")),
    ("order-writer.yaml", include_str!("../../policies/order-writer.yaml")),
    ("stock-always.yaml", include_str!("../../policies/stock-always.yaml")),
    ("schedule.yaml", include_str!("../../policies/schedule.yaml")),
    ("cases/samples.yaml", include_str!("../../policies/cases/samples.yaml")),
];

/// A schedule for people who try the demo at night.
const ALWAYS: &str = "version: 1
default:
  time_zone: UTC
  windows:
    - { days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }
";

const USERNAME: &str = "gateway";

/// When the stage's API is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hours {
    /// As the sample policies say: Monday to Friday, 11:00 to 20:00 in Karachi.
    Office,
    /// At every hour.
    Always,
}

/// The credential set of the stage.
#[derive(Debug)]
pub struct StageCredential {
    /// The client id.
    pub id: CredentialId,
    /// The API password.
    pub password: Secret,
    /// The x-api-key.
    pub api_key: Secret,
}

/// A gateway in front of the little ERP. Everything of it is gone when it is dropped.
#[derive(Debug)]
pub struct Stage {
    /// Where the gateway listens.
    pub address: SocketAddr,
    /// Its operations.
    pub control: Arc<Control>,
    /// Its credential set.
    pub credential: StageCredential,
    erp: LittleErpHandle,
    stop: Stop,
    running: Option<JoinHandle<()>>,
    folder: PathBuf,
}

impl Stage {
    /// Starts the little ERP and the gateway, and issues the credential set.
    ///
    /// # Errors
    /// When something that it needs cannot be had.
    pub fn set(world: &World, hours: Hours) -> Result<Self, DemoError> {
        let folder = temporary_folder(world)?;
        let password = AppKey::generate(&*world.entropy).map_err(DemoError::other)?.to_text();
        let listener = TcpListener::bind("127.0.0.1:0").map_err(DemoError::other)?;
        let settings = Settings {
            clock: Arc::clone(&world.clock),
            entropy: Arc::clone(&world.entropy),
            ..Settings::new(USERNAME, password.clone())
        };
        let erp = LittleErp::start(listener, settings).map_err(DemoError::other)?;
        write_files(&folder, erp.address(), hours, world)?;
        let sources = Sources {
            file: folder.join("erp-access.yaml"),
            overrides: Vec::new(),
            environment: Environment::default(),
        };
        let config = Config::load(&sources).map_err(DemoError::other)?;
        app::migrate(&config).map_err(DemoError::other)?;
        let app = App::build(&config, world).map_err(DemoError::other)?;
        let address = app.addresses().first().copied().ok_or_else(|| DemoError::other("no listener"))?;
        let (control, stop) = (Arc::clone(app.control()), app.stop());
        let credential = issue(&control, password)?;
        let running = std::thread::spawn(move || {
            if let Err(error) = app.run() {
                log::error!("{error}");
            }
        });
        Ok(Self { address, control, credential, erp, stop, running: Some(running), folder })
    }

    /// The little ERP.
    #[must_use]
    pub fn erp(&self) -> &LittleErpHandle {
        &self.erp
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.now();
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Issues the credential set, and tells the gateway how to sign in.
fn issue(control: &Arc<Control>, erp_password: Secret) -> Result<StageCredential, DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DemoError::other)?;
    let run = |command| {
        let actor = Actor::Operator("demo".into());
        runtime.block_on(control.run(Caller::admin(actor), command)).map_err(DemoError::other)
    };
    let name = |text: &str| text.parse().map_err(|_| DemoError::other("a name"));
    run(Command::UpstreamSecretSet {
        upstream: "erp".parse().map_err(DemoError::other)?,
        account: None,
        username: Some(USERNAME.into()),
        password: Some(SecretText::new(erp_password)),
        api_key: None,
    })?;
    run(Command::AccountCreate { name: "acme".parse().map_err(DemoError::other)?, labels: Vec::new() })?;
    let issued = run(Command::CredentialIssue(Box::new(NewSet::bounded(
        "acme".parse().map_err(DemoError::other)?,
        "webshop",
        vec![name("order-reader")?],
    ))))?;
    let text =
        |key: &str| issued.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| DemoError::other(key));
    Ok(StageCredential {
        id: text("client_id")?.parse().map_err(DemoError::other)?,
        password: Secret::new(text("password")?),
        api_key: Secret::new(text("api_key")?),
    })
}

fn temporary_folder(world: &World) -> Result<PathBuf, DemoError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let id = crate::domain::RequestId::new(world.clock.now(), &*world.entropy).map_err(DemoError::other)?;
    let folder = std::env::temp_dir().join(format!("erp-access-demo-{id}"));
    std::fs::DirBuilder::new().mode(0o700).create(&folder).map_err(DemoError::other)?;
    Ok(folder)
}

fn write_files(folder: &Path, erp: SocketAddr, hours: Hours, world: &World) -> Result<(), DemoError> {
    for (name, text) in POLICIES {
        let text = if hours == Hours::Always && name == "schedule.yaml" { ALWAYS } else { text };
        write(&folder.join("policies").join(name), text)?;
    }
    let key = AppKey::generate(&*world.entropy).map_err(DemoError::other)?;
    write(&folder.join("app.key"), key.to_text().expose())?;
    let config = format!(
        "gateway:
  listen: [\"127.0.0.1:0\"]
store:
  directory: data
admin:
  socket: admin.sock
app_key:
  file: app.key
upstreams:
  erp:
    peers: [\"{erp}\"]
    session:
      steps:
        - path: /api/session
          json: {{ username: \"{{{{username}}}}\", password: \"{{{{password}}}}\" }}
          success: {{ status: [200], present: [/token] }}
          extract: {{ token: /token }}
      inject:
        headers:
          X-ERP-Session: \"{{{{token}}}}\"
"
    );
    write(&folder.join("erp-access.yaml"), &config)
}

fn write(path: &Path, text: &str) -> Result<(), DemoError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(DemoError::other)?;
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(DemoError::other)
}
