//! The tables, as numbered migrations. A migration that has been released is never changed.

use rusqlite_migration::M;

/// The number of this version's format.
pub const STATE_FORMAT: usize = MIGRATIONS.len();

pub(super) const MIGRATIONS: &[M<'_>] = &[
    M::up(FIRST),
    M::up(SCHEDULE_OVERRIDES),
    M::up(LABELS_AND_REASONS),
    M::up(CONTROL),
    M::up(HASH_KEYS),
    M::up(PORTAL),
    M::up(FIRST_PASSWORD),
    M::up(CLIENT_CERTIFICATES),
];

const CLIENT_CERTIFICATES: &str =
    "ALTER TABLE account ADD COLUMN certificates TEXT;       -- JSON: SHA-256 fingerprints; one of them must be shown
    ALTER TABLE credential ADD COLUMN certificates TEXT;     -- likewise";

const FIRST_PASSWORD: &str =
    "ALTER TABLE portal_user ADD COLUMN first_password_until INTEGER;  -- where it was not changed yet";

const PORTAL: &str = "ALTER TABLE portal_user ADD COLUMN code_step INTEGER;    -- of the last code: none is taken twice
    CREATE TABLE portal_session (
        hash BLOB PRIMARY KEY,
        hash_key BLOB NOT NULL,
        id BLOB NOT NULL UNIQUE,
        user BLOB NOT NULL REFERENCES portal_user (id),
        stage TEXT NOT NULL CHECK (stage IN ('password', 'enrol', 'code', 'full')),
        began_at INTEGER NOT NULL,
        seen_at INTEGER NOT NULL,
        proven_at INTEGER NOT NULL,      -- when the password was last given
        client TEXT,
        agent TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX portal_session_user ON portal_session (user);
    CREATE TABLE recovery_code (
        user BLOB NOT NULL REFERENCES portal_user (id),
        hash BLOB NOT NULL,
        hash_key BLOB NOT NULL,
        PRIMARY KEY (user, hash)
    ) STRICT, WITHOUT ROWID;";

const HASH_KEYS: &str = "ALTER TABLE credential ADD COLUMN hash_key BLOB;       -- the id of the APP_KEY in its hashes
    ALTER TABLE former_secrets ADD COLUMN hash_key BLOB;
    ALTER TABLE token ADD COLUMN hash_key BLOB;
    ALTER TABLE operator_key ADD COLUMN hash_key BLOB;
    ALTER TABLE portal_user ADD COLUMN hash_key BLOB;";

const CONTROL: &str = "ALTER TABLE account ADD COLUMN contacts TEXT;           -- JSON: texts
    ALTER TABLE account ADD COLUMN limits TEXT;             -- JSON, as in a policy
    ALTER TABLE account ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;     -- the change that made it what it is

    ALTER TABLE credential ADD COLUMN purpose TEXT;
    ALTER TABLE credential ADD COLUMN clients TEXT;         -- JSON: the networks from which it may be used
    ALTER TABLE credential ADD COLUMN limits TEXT;          -- JSON, as in a policy
    ALTER TABLE credential ADD COLUMN secrets_at INTEGER;   -- when today's secrets were made, where rotated
    ALTER TABLE credential ADD COLUMN last_used_at INTEGER; -- when today's secrets last got a token
    ALTER TABLE credential ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE former_secrets (
        credential BLOB PRIMARY KEY REFERENCES credential (id),
        password_hash TEXT NOT NULL,
        api_key_hash BLOB NOT NULL UNIQUE,
        ends_at INTEGER NOT NULL,
        last_used_at INTEGER
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE token ADD COLUMN by_former_secrets INTEGER NOT NULL DEFAULT 0;

    ALTER TABLE kill_switch ADD COLUMN until INTEGER;

    ALTER TABLE portal_user ADD COLUMN account BLOB REFERENCES account (id);
    ALTER TABLE portal_user ADD COLUMN state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled'));
    ALTER TABLE portal_user ADD COLUMN totp BLOB;           -- sealed

    CREATE TABLE operator_key (
        id BLOB PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'auditor', 'client')),
        account BLOB REFERENCES account (id),
        key_hash BLOB NOT NULL UNIQUE,
        clients TEXT,                    -- JSON, as above
        expires_at INTEGER NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        last_used_at INTEGER
    ) STRICT;

    CREATE TABLE repeatable (            -- what was asked for with an Idempotency-Key
        key BLOB PRIMARY KEY,            -- a keyed hash of who asked and the key
        request BLOB NOT NULL,           -- a hash of what was asked
        subject TEXT NOT NULL,           -- what was made
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;";

const LABELS_AND_REASONS: &str = "CREATE TABLE account_label (
        account BLOB NOT NULL REFERENCES account (id),
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (account, key)
    ) STRICT, WITHOUT ROWID;

    ALTER TABLE credential ADD COLUMN reason TEXT;       -- why it is unrestricted";

const SCHEDULE_OVERRIDES: &str = "CREATE TABLE schedule_override (
        schedule TEXT NOT NULL,
        held TEXT NOT NULL CHECK (held IN ('open', 'closed')),
        until INTEGER NOT NULL,
        reason TEXT NOT NULL,
        made_by TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        PRIMARY KEY (schedule, held)
    ) STRICT;";

const FIRST: &str = "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

    CREATE TABLE account (
        id BLOB PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('active', 'suspended')),
        reason TEXT,
        changed_at INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE credential (
        id BLOB PRIMARY KEY,
        account BLOB NOT NULL REFERENCES account (id),
        name TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('bounded', 'unrestricted')),
        state TEXT NOT NULL CHECK (state IN ('active', 'disabled', 'revoked')),
        expires_at INTEGER,
        password_hash TEXT NOT NULL,
        api_key_hash BLOB NOT NULL UNIQUE,
        created_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX credential_account ON credential (account);

    CREATE TABLE granted (
        credential BLOB NOT NULL REFERENCES credential (id),
        policy TEXT NOT NULL,
        expires_at INTEGER,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (credential, policy)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE token (
        hash BLOB PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        credential BLOB NOT NULL REFERENCES credential (id),
        issued_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX token_credential ON token (credential);
    CREATE INDEX token_expiry ON token (expires_at);

    CREATE TABLE kill_switch (
        scope TEXT PRIMARY KEY,
        message TEXT,
        reason TEXT NOT NULL,
        engaged_by TEXT NOT NULL,
        engaged_at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE upstream_secret (
        upstream TEXT NOT NULL,
        account BLOB NOT NULL,           -- empty: the ERP user that all accounts share
        username BLOB,                   -- sealed
        password BLOB,                   -- sealed
        api_key BLOB,                    -- sealed
        version INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        PRIMARY KEY (upstream, account)
    ) STRICT;

    CREATE TABLE upstream_session (
        upstream TEXT NOT NULL,
        account BLOB NOT NULL,           -- as above
        sealed BLOB NOT NULL,
        secret_version INTEGER NOT NULL,
        signed_in_at INTEGER NOT NULL,
        expires_at INTEGER,
        PRIMARY KEY (upstream, account)
    ) STRICT;

    CREATE TABLE policy_text (hash BLOB PRIMARY KEY, text BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE policy_snapshot (
        hash BLOB PRIMARY KEY,
        listing TEXT NOT NULL,           -- JSON: {path: hash of the text}
        first_used_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE portal_user (
        id BLOB PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'auditor', 'client')),
        password_hash TEXT NOT NULL,
        must_change_password INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE change (
        seq INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        operation TEXT NOT NULL,
        subject TEXT NOT NULL,
        account BLOB,
        credential BLOB,
        detail TEXT
    ) STRICT;
    CREATE TRIGGER change_stays BEFORE UPDATE ON change BEGIN SELECT RAISE(ABORT, 'changes are append-only'); END;
    CREATE TRIGGER change_remains BEFORE DELETE ON change BEGIN SELECT RAISE(ABORT, 'changes are append-only'); END;";
