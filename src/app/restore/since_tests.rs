use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::*;
use crate::directory::{
    AccountState, By, CredentialChange, CredentialKind, Directory, Grant, HashedSecrets, NewCredential, NewOperatorKey,
    NewSecrets,
};
use crate::domain::{Actor, Labels, OperatorKeyId, SystemEntropy, UserId};
use crate::kill_switch::Scope;
use crate::secrets::{HashedPassword, KeyId, KeyedHash};
use crate::store::{NewUser, Seq, Store, StoreSettings, Synchronous, UserState};

const SETS: usize = 3;

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).expect("a time")
}

fn after(seconds: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_secs(seconds)).expect("a time")
}

fn by() -> By {
    By { actor: Actor::Operator("tester".into()), at: now(), expected: None }
}

struct State {
    store: Arc<Store>,
    directory: Directory,
}

impl State {
    fn open(folder: &Path) -> Self {
        let settings = StoreSettings {
            directory: folder.to_owned(),
            synchronous: Synchronous::Normal,
            busy_timeout: Duration::from_secs(1),
            connections: 2,
        };
        Store::migrate(&settings).expect("migrated");
        let store = Arc::new(Store::open(&settings).expect("opened"));
        let directory = Directory::load(Arc::clone(&store), now(), Arc::new(SystemEntropy)).expect("loaded");
        Self { store, directory }
    }

    fn restored(&self) -> Restored<'_> {
        Restored { directory: &self.directory, store: &self.store, now: now() }
    }

    fn sets(&self) -> Vec<CredentialId> {
        self.directory.snapshot().credentials().into_iter().map(|set| set.id).collect()
    }

    fn set(&self, number: usize) -> CredentialId {
        self.sets()[number % SETS]
    }

    fn key(&self) -> OperatorKeyId {
        self.directory.snapshot().operator_keys().next().expect("a key").id
    }

    /// Two accounts with sets that hold policies, users, an operator key.
    fn fill(&self) {
        let directory = &self.directory;
        for name in ["acme", "globex"] {
            directory.create_account(&by(), &name.parse().expect("a name"), Labels::default()).expect("created");
        }
        let account = directory.snapshot().accounts()[0].id;
        for number in 0..SETS {
            let new = NewCredential {
                account,
                name: format!("set-{number}"),
                kind: CredentialKind::Bounded,
                reason: None,
                purpose: None,
                clients: Vec::new(),
                expires_at: None,
                secrets: hashed(number),
                grants: vec![policy(0), policy(1)],
            };
            directory.issue_credential(&by(), new).expect("issued");
        }
        for name in USERS {
            let id = UserId::new(now(), &SystemEntropy).expect("entropy");
            let (name, created_at) = (name.to_owned(), now());
            let user = NewUser { id, name, authority: Authority::Admin, password: password(), created_at };
            directory.create_user(&by(), &user).expect("created");
        }
        let key = NewOperatorKey {
            name: "tickets".into(),
            authority: Authority::Operator,
            hash: (KeyedHash::from_bytes([9; 32]), KeyId::from_bytes([0; 4])),
            clients: Vec::new(),
            expires_at: after(1000),
        };
        directory.issue_operator_key(&by(), key).expect("issued");
    }
}

const USERS: [&str; 3] = ["anna", "bert", "carl"];

fn policy(number: usize) -> PolicyName {
    format!("policy-{number}").parse().expect("a name")
}

fn password() -> HashedPassword {
    HashedPassword { hash: "x".into(), key: KeyId::from_bytes([0; 4]) }
}

fn hashed(number: usize) -> HashedSecrets {
    let mut hash = [1; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    HashedSecrets {
        password_hash: format!("hash {number}"),
        api_key_hash: KeyedHash::from_bytes(hash),
        hash_key: KeyId::from_bytes([0; 4]),
    }
}

/// Something that an operator does.
#[derive(Debug, Clone)]
enum Act {
    SetState(usize, CredentialState),
    Rotate(usize, bool),
    EndRotation(usize),
    Reach(usize, Option<i64>, bool),
    Grant(usize, usize, Option<i64>),
    Remove(usize, usize),
    Account(bool),
    Key,
    User(usize, bool),
    Role(usize, bool),
    Password(usize),
    Kill(bool, bool),
    Release(bool),
    Close(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let set = 0..SETS;
    let ends = || prop::option::of(10_i64..100);
    prop_oneof![
        (set.clone(), any::<bool>()).prop_map(|(set, disabled)| {
            Act::SetState(set, if disabled { CredentialState::Disabled } else { CredentialState::Active })
        }),
        set.clone().prop_map(|set| Act::SetState(set, CredentialState::Revoked)),
        (set.clone(), any::<bool>()).prop_map(|(set, overlap)| Act::Rotate(set, overlap)),
        set.clone().prop_map(Act::EndRotation),
        (set.clone(), ends(), any::<bool>()).prop_map(|(set, end, clients)| Act::Reach(set, end, clients)),
        (set.clone(), 0_usize..3, ends()).prop_map(|(set, policy, end)| Act::Grant(set, policy, end)),
        (set, 0_usize..3).prop_map(|(set, policy)| Act::Remove(set, policy)),
        any::<bool>().prop_map(Act::Account),
        prop::strategy::Just(Act::Key),
        (0..USERS.len(), any::<bool>()).prop_map(|(user, on)| Act::User(user, on)),
        (0..USERS.len(), any::<bool>()).prop_map(|(user, on)| Act::Role(user, on)),
        (0..USERS.len()).prop_map(Act::Password),
        (any::<bool>(), any::<bool>()).prop_map(|(all, ends)| Act::Kill(all, ends)),
        any::<bool>().prop_map(Act::Release),
        any::<bool>().prop_map(Act::Close),
    ]
}

fn scope(all: bool) -> Scope {
    if all { Scope::All } else { "account:acme".parse().expect("a scope") }
}

/// Does it, where the state allows it.
fn carry_out(state: &State, act: &Act, number: usize) {
    let directory = &state.directory;
    let account: AccountName = "acme".parse().expect("a name");
    let _ = match act {
        Act::SetState(set, to) => directory.set_credential_state(&by(), state.set(*set), *to).map(drop),
        Act::Rotate(set, overlap) => {
            let new = NewSecrets { secrets: hashed(100 + number), overlap_until: overlap.then(|| after(50)) };
            directory.rotate_credential(&by(), state.set(*set), new).map(drop)
        }
        Act::EndRotation(set) => directory.end_rotation(&by(), state.set(*set)).map(drop),
        Act::Reach(set, end, clients) => {
            let networks = if *clients { vec!["10.0.0.0/8".parse().expect("a network")] } else { Vec::new() };
            let expires_at = Some(end.map(after));
            let change = CredentialChange { clients: Some(networks), expires_at, ..CredentialChange::default() };
            directory.update_credential(&by(), state.set(*set), change).map(drop)
        }
        Act::Grant(set, number, end) => {
            let grant = Grant { policy: policy(*number), expires_at: end.map(after) };
            directory.add_grant(&by(), state.set(*set), grant).map(drop)
        }
        Act::Remove(set, number) => directory.remove_grant(&by(), state.set(*set), &policy(*number)).map(drop),
        Act::Account(suspend) => {
            let suspended = AccountState::Suspended { reason: "r".into(), at: now() };
            let to = if *suspend { suspended } else { AccountState::Active };
            directory.set_account_state(&by(), &account, to).map(drop)
        }
        Act::Key => directory.revoke_operator_key(&by(), state.key()).map(drop),
        Act::User(user, on) => {
            let to = if *on { UserState::Active } else { UserState::Disabled };
            directory.set_user_state(&by(), USERS[*user], to).map(drop)
        }
        Act::Role(user, admin) => {
            let to = if *admin { Authority::Admin } else { Authority::Auditor };
            directory.set_user_authority(&by(), USERS[*user], to).map(drop)
        }
        Act::Password(user) => directory.reset_password(&by(), USERS[*user], &password()).map(drop),
        Act::Kill(all, ends) => {
            let until = ends.then(|| after(60));
            let (reason, actor) = ("r".to_owned(), "tester".to_owned());
            let engaged = Engaged { scope: scope(*all), message: None, reason, by: actor, at: now(), until };
            directory.engage(&by(), engaged).map(drop)
        }
        Act::Release(all) => directory.release(&by(), &scope(*all), "over").map(drop),
        Act::Close(close) => {
            let schedule = "default".parse().expect("a name");
            let (held, until, reason) = (Held::Closed, after(60), "r".to_owned());
            let closed = Override { schedule, held, until, reason, by: "tester".into(), at: now() };
            if *close {
                directory.hold(&by(), closed).map(drop)
            } else {
                directory.lift(&by(), &closed.schedule, None, "over").map(drop)
            }
        }
    };
}

fn no_later(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    match (one, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(other)) => one <= other,
    }
}

/// Nothing that `before` does not allow is allowed by `restored`.
fn gives_no_more(restored: &State, before: &State, reset: &[&str]) {
    let (restored_view, before_view) = (restored.directory.snapshot(), before.directory.snapshot());
    for id in before.sets() {
        let (now, then) = (restored_view.credential(id).expect("a set"), before_view.credential(id).expect("a set"));
        if now.state == CredentialState::Active {
            assert_eq!(then.state, CredentialState::Active, "{id} came back");
            assert!(now.api_key_hash == then.api_key_hash, "{id}: former secrets came back");
            assert!(now.former.is_none() || then.former.is_some(), "{id}: ended secrets came back");
        }
        assert!(
            then.state != CredentialState::Revoked || now.state == CredentialState::Revoked,
            "{id}: revoked is final"
        );
        if now.state == CredentialState::Revoked {
            continue;
        }
        assert!(no_later(now.expires_at, then.expires_at), "{id} ends later");
        assert!(then.clients.is_empty() || now.clients == then.clients, "{id} serves from elsewhere");
        for grant in &now.grants {
            let held = then.grants.iter().find(|held| held.policy == grant.policy);
            assert!(held.is_some_and(|held| no_later(grant.expires_at, held.expires_at)), "{id} holds {grant:?}");
        }
    }
    for account in before_view.accounts() {
        let now = &restored_view.account(account.id).expect("an account").state;
        assert!(*now != AccountState::Active || account.state == AccountState::Active, "an account came back");
    }
    for engaged in before_view.kill_switches().in_force(now()) {
        assert!(restored_view.kill_switches().of(&engaged.scope).is_some(), "{} is released", engaged.scope);
    }
    let schedule: crate::domain::ScheduleName = "default".parse().expect("a name");
    let closed = |view: &crate::directory::Snapshot| view.overrides().of(&schedule, Held::Closed).is_some();
    assert!(closed(&restored_view) || !closed(&before_view), "a schedule is open");
    let live = |state: &State| state.directory.snapshot().operator_keys().all(|key| key.is_live(now()));
    assert!(live(before) || !live(restored), "an operator key came back");
    for name in USERS {
        let user = |state: &State| state.store.user_named(name).expect("read").expect("a user");
        let (now, then) = (user(restored), user(before));
        let is_admin = now.authority == Authority::Admin && now.state == UserState::Active;
        // The last administrator is kept, and told of.
        let others = USERS.iter().filter(|other| **other != name);
        let last = others
            .map(|other| restored.store.user_named(other).expect("read").expect("a user"))
            .all(|other| other.authority != Authority::Admin || other.state != UserState::Active);
        if is_admin && last {
            continue;
        }
        assert!(now.state != UserState::Active || then.state == UserState::Active, "{name} came back");
        assert!(now.state != UserState::Active || !reset.contains(&name), "{name}'s former password came back");
        assert!(now.authority != Authority::Admin || then.authority == Authority::Admin, "{name} is an administrator");
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 60, ..proptest::prelude::ProptestConfig::default() })]
    #[test]
    fn a_restore_that_keeps_revocations_gives_nobody_more_than_there_was(
        before in prop::collection::vec(act(), 0..8),
        since in prop::collection::vec(act(), 0..24),
    ) {
        let (folder, copy) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let state = State::open(&folder.path().join("data"));
        state.fill();
        for (number, act) in before.iter().enumerate() {
            carry_out(&state, act, number);
        }
        let backup = state.store.last_change().expect("read");
        std::fs::create_dir(copy.path().join("data")).expect("created");
        state.store.pin().expect("pinned").copy_to(&copy.path().join("data/erp-access.db")).expect("copied");
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
        };
        mode(&copy.path().join("data"), 0o700);
        mode(&copy.path().join("data/erp-access.db"), 0o600);
        for (number, act) in since.iter().enumerate() {
            carry_out(&state, act, 50 + number);
        }
        let restored = State::open(&copy.path().join("data"));
        let changes = state.store.changes_after(backup, usize::MAX).expect("read");
        let found = Since::read(Source::State, &changes, &restored.restored());
        for revocation in &found.revocations {
            match revocation.carry_out(&restored.restored(), &by()) {
                Ok(()) => {}
                Err(error) => assert!(error.to_string().contains("last administrator"), "{revocation}: {error}"),
            }
        }
        let reset: Vec<&str> = changes
            .iter()
            .filter(|change| change.operation == "user.reset-password")
            .filter_map(|change| USERS.into_iter().find(|name| *name == change.subject))
            .collect();
        gives_no_more(&restored, &state, &reset);
        // Kept, there is nothing left to keep, but what could not be.
        let left = Since::read(Source::State, &changes, &restored.restored()).revocations;
        assert!(left.iter().all(|revocation| matches!(revocation.what, What::User(..) | What::Role(..))), "{left:?}");
    }
}

fn change(seq: u64, operation: &str, subject: &str, detail: &Value) -> RecordedChange {
    RecordedChange {
        seq: Seq(seq),
        at: now(),
        actor: "operator:tester".into(),
        operation: operation.into(),
        subject: subject.into(),
        account: None,
        credential: None,
        detail: Some(detail.to_string()),
    }
}

fn numbers(changes: &[&RecordedChange]) -> Vec<u64> {
    changes.iter().map(|change| change.seq.0).collect()
}

#[test]
fn a_restore_since_undid_what_lies_between_its_backup_and_itself() {
    let restore = |seq, backup: u64| change(seq, RESTORE, "a backup", &serde_json::json!({ "change": backup }));
    let plain = |seq| change(seq, "account.label", "acme", &Value::Null);
    let once: Vec<_> = (6..10).map(plain).chain([restore(10, 7), plain(11)]).collect();
    assert_eq!(numbers(&effective(&once, u64::MAX)), [6, 7, 10, 11]);
    // Back again to a backup that was made before the first restore.
    let twice: Vec<_> = once.into_iter().chain([restore(12, 9), plain(13)]).collect();
    assert_eq!(numbers(&effective(&twice, u64::MAX)), [6, 7, 8, 9, 12, 13]);
}

#[test]
fn a_state_that_was_set_back_behind_the_backup_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = State::open(&folder.path().join("data"));
    let changes = [change(6, RESTORE, "backup of long ago", &serde_json::json!({ "change": 2 }))];
    let since = Since::read(Source::State, &changes, &state.restored());
    let told: Vec<_> = since.revocations.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("backup of long ago"), "{told:?}");
    assert!(since.revocations[0].carry_out(&state.restored(), &by()).is_err(), "it cannot be kept");
}
