//! Who is measured: each as one process on one core, with a plain listener and one with TLS and HTTP/2.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The core of the subject; clients and ERP have the other.
pub(crate) const CORE_OF_SUBJECT: usize = 0;
pub(crate) const CORE_OF_OTHERS: usize = 1;

/// A way to put something between clients and ERP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    BeforeRelay,
    AfterResponse,
    Nginx,
    NginxLua,
    Haproxy,
    HaproxyRules,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Bare,
        Self::BeforeRelay,
        Self::AfterResponse,
        Self::Nginx,
        Self::NginxLua,
        Self::Haproxy,
        Self::HaproxyRules,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare Pingora",
            Self::BeforeRelay => "ERP Access, before_relay",
            Self::AfterResponse => "ERP Access, after_response",
            Self::Nginx => "nginx, plain",
            Self::NginxLua => "nginx + Lua: token, routes, log",
            Self::Haproxy => "HAProxy, plain",
            Self::HaproxyRules => "HAProxy: token, routes, log",
        }
    }

    /// Whether it is us.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::BeforeRelay | Self::AfterResponse)
    }

    /// Whether it looks at who asks for what.
    pub(crate) fn decides(self) -> bool {
        self.is_ours() || matches!(self, Self::NginxLua | Self::HaproxyRules)
    }

    /// Whether it can be had here.
    pub(crate) fn is_there(self) -> bool {
        let there = |name: &str| Path::new("/usr/sbin").join(name).exists();
        match self {
            Self::Bare | Self::BeforeRelay | Self::AfterResponse => true,
            Self::Nginx => there("nginx"),
            Self::NginxLua => there("nginx") && Path::new(LUA_MODULE).exists(),
            Self::Haproxy | Self::HaproxyRules => there("haproxy"),
        }
    }
}

const LUA_MODULE: &str = "/usr/lib/nginx/modules/ngx_http_lua_module.so";

/// A process that is ended with this.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running subject.
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) token: String,
    pub(crate) process: Process,
    folder: tempfile::TempDir,
}

/// Where the ERP is, and what TLS is shown with.
pub(crate) struct Surroundings {
    pub(crate) erp: SocketAddr,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file.
    pub(crate) both: PathBuf,
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address")
}

/// The cores of the machine, as they were before this process was held to one of them.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// On a core of its own, where there is more than one.
pub(crate) fn on_core(core: usize, program: &Path) -> Command {
    if cores() < 2 || !Path::new("/usr/bin/taskset").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

pub(crate) fn wait_for(address: SocketAddr, process: &mut Process) {
    for _ in 0..3000 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        if let Ok(Some(status)) = process.0.try_wait() {
            panic!("it ended: {status}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nobody listens on {address}");
}

impl Subject {
    pub(crate) fn start(kind: Kind, around: &Surroundings, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (plain, tls) = (free_address(), free_address());
        let token =
            if kind.is_ours() { ours(kind, folder.path(), around, plain, tls, more) } else { "some-token".to_owned() };
        Self::start_in(kind, folder, around, plain, tls, token)
    }

    fn start_in(
        kind: Kind,
        folder: tempfile::TempDir,
        around: &Surroundings,
        plain: SocketAddr,
        tls: SocketAddr,
        token: String,
    ) -> Self {
        let mut command = match kind {
            Kind::Bare => {
                let mut command = on_core(CORE_OF_SUBJECT, &std::env::current_exe().expect("this program"));
                command.args(["bare", &plain.to_string(), &tls.to_string(), &around.erp.to_string()]);
                command.arg(&around.certificate).arg(&around.key);
                command
            }
            Kind::BeforeRelay | Kind::AfterResponse => {
                let mut command = on_core(CORE_OF_SUBJECT, Path::new(env!("CARGO_BIN_EXE_erp-access")));
                command.arg("--config").arg(folder.path().join("erp-access.yaml")).arg("serve");
                command
            }
            Kind::Nginx | Kind::NginxLua => {
                let file = folder.path().join("nginx.conf");
                std::fs::write(&file, nginx(kind, folder.path(), around, plain, tls)).expect("written");
                let mut command = on_core(CORE_OF_SUBJECT, Path::new("/usr/sbin/nginx"));
                command.arg("-c").arg(file).arg("-p").arg(folder.path());
                command
            }
            Kind::Haproxy | Kind::HaproxyRules => {
                let file = folder.path().join("haproxy.cfg");
                std::fs::write(&file, haproxy(kind, folder.path(), around, plain, tls)).expect("written");
                let mut command = on_core(CORE_OF_SUBJECT, Path::new("/usr/sbin/haproxy"));
                command.arg("-db").arg("-f").arg(file);
                command
            }
        };
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let mut process = Process(command.spawn().expect("it starts"));
        wait_for(plain, &mut process);
        wait_for(tls, &mut process);
        let mut subject = Self { kind, plain, tls, token, process, folder };
        if kind.is_ours() && subject.token.starts_with('{') {
            subject.token = fetch_token(plain, &subject.token);
        }
        subject
    }

    /// Ends it and starts it on the same files; how long until it answers.
    pub(crate) fn again(self, around: &Surroundings, ask: impl Fn(SocketAddr, &str) -> bool) -> (Self, Duration) {
        let Self { kind, plain, tls, token, process, folder } = self;
        stop(process);
        let began = Instant::now();
        let subject = Self::start_in(kind, folder, around, plain, tls, token);
        while !ask(subject.plain, &subject.token) {
            assert!(began.elapsed() < Duration::from_mins(1), "{} does not answer", kind.name());
        }
        (subject, began.elapsed())
    }

    /// Ends it, lets something be done with its files, and starts it again.
    pub(crate) fn meanwhile(
        self,
        around: &Surroundings,
        act: impl FnOnce(),
        ask: impl Fn(SocketAddr, &str) -> bool,
    ) -> Self {
        let Self { kind, plain, tls, token, process, folder } = self;
        stop(process);
        act();
        let subject = Self::start_in(kind, folder, around, plain, tls, token);
        while !ask(subject.plain, &subject.token) {
            std::thread::sleep(Duration::from_millis(100));
        }
        subject
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// CPU time that it has used, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).expect("its figures");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks: u32 = fields[11..13].iter().map(|ticks| ticks.parse::<u32>().expect("a number")).sum();
        f64::from(ticks) / 100.0
    }

    /// Files that it has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.0.id())).expect("its files").count()
    }

    /// A line of its status, in kB.
    pub(crate) fn memory(&self, line: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).expect("its status");
        let line = status.lines().find(|found| found.starts_with(line)).expect("a line");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }
}

/// In order, so that its files can be used again.
pub(crate) fn stop(mut process: Process) {
    let pid = rustix::process::Pid::from_child(&process.0);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    for _ in 0..1500 {
        if matches!(process.0.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Files and secrets of a gateway; what asks for a token, as JSON.
fn ours(kind: Kind, folder: &Path, around: &Surroundings, plain: SocketAddr, tls: SocketAddr, more: &str) -> String {
    let guarantee = if kind == Kind::BeforeRelay { "before_relay" } else { "after_response" };
    let policies = folder.join("policies");
    std::fs::create_dir_all(policies.join("endpoints")).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(policies.join(name), text).expect("written");
    let mut endpoints = String::from("version: 1\nupstream: erp\nendpoints:\n");
    for (id, method, path) in [
        ("item", "GET", "/v1/item"),
        ("item.post", "POST", "/v1/item"),
        ("download", "GET", "/v1/download"),
        ("orders", "GET", "/v1/orders/{id}"),
    ] {
        endpoints.push_str(&format!("  - {{ id: {id}, methods: [{method}], path: \"{path}\" }}\n"));
    }
    for number in 0..200 {
        endpoints
            .push_str(&format!("  - {{ id: other.{number}, methods: [GET], path: \"/v1/other{number}/{{id}}\" }}\n"));
    }
    write("endpoints/erp.yaml", &endpoints);
    write(
        "all.yaml",
        "version: 1\npolicy: all\nschedule: exempt\nrules:\n  - { id: all, allow: [item, item.post, download] }\n",
    );
    write(
        "some.yaml",
        "version: 1\npolicy: some\nschedule: exempt\nrules:\n  - { id: small, allow: [orders], when: 'request.params[\"id\"] != \"0\" && request.query[\"limit\"] == \"10\"' }\n  - { id: never, deny: [orders], when: 'request.query[\"archived\"] == \"true\"' }\n",
    );
    write(
        "few.yaml",
        "version: 1\npolicy: few\nschedule: exempt\nrules:\n  - { id: none, deny: [orders], when: 'principal.labels[\"tier\"] == \"none\"' }\n  - { id: more, allow: [\"other.*\"] }\n",
    );
    write("schedule.yaml", include_str!("../../policies/schedule.yaml"));
    let (certificate, key) = (around.certificate.display(), around.key.display());
    let config = format!(
        "server:\n  threads: 1\ngateway:\n  listen: [\"{tls}\"]\n  plain_listen: [\"{plain}\"]\n  tls:\n    certificates:\n      main: {{ chain_file: \"{certificate}\", key_file: \"{key}\" }}\n  limits: {{ requests_per_connection: 1000000 }}\nstore:\n  directory: data\nadmin:\n  socket: admin.sock\npolicies:\n  watch: false\napp_key:\n  file: app.key\ntokens:\n  lifetime: 1d\naudit:\n  guarantee: {guarantee}\n{more}upstreams:\n  erp:\n    peers: [\"{}\"]\n    session:\n      inject:\n        headers:\n          X-ERP-Session: \"{{{{api_key}}}}\"\n",
        around.erp
    );
    std::fs::write(folder.join("erp-access.yaml"), config).expect("written");
    run(folder, &["key", "generate", "--file", "app.key"], "");
    run(folder, &["db", "migrate"], "");
    run(folder, &["upstream", "secret", "set", "erp", "--api-key"], "erp-side-key");
    run(folder, &["account", "create", "acme", "--label", "tier=gold"], "");
    let grants = ["--grant", "all", "--grant", "some", "--grant", "few"];
    let issue = ["credential", "issue", "--account", "acme", "--name", "load", "-o", "json"];
    run(folder, &[&issue[..], &grants[..]].concat(), "")
}

fn run(folder: &Path, arguments: &[&str], input: &str) -> String {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_erp-access"))
        .current_dir(folder)
        .arg("--config")
        .arg(folder.join("erp-access.yaml"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{arguments:?} failed");
    String::from_utf8(output.stdout).expect("text")
}

fn fetch_token(address: SocketAddr, issued: &str) -> String {
    use std::io::{Read as _, Write as _};
    let issued: Value = serde_json::from_str(issued).expect("JSON");
    let text = |key: &str| issued[key].as_str().expect("a text");
    let basic = STANDARD.encode(format!("{}:{}", text("client_id"), text("password")));
    let mut stream = TcpStream::connect(address).expect("connected");
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic {basic}\r\nx-api-key: {}\r\nContent-Length: 0\r\n\r\n",
        text("api_key")
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.split("\"access_token\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token").to_owned()
}

fn nginx(kind: Kind, folder: &Path, around: &Surroundings, plain: SocketAddr, tls: SocketAddr) -> String {
    let folder = folder.display();
    let (module, init, check, log) = if kind == Kind::NginxLua {
        (
            format!("load_module /usr/lib/nginx/modules/ndk_http_module.so;\nload_module {LUA_MODULE};\n"),
            "lua_shared_dict tokens 10m;\n  init_by_lua_block {\n    local key = ngx.hmac_sha1('a key of 32 bytes, more or less..', 'some-token')\n    ngx.shared.tokens:set(key, 'acme')\n  }\n",
            "access_by_lua_block {\n      local sent = ngx.var.http_authorization\n      local token = sent and string.match(sent, '^Bearer (.+)$')\n      if not token then return ngx.exit(401) end\n      if not ngx.shared.tokens:get(ngx.hmac_sha1('a key of 32 bytes, more or less..', token)) then return ngx.exit(401) end\n      if ngx.var.route == '' then return ngx.exit(403) end\n    }\n",
            format!(
                "log_format row '$msec $request_id $remote_addr $request_method $uri $status $body_bytes_sent $request_time $upstream_response_time';\n  access_log {folder}/access.log row buffer=64k flush=1s;\n"
            ),
        )
    } else {
        (String::new(), "", "", "access_log off;\n".to_owned())
    };
    format!(
        "{module}daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{ worker_connections 4096; }}\nhttp {{\n  {init}  {log}  keepalive_requests 1000000;\n  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n  map \"$request_method $uri\" $route {{\n    default '';\n    'GET /v1/item' item;\n    'POST /v1/item' item;\n    'GET /v1/download' download;\n    '~^GET /v1/orders/[^/]+$' orders;\n  }}\n  upstream erp {{ server {}; keepalive 256; keepalive_requests 1000000; }}\n  server {{\n    listen {plain};\n    listen {tls} ssl http2;\n    ssl_certificate {};\n    ssl_certificate_key {};\n    location / {{\n      {check}      proxy_pass http://erp;\n      proxy_http_version 1.1;\n      proxy_set_header Connection '';\n    }}\n  }}\n}}\n",
        around.erp,
        around.certificate.display(),
        around.key.display(),
    )
}

fn haproxy(kind: Kind, folder: &Path, around: &Surroundings, plain: SocketAddr, tls: SocketAddr) -> String {
    let (rules, log) = if kind == Kind::HaproxyRules {
        let map = folder.join("tokens.map");
        // Keyed hashes, as the others have them.
        let key = openssl::pkey::PKey::hmac(b"a key").expect("a key");
        let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &key).expect("a signer");
        signer.update(b"some-token").expect("signed");
        let hash: String = signer.sign_to_vec().expect("signed").iter().map(|byte| format!("{byte:02X}")).collect();
        std::fs::write(&map, format!("{hash} acme\n")).expect("written");
        (
            format!(
                "  http-request set-var(txn.token) req.hdr(authorization),regsub(\"^Bearer \",\"\"),hmac(sha256,{}),hex\n  http-request deny deny_status 401 unless {{ var(txn.token),map({}) -m found }}\n  acl item path /v1/item\n  acl reads method GET\n  acl writes method POST\n  acl download path /v1/download\n  acl orders path_reg ^/v1/orders/[^/]+$\n  http-request deny deny_status 403 unless item reads or item writes or download reads or orders reads\n  unique-id-format %[uuid()]\n  log-format \"%Ts %ID %ci %HM %HPO %ST %B %Ta %Tr\"\n",
                STANDARD.encode(b"a key"),
                map.display()
            ),
            "  log stdout format raw local0\n",
        )
    } else {
        (String::new(), "")
    };
    let mode = if kind == Kind::HaproxyRules { "  log global\n" } else { "" };
    format!(
        "global\n  nbthread 1\n  maxconn 4096\n{log}defaults\n  mode http\n{mode}  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n  http-reuse always\nfrontend clients\n  bind {plain}\n  bind {tls} ssl crt {} alpn h2,http/1.1\n{rules}  default_backend erp\nbackend erp\n  server erp {} pool-max-conn -1\n",
        around.both.display(),
        around.erp
    )
}
