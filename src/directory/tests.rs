use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::domain::{
    AccountId, AccountName, Actor, Authority, CredentialId, Labels, ScheduleName, SystemEntropy, TokenId, UserId,
};
use crate::kill_switch::Scope;
use crate::schedule::{Held, Override};
use crate::secrets::{AppKey, HashPurpose, HashedPassword, KeyId, KeyRing};
use crate::store::{NewUser, RecordedChange, Resealed, SealedSecrets, Seq, StoreSettings, Synchronous, UserState};

const PASSWORD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdC1jYW5hcnk$aGFzaC1jYW5hcnk";
const NEW_HASH: &str = "$argon2id$v=19$m=19456,t=3,p=1$c2FsdC1jYW5hcnk$aGFzaC1jYW5hcnk";
/// What no row may hold, in no form in which it could get there.
const SECRETS: &[&str] = &["c2FsdC1jYW5hcnk", "aGFzaC1jYW5hcnk", "sealed-canary", "[115,101,97,108"];

fn directory(folder: &Path) -> Directory {
    let settings = StoreSettings {
        directory: folder.join("data"),
        synchronous: Synchronous::Normal,
        busy_timeout: Duration::from_millis(200),
        connections: 2,
    };
    Store::migrate(&settings).expect("migrated");
    let store = Arc::new(Store::open(&settings).expect("opened"));
    Directory::load(store, Timestamp::UNIX_EPOCH, Arc::new(SystemEntropy)).expect("loaded")
}

fn hash(ring: &KeyRing, text: &[u8]) -> KeyedHash {
    ring.keyed_hash(HashPurpose::Token, text).0
}

fn by() -> By {
    By { actor: Actor::Operator("tester".into()), at: Timestamp::UNIX_EPOCH, expected: None }
}

fn token(directory: &Directory, hash: KeyedHash, credential: CredentialId) -> TokenId {
    let id = TokenId::new(Timestamp::UNIX_EPOCH, &SystemEntropy).expect("entropy");
    let end = Timestamp::from_second(3600).expect("a time");
    let api_key = directory.snapshot().credential(credential).expect("there").api_key_hash;
    let entry = TokenEntry::new(id, credential, Timestamp::UNIX_EPOCH, end);
    let key = KeyId::from_bytes([0; 4]);
    directory.insert_token((hash, key), entry, |set| set.pair_of(&api_key, entry.issued_at())).expect("inserted");
    id
}

fn certificates(directory: &Directory, name: &AccountName, id: CredentialId) {
    let (by, certificates) = (by(), vec![crate::domain::Fingerprint::from_bytes([7; 32])]);
    directory.demand_of_account(&by, name, certificates.clone()).expect("demanded");
    directory.demand_of_credential(&by, id, certificates).expect("demanded");
}

/// Carries each operation out at least once.
fn everything(directory: &Directory, ring: &KeyRing) {
    let by = by();
    let name: AccountName = "acme".parse().expect("a name");
    let policy: PolicyName = "order-reader".parse().expect("a name");
    let (account, _) = directory.create_account(&by, &name, Labels::default()).expect("created");
    let suspended = AccountState::Suspended { reason: "late-payment".into(), at: by.at };
    directory.set_account_state(&by, &name, suspended).expect("suspended");
    directory.set_account_state(&by, &name, AccountState::Active).expect("activated");
    directory.label_account(&by, &name, &["tier=gold".parse().expect("a label")]).expect("labelled");
    let new = NewCredential {
        account: account.id,
        name: "shop".into(),
        kind: CredentialKind::Bounded,
        reason: None,
        purpose: Some("the till".into()),
        clients: Vec::new(),
        expires_at: None,
        secrets: hashed(PASSWORD_HASH, hash(ring, b"key")),
        grants: vec![policy.clone()],
    };
    let (credential, _) = directory.issue_credential(&by, new).expect("issued");
    directory.renew_hashes(&by, &credential, hashed(NEW_HASH, hash(ring, b"key"))).expect("renewed");
    let id = credential.id;
    let end = Timestamp::from_second(60).expect("a time");
    let until = Some(end);
    let change = CredentialChange { purpose: Some("the other till".into()), ..CredentialChange::default() };
    directory.update_credential(&by, id, change).expect("updated");
    let new = NewSecrets { secrets: hashed(NEW_HASH, hash(ring, b"new key")), overlap_until: until };
    directory.rotate_credential(&by, id, new).expect("rotated");
    directory.end_rotation(&by, id).expect("ended");
    directory.add_grant(&by, id, Grant { policy: policy.clone(), expires_at: until }).expect("granted");
    directory.remove_grant(&by, id, &policy).expect("removed");
    let revoked = token(directory, hash(ring, b"one"), id);
    directory.revoke_token(&by, revoked).expect("revoked");
    token(directory, hash(ring, b"two"), id);
    directory.revoke_tokens_of(&by, id).expect("revoked");
    for state in [CredentialState::Disabled, CredentialState::Active, CredentialState::Revoked] {
        directory.set_credential_state(&by, id, state).expect("changed");
    }
    let engaged = Engaged {
        scope: Scope::All,
        message: Some("stock-taking".into()),
        reason: "inventory".into(),
        by: "operator:tester".into(),
        at: by.at,
        until: None,
    };
    let briefly = Engaged {
        scope: "account:acme".parse().expect("a scope"),
        until,
        reason: "for-a-minute".into(),
        ..engaged.clone()
    };
    directory.engage(&by, briefly).expect("engaged");
    directory.remove_ended_kill_switches(&By { at: end, ..by.clone() }).expect("removed");
    directory.engage(&by, engaged).expect("engaged");
    directory.release(&by, &Scope::All, "inventory-is-over").expect("released");
    overrides_of_a_schedule(directory);
    let user_id = UserId::new(by.at, &SystemEntropy).expect("entropy");
    let user = NewUser {
        id: user_id,
        name: "anna".into(),
        authority: Authority::Admin,
        password: password(PASSWORD_HASH),
        created_at: by.at,
    };
    directory.create_user(&by, &user).expect("created");
    let second = NewUser {
        id: UserId::new(by.at, &SystemEntropy).expect("entropy"),
        name: "bert".into(),
        authority: Authority::Auditor,
        password: password(PASSWORD_HASH),
        created_at: by.at,
    };
    directory.create_user(&by, &second).expect("created");
    directory.set_user_authority(&by, "bert", Authority::Admin).expect("promoted");
    directory.set_user_state(&by, "anna", UserState::Disabled).expect("disabled");
    directory.set_user_state(&by, "anna", UserState::Active).expect("enabled");
    directory.reset_password(&by, "anna", &password(NEW_HASH)).expect("reset");
    let anna = directory.store.user_named("anna").expect("read").expect("a user");
    directory.set_own_password(&by, &anna, &password(NEW_HASH), None).expect("set");
    let codes = [(hash(ring, b"recovery-code"), ring.current_id())];
    directory.set_totp(&by, &anna, (b"sealed-canary", 1), &codes).expect("set");
    directory.reset_totp(&by, "anna").expect("reset");
    let limits = Some(crate::domain::Limits::new(None, Some(3), None));
    directory.limit_account(&by, &name, limits).expect("limited");
    directory.limit_credential(&by, id, limits).expect("limited");
    certificates(directory, &name, id);
    accounts(directory);
    let new = NewOperatorKey {
        name: "ticket-system".into(),
        authority: Authority::Client(account.id),
        hash: (hash(ring, b"operator-key"), ring.current_id()),
        clients: vec!["10.0.0.0/8".parse().expect("a network")],
        expires_at: Timestamp::from_second(3600).expect("a time"),
    };
    let (key, _) = directory.issue_operator_key(&by, new).expect("issued");
    directory.revoke_operator_key(&by, key.id).expect("revoked");
    secrets_at_an_upstream(directory, account.id);
    keys(directory, ring);
}

fn keys(directory: &Directory, ring: &KeyRing) {
    let former = KeyId::from_bytes([0; 4]);
    directory.rotate_key(&by(), former, ring.current_id()).expect("rotated");
    let done = Resealed { moved: 1, unreadable: 0 };
    directory.end_key_rotation(&by(), former, ring, done).expect("ended");
    directory.retire_key(&by(), former).expect("retired");
}

fn password(hash: &str) -> HashedPassword {
    HashedPassword { hash: hash.into(), key: KeyId::from_bytes([0; 4]) }
}

fn hashed(password_hash: &str, api_key_hash: KeyedHash) -> HashedSecrets {
    HashedSecrets { password_hash: password_hash.into(), api_key_hash, hash_key: KeyId::from_bytes([0; 4]) }
}

fn accounts(directory: &Directory) {
    let by = by();
    let (name, new): (AccountName, AccountName) =
        ("globex".parse().expect("a name"), "initech".parse().expect("a name"));
    directory.create_account(&by, &name, Labels::default()).expect("created");
    directory.rename_account(&by, &name, &new).expect("renamed");
    directory.set_contacts(&by, &new, vec!["it@initech.test".into()]).expect("set");
    directory.delete_account(&by, &new).expect("deleted");
}

fn overrides_of_a_schedule(directory: &Directory) {
    let by = by();
    directory.hold(&by, held(Held::Open, 60)).expect("held");
    directory.hold(&by, held(Held::Open, 90)).expect("held");
    directory.hold(&by, held(Held::Closed, 120)).expect("held");
    directory.lift(&by, &default_name(), Some(Held::Open), "counted-already").expect("lifted");
    let later = By { at: Timestamp::from_second(120).expect("a time"), ..by };
    directory.remove_ended_overrides(&later).expect("removed");
}

fn default_name() -> ScheduleName {
    "default".parse().expect("a name")
}

fn held(held: Held, until: i64) -> Override {
    Override {
        schedule: default_name(),
        held,
        until: Timestamp::from_second(until).expect("a time"),
        reason: format!("held-{held}"),
        by: "operator:tester".into(),
        at: Timestamp::UNIX_EPOCH,
    }
}

fn secrets_at_an_upstream(directory: &Directory, account: AccountId) {
    let upstream = "erp".parse().expect("a name");
    let sealed = |username: bool| SealedSecrets {
        username: username.then(|| b"sealed-canary-1".to_vec()),
        password: Some(b"sealed-canary-2".to_vec()),
        api_key: None,
        version: 0,
    };
    directory.put_upstream_secrets(&by(), &upstream, Some(account), &sealed(false)).expect("set");
    directory.put_upstream_secrets(&by(), &upstream, Some(account), &sealed(true)).expect("set");
    directory.remove_upstream_secrets(&by(), &upstream, account).expect("removed");
}

/// Every text in the sources of this folder that is the name of an operation.
fn operations() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/directory");
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder).expect("the folder") {
        let path = file.expect("a file").path();
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(path).expect("a source");
        let is_name = |text: &&str| {
            text.contains('.') && text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'-'))
        };
        found.extend(text.split('"').filter(is_name).map(str::to_owned));
    }
    found
}

fn detail(change: &RecordedChange) -> Value {
    let detail = change.detail.as_deref().unwrap_or_else(|| panic!("{} has no detail", change.operation));
    serde_json::from_str(detail).expect("JSON")
}

#[test]
fn every_change_records_what_was_and_what_is_and_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = directory(folder.path());
    let ring = KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived");
    everything(&directory, &ring);
    let changes = directory.store.changes_after(Seq(0), 100).expect("read");
    let done: BTreeSet<_> = changes.iter().map(|change| change.operation.clone()).collect();
    assert_eq!(done, operations(), "an operation that this test does not carry out");
    for change in &changes {
        let told = detail(change);
        assert!(told.get("before").is_some() && told.get("after").is_some(), "{}: {told}", change.operation);
        assert_ne!(told["before"], told["after"], "{}", change.operation);
        assert_eq!(change.actor, "operator:tester");
        let text = told.to_string();
        assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{}: {text}", change.operation);
    }
    let reasons: Vec<_> =
        changes.iter().filter_map(|change| detail(change)["reason"].as_str().map(str::to_owned)).collect();
    assert_eq!(
        reasons,
        [
            "late-payment",
            "for-a-minute",
            "inventory",
            "inventory-is-over",
            "held-open",
            "held-open",
            "held-closed",
            "counted-already",
        ]
    );
}

#[test]
fn a_change_tells_the_value_that_it_replaces() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = directory(folder.path());
    let ring = KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived");
    everything(&directory, &ring);
    let changes = directory.store.changes_after(Seq(0), 100).expect("read");
    let told = |operation: &str| {
        let change = changes.iter().rfind(|change| change.operation == operation);
        detail(change.unwrap_or_else(|| panic!("no {operation}")))
    };
    assert_eq!(told("account.activate")["before"]["reason"], "late-payment");
    assert_eq!(told("account.activate")["after"]["state"], "active");
    assert_eq!(told("credential.rehash")["before"]["hashing"], "argon2id v=19 m=19456,t=2,p=1");
    assert_eq!(told("credential.revoke")["before"]["state"], "active");
    assert_eq!(told("grant.add")["before"]["expires_at"], Value::Null);
    assert_eq!(told("grant.add")["after"]["expires_at"], "1970-01-01T00:01:00Z");
    assert_eq!(told("token.revoke-all")["before"]["live_tokens"], 1);
    assert_eq!(told("kill.release")["before"]["message"], "stock-taking");
    assert_eq!(told("upstream.secret.set")["before"]["username"], "unset");
    assert_eq!(told("upstream.secret.set")["after"]["username"], "set");
}

#[test]
fn an_override_is_in_force_at_once_survives_a_restart_and_is_lifted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = directory(folder.path());
    directory.hold(&by(), held(Held::Open, 60)).expect("held");
    let snapshot = directory.snapshot();
    assert!(snapshot.overrides().deciding(&default_name(), Timestamp::UNIX_EPOCH).is_some());
    let again = Directory::load(Arc::clone(&directory.store), Timestamp::UNIX_EPOCH, Arc::new(SystemEntropy));
    let again = again.expect("loaded");
    let snapshot = again.snapshot();
    let known = snapshot.overrides().of(&default_name(), Held::Open).expect("kept");
    assert_eq!(*known, held(Held::Open, 60));
    again.lift(&by(), &default_name(), None, "over").expect("lifted");
    let error = again.lift(&by(), &default_name(), None, "over").expect_err("nothing is left");
    assert!(matches!(error, ChangeError::NotFound(_)), "{error}");
    assert!(again.store.overrides().expect("read").is_empty());
}

#[test]
fn an_override_whose_time_is_over_is_not_lifted_but_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = directory(folder.path());
    directory.hold(&by(), held(Held::Closed, 60)).expect("held");
    let later = By { at: Timestamp::from_second(60).expect("a time"), ..by() };
    assert!(directory.lift(&later, &default_name(), None, "over").is_err());
    assert_eq!(directory.remove_ended_overrides(&by()).expect("looked"), 0, "it is in force still");
    assert_eq!(directory.remove_ended_overrides(&later).expect("removed"), 1);
    assert!(directory.store.overrides().expect("read").is_empty());
}

#[test]
fn a_kill_switch_on_the_new_name_of_an_account_cuts_what_began_under_the_old_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = directory(folder.path());
    let ring = KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived");
    let (old, new): (AccountName, AccountName) = ("acme".parse().expect("a name"), "globex".parse().expect("a name"));
    let (account, _) = directory.create_account(&by(), &old, Labels::default()).expect("created");
    let set = NewCredential {
        account: account.id,
        name: "shop".into(),
        kind: CredentialKind::Bounded,
        reason: None,
        purpose: None,
        clients: Vec::new(),
        expires_at: None,
        secrets: hashed(PASSWORD_HASH, hash(&ring, b"key")),
        grants: Vec::new(),
    };
    let (credential, _) = directory.issue_credential(&by(), set).expect("issued");
    let principal = Principal {
        token: token(&directory, hash(&ring, b"token"), credential.id),
        credential: credential.id,
        account: account.id,
    };
    let upstream = "erp".parse().expect("a name");
    let holder = Holder { principal: &principal, policy: None, upstream: &upstream };
    let cutting = CutInFlight::new(&[CutBy::Kill]);
    let holds = || directory.still_permitted(&holder, cutting, Timestamp::UNIX_EPOCH);
    directory.rename_account(&by(), &old, &new).expect("renamed");
    assert!(holds().is_ok());
    let engaged = Engaged {
        scope: Scope::Account(new),
        message: None,
        reason: "incident".into(),
        by: "operator:tester".into(),
        at: Timestamp::UNIX_EPOCH,
        until: None,
    };
    directory.engage(&by(), engaged).expect("engaged");
    assert!(matches!(holds(), Err(Cut::KillSwitch(_))));
}
