//! The `APP_KEY`: rotated while clients work and the process is killed, given up, lost.

use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use erp_access::control::{Bounds, Command, NewSet};
use erp_access::domain::{AccountId, Clock as _, Secret, SystemClock, SystemEntropy};
use erp_access::secrets::{AppKey, KeyRing};
use erp_access::store::{Change, Store, StoreSettings, Synchronous};
use erp_access::upstream::{SessionKey, StoreVault, UpstreamSecrets};
use serde_json::Value;

use crate::support::gateway::{Gateway, Setup};
use crate::support::http::{self, Connection};
use crate::support::prepared::{ERP_KEY, Prepared};
use crate::support::process::{self, Serving};
use crate::support::recorder::Recorder;
use crate::support::secrets::assert_nothing_secret;

fn keys_in(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("app.key")).expect("a key file");
    text.lines().map(str::to_owned).collect()
}

/// The table of `key status`.
fn status(folder: &Path) -> Vec<Value> {
    let shown = process::succeed(folder, &["key", "status", "-o", "json"], "");
    serde_json::from_str::<Value>(&shown).expect("JSON").as_array().expect("a list").clone()
}

fn rows(folder: &Path) -> String {
    process::succeed(folder, &["audit", "search", "--since", "1h", "-o", "json"], "")
}

fn failing(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = process::run(folder, arguments, "");
    assert!(!output.status.success(), "{arguments:?} succeeded");
    (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Secrets of many accounts at the ERP, so that a rotation has something to do.
fn fill(folder: &Path, count: usize) {
    let key = AppKey::parse(&Secret::new(keys_in(folder).remove(0))).expect("a key");
    let ring = Arc::new(KeyRing::new(&key, &[]).expect("derived"));
    let settings = StoreSettings {
        directory: folder.join("data"),
        synchronous: Synchronous::Normal,
        busy_timeout: Duration::from_secs(1),
        connections: 1,
    };
    let store = Arc::new(Store::open(&settings).expect("opened"));
    let vault = StoreVault::new(Arc::clone(&store), ring, Arc::new(SystemEntropy));
    let secret = Some(Secret::new("a-password-at-the-erp".into()));
    let secrets = UpstreamSecrets { username: secret.clone(), password: secret, ..UpstreamSecrets::default() };
    let change = Change {
        at: jiff::Timestamp::UNIX_EPOCH,
        actor: erp_access::domain::Actor::System,
        operation: "upstream.secret.set",
        subject: "erp".into(),
        account: None,
        credential: None,
        detail: None,
    };
    let upstream = "erp".parse().expect("a name");
    let filled = store.change(&change, |tx| {
        for _ in 0..count {
            let account = AccountId::new(change.at, &SystemEntropy).expect("entropy");
            let sealed = vault.seal_secrets(&SessionKey::own(&upstream, account), &secrets).expect("sealed");
            tx.put_upstream_secrets(&upstream, Some(account), &sealed, change.at)?;
        }
        Ok(())
    });
    filled.expect("filled");
}

/// Relays and asks for tokens until it is told to stop or the gateway is gone. An answer that is not the right one fails.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(prepared: &Prepared, address: SocketAddr, tokens: &[String]) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |job: Job| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut got = Vec::new();
                let Ok(mut connection) = Connection::try_open(address) else { return got };
                while !stop.load(Ordering::Relaxed) {
                    if connection.send(&job.request).is_err() {
                        break;
                    }
                    let Some(response) = connection.response(false) else { break };
                    assert_eq!(response.status, 200, "{}: {}", job.what, response.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                    got.extend(response.json()["access_token"].as_str().map(str::to_owned));
                }
                got
            })
        };
        let relay = |token: &String| {
            let bearer = format!("Bearer {token}");
            let headers = [("Authorization", bearer.as_str()), ("x-api-key", prepared.api_key.as_str())];
            Job { what: "a relay", request: http::render("GET", "/v1/orders/1", &headers, None) }
        };
        let headers = [("Authorization", prepared.basic.as_str()), ("x-api-key", prepared.api_key.as_str())];
        let ask = || Job { what: "a token", request: http::render("POST", "/oauth/token", &headers, Some(b"")) };
        let jobs = tokens.iter().map(relay).chain([ask(), ask()]);
        let clients = jobs.map(client).collect();
        Self { stop, answered, clients }
    }

    fn wait_for(&self, answers: usize) {
        while self.answered.load(Ordering::Relaxed) < answers
            && !self.clients.iter().all(std::thread::JoinHandle::is_finished)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The tokens that were issued.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().expect("no wrong answer")).collect()
    }
}

struct Job {
    what: &'static str,
    request: Vec<u8>,
}

fn relay(address: SocketAddr, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    http::once(address, "GET", "/v1/orders/1", &[("Authorization", &bearer)], None).status
}

/// Kills the gateway at moments that a seeded generator chooses, from the first instant of a rotation to after its end.
#[test]
fn rotated_under_load_and_killed_in_the_middle_nothing_is_lost() {
    const ROUNDS: usize = 14;
    let seed = 0x0ea7_5eed_u64;
    let mut random = seed;
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "tokens:\n  per_credential: 100000\n");
    let folder = prepared.folder.path();
    fill(folder, 400);
    let mut serving = Serving::start(folder);
    let mut tokens = vec![prepared.token(serving.address)];
    let (mut interrupted, mut completed) = (0, 0);
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The first runs to its end, whatever the machine: no request may fail because of it.
        let moment = (round > 0).then(|| Duration::from_micros((random >> 33) % 250_000));
        let load = Load::start(&prepared, serving.address, &tokens[..1]);
        load.wait_for(20);
        let rotating = std::thread::spawn({
            let folder = folder.to_owned();
            move || process::run(&folder, &["key", "rotate", "--yes"], "").status.success()
        });
        if let Some(moment) = moment {
            std::thread::sleep(moment);
            serving.kill();
            if rotating.join().expect("the command") {
                completed += 1;
            } else {
                interrupted += 1;
            }
            tokens.extend(load.end());
            serving = Serving::start(folder);
        } else {
            assert!(rotating.join().expect("the command"), "round {round}: the rotation failed");
            load.wait_for(200);
            tokens.extend(load.end());
        }
    }
    // Everything from before works, whichever key made it, and each token that anybody was given.
    assert!(tokens.len() > ROUNDS, "{} tokens", tokens.len());
    for token in &tokens {
        assert_eq!(relay(serving.address, token), 200, "seed {seed}: a token is lost");
    }
    tokens.push(prepared.token(serving.address));
    let reached = erp.take();
    assert!(
        reached.iter().all(|request| request.header("x-erp-session") == Some(ERP_KEY)),
        "another key reached the ERP"
    );
    // The starts have finished what was interrupted.
    let keys = finished(folder);
    assert!(keys.iter().all(|key| key["state"] != "missing"), "seed {seed}: {keys:?}");
    assert_eq!(keys[0]["sealed_values"], 400 * 2 + 1, "{keys:?}");
    assert_eq!(keys[0]["client_secrets"], 1, "the set's hashes moved with its last token: {keys:?}");
    let verified = process::succeed(folder, &["audit", "verify"], "");
    assert!(verified.contains("intact: "), "seed {seed}: {verified}");
    eprintln!("{interrupted} rotations were interrupted, {completed} ended before the kill, {} keys", keys.len());
    assert!(interrupted > 0, "no rotation was interrupted");
    assert!(serving.terminate());
    let mut secrets = keys_in(folder);
    assert_eq!(secrets.len(), keys.len());
    secrets.extend(tokens);
    assert_nothing_secret(folder, &secrets, "");
}

/// Waits until nothing is sealed with a former key.
fn finished(folder: &Path) -> Vec<Value> {
    for _ in 0..500 {
        let keys = status(folder);
        if keys.iter().skip(1).all(|key| key["sealed_values"] == 0 && key["state"] != "being replaced") {
            return keys;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the rotation does not end: {:?}", status(folder));
}

#[test]
fn a_former_key_is_given_up_only_when_nothing_depends_on_it() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    process::succeed(folder, &["key", "rotate", "--yes"], "");
    let keys = status(folder);
    let former = keys[1]["key"].as_str().expect("an id").to_owned();
    assert_eq!((&keys[0]["state"], &keys[1]["state"]), (&"in use".into(), &"kept for what it made".into()));
    assert_eq!((&keys[1]["client_secrets"], &keys[1]["live_tokens"]), (&1.into(), &1.into()));
    let retire = ["key", "retire", former.as_str(), "--yes"];
    let (code, error) = failing(folder, &retire);
    assert_eq!(code, 5);
    for part in ["1 pair of client secrets", "1 live token", "seals of the audit trail"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(relay(serving.address, &token), 200, "a refused act changes nothing");
    // The holder gets a token, which moves the hashes; the old token ends; the old rows go.
    prepared.token(serving.address);
    process::succeed(folder, &["token", "revoke", "--account", "acme"], "");
    let (code, error) = failing(folder, &["key", "retire", keys[0]["key"].as_str().expect("an id"), "--yes"]);
    assert!(code == 5 && error.contains("in use"), "{error}");
    let (code, error) = failing(folder, &["key", "retire", "00000000", "--yes"]);
    assert!(code == 4 && error.contains("key status"), "{error}");
    let recorded = rows(folder);
    assert!(recorded.contains("key.rotate") && recorded.contains("key.reseal"), "{recorded}");
    let now = SystemClock::default().now().to_string();
    process::succeed(folder, &["audit", "prune", "--older-than", &now, "--yes"], "");
    let (code, error) = failing(folder, &retire);
    assert!(code == 5 && error.contains("less than a minute ago"), "{error}");
    // A process that has not rotated it has nothing of it in progress.
    assert!(serving.terminate());
    let serving = Serving::start(folder);
    process::succeed(folder, &retire, "");
    assert_eq!(keys_in(folder).len(), 1);
    assert_eq!(status(folder).len(), 1);
    assert_eq!(relay(serving.address, &prepared.token(serving.address)), 200);
    assert!(rows(folder).contains("key.retire"));
    // With the key that is left alone, everything is there after a restart.
    assert!(serving.terminate());
    let serving = Serving::start(folder);
    assert_eq!(relay(serving.address, &prepared.token(serving.address)), 200);
    assert!(process::succeed(folder, &["audit", "verify"], "").contains("intact: "));
}

#[test]
fn a_key_that_is_put_above_the_old_one_by_hand_is_taken_over_by_the_next_start() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    assert!(serving.terminate());
    let file = folder.join("app.key");
    process::succeed(folder, &["key", "generate", "--above", file.to_str().expect("a path")], "");
    assert_eq!(keys_in(folder).len(), 2);
    let serving = Serving::start(folder);
    let keys = finished(folder);
    assert_eq!(keys[0]["sealed_values"], 1);
    assert_eq!(relay(serving.address, &token), 200);
    let rows = rows(folder);
    assert!(rows.contains("key.rotate") && rows.contains("key.reseal"), "{rows}");
}

#[test]
fn without_a_running_gateway_the_key_is_rotated_in_the_databases() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let said = process::succeed(folder, &["key", "rotate", "--yes"], "");
    assert!(said.contains("is in use in place of") && said.contains("1 values were sealed anew"), "{said}");
    assert_eq!(keys_in(folder).len(), 2);
    let serving = Serving::start(folder);
    assert_eq!(relay(serving.address, &prepared.token(serving.address)), 200);
}

#[test]
fn a_key_file_that_cannot_be_replaced_is_said_and_nothing_changes() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let file = folder.join("app.key");
    let (mode, before) = (std::fs::Permissions::from_mode, keys_in(folder));
    std::fs::set_permissions(&file, mode(0o644)).expect("set");
    let (_, error) = failing(folder, &["key", "rotate", "--yes"]);
    assert!(error.contains("is open to others"), "{error}");
    std::fs::set_permissions(&file, mode(0o600)).expect("set");
    // A folder in the place of the new file: not even root writes through it.
    std::fs::create_dir(folder.join(".app.key.new")).expect("created");
    let (code, error) = failing(folder, &["key", "rotate", "--yes"]);
    assert!(code == 5 && error.contains("key generate --above"), "{code}: {error}");
    assert_eq!(keys_in(folder), before);
    // From the environment it cannot be written at all.
    let config = folder.join("erp-access.yaml");
    let text = std::fs::read_to_string(&config).expect("read");
    std::fs::write(&config, text.replace("app_key:\n  file: app.key\n", "")).expect("written");
    let output = process::program()
        .env("ERP_ACCESS_APP_KEY", &before[0])
        .args(["--config", config.to_str().expect("a path"), "key", "rotate", "--yes"])
        .output()
        .expect("the program ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(5) && error.contains("comes from ERP_ACCESS_APP_KEY"), "{error}");
}

#[test]
fn after_a_lost_key_accounts_and_grants_stay_and_secrets_are_issued_anew() {
    let erp = Recorder::start();
    let mut prepared = Prepared::new(erp.address(), "");
    let folder = &prepared.folder.path().to_owned();
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    let abandon = ["key", "abandon", "--reason", "the disk burned", "--yes"];
    let (_, error) = failing(folder, &abandon);
    assert!(error.contains("a gateway runs here"), "{error}");
    assert!(serving.terminate());
    let (_, error) = failing(folder, &abandon);
    assert!(error.contains("nothing is lost"), "{error}");
    std::fs::remove_file(folder.join("app.key")).expect("removed");
    let key = AppKey::generate(&SystemEntropy).expect("entropy").to_text();
    let mut file = std::fs::File::options();
    let mut file = file.write(true).create_new(true).mode(0o600).open(folder.join("app.key")).expect("a file");
    std::io::Write::write_all(&mut file, key.expose().as_bytes()).expect("written");
    let (_, error) = failing(folder, &["serve"]);
    assert!(error.contains("A lost APP_KEY"), "{error}");
    let doctor = process::run(folder, &["doctor"], "");
    let shown = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.code() == Some(1) && shown.contains("A lost APP_KEY"), "{shown}");
    process::succeed(folder, &abandon, "");
    // What it printed, step by step.
    let serving = Serving::start(folder);
    assert_eq!(relay(serving.address, &token), 401);
    process::succeed(folder, &["upstream", "secret", "set", "erp", "--api-key"], ERP_KEY);
    let sets = process::succeed(folder, &["credential", "list", "-o", "json"], "");
    let id = serde_json::from_str::<Value>(&sets).expect("JSON")[0]["id"].as_str().expect("an id").to_owned();
    let missing = status(folder);
    assert!(missing.iter().any(|key| key["state"] == "missing" && key["client_secrets"] == 1), "{missing:?}");
    let secrets = folder.join("new.json");
    let arguments = ["credential", "rotate", &id, "--overlap", "0s", "--secrets-file"];
    process::succeed(folder, &[&arguments[..], &[secrets.to_str().expect("a path")]].concat(), "");
    let issued: Value = serde_json::from_slice(&std::fs::read(&secrets).expect("read")).expect("JSON");
    prepared.takes(&issued);
    assert_eq!(relay(serving.address, &prepared.token(serving.address)), 200);
    assert!(status(folder).iter().all(|key| key["client_secrets"] == 0 || key["state"] == "in use"));
    let rows = rows(folder);
    assert!(rows.contains("key.abandon") && rows.contains("the disk burned"), "{rows}");
}

#[test]
fn doctor_tells_of_grants_that_nothing_rested_on() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-key-of-grants");
    let set = gateway.issue("acme", &["order-reader", "order-writer"]);
    gateway.clock.advance(Duration::from_hours(24 * 91));
    let token = gateway.token(&set);
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
    gateway.audit("relay", 1);
    let found = gateway.operate(Command::Doctor).expect("examined");
    let unused = found.as_array().expect("a list").iter().filter(|finding| finding["check"] == "unused grants");
    let unused: Vec<_> = unused.map(|finding| finding["found"].as_str().expect("a text")).collect();
    assert!(unused.len() == 1 && unused[0].contains("`order-writer`"), "{unused:?}");
}

#[test]
fn doctor_tells_of_secrets_that_nobody_has_replaced_for_a_year() {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-key-of-last-year");
    let set = gateway.issue("acme", &["order-reader"]);
    let old = |gateway: &Gateway| -> Vec<String> {
        let found = gateway.operate(Command::Doctor).expect("examined");
        let old = found.as_array().expect("a list").iter().filter(|finding| finding["check"] == "old secrets");
        old.map(|finding| finding["found"].as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!(old(&gateway), Vec::<String>::new());
    gateway.clock.advance(Duration::from_hours(24 * 366));
    let found = old(&gateway);
    for part in ["the APP_KEY in use", "the secrets at `erp`", &set.id.to_string()] {
        assert!(found.iter().any(|text| text.contains(part)), "{part}: {found:?}");
    }
    gateway.operate(Command::KeyRotate).expect("rotated");
    assert!(!old(&gateway).iter().any(|text| text.contains("APP_KEY")), "it is new");
    // What is disabled may be enabled again.
    let new = NewSet {
        kind: Bounds::Unrestricted,
        reason: Some("data move".into()),
        expires_at: gateway.clock.now().checked_add(jiff::SignedDuration::from_hours(24)).ok(),
        ..NewSet::bounded("acme".parse().expect("a name"), "move", Vec::new())
    };
    let issued = gateway.operate(Command::CredentialIssue(Box::new(new))).expect("issued");
    let id = issued["id"].as_str().expect("an id").parse().expect("an id");
    gateway.operate(Command::CredentialDisable { id }).expect("disabled");
    let found = gateway.operate(Command::Doctor).expect("examined").to_string();
    assert!(found.contains("enabled again it may call everything"), "{found}");
}
