//! A long audit trail, written without the writer.

use std::path::Path;

/// How rows are spread over time, and over accounts with their sets.
pub(crate) struct Spread {
    pub(crate) rows: u64,
    /// The moment of the first, in microseconds since 1970.
    pub(crate) from: i64,
    /// Microseconds between two.
    pub(crate) step: i64,
    pub(crate) accounts: u64,
    /// A multiple of the accounts: set number n is of account number n modulo these.
    pub(crate) sets: u64,
}

/// Relays with 100,000 tokens, and a request id of the client for each.
pub(crate) fn fill(file: &Path, spread: &Spread) {
    let Spread { rows, from: first, step: apart, accounts, sets } = *spread;
    let database = rusqlite::Connection::open(file).expect("opened");
    let step = 500_000;
    for from in (0..rows).step_by(step) {
        let to = (from + 500_000).min(rows);
        database
            .execute_batch(&format!(
                "BEGIN;
                 WITH RECURSIVE n(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {to}),
                      r AS (SELECT n, abs(random()) AS a, abs(random()) AS b FROM n)
                 INSERT INTO decision
                 SELECT 2 * n + 1, unhex(printf('%032x', n)), 'relay', {first} + n * {apart},
                        'order-' || n, 'credential:' || (a % {sets}), unhex(printf('%016x%016x', 1, a % {accounts})),
                        unhex(printf('%016x%016x', 2, a % {sets})), unhex(printf('%016x%016x', 3, b % 100000)),
                        '10.' || (b % 8) || '.' || (a % 250) || '.' || (b % 250), 'GET', '/v1/orders/' || n, NULL,
                        'orders.read', 'order-reader', 'read', NULL, 1, 'allowed', NULL, NULL,
                        '[[\"request\",\"allowed\",\"one meaning\"],[\"authentication\",\"allowed\",\"token\"],[\"policy\",\"allowed\",\"order-reader/read\"]]',
                        NULL, NULL, 'bench', 1, 'open', 'none', NULL, zeroblob(16)
                   FROM r;
                 WITH RECURSIVE n(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {to})
                 INSERT INTO outcome
                 SELECT 2 * n + 2, 2 * n + 1, {first} + n * {apart}, 'completed', 200, NULL, NULL, '10.0.0.1:443',
                        CASE WHEN n % 1000 = 0 THEN 500 ELSE 200 END, 1, n % 90000, n % 80000, 0, 512, NULL, NULL,
                        zeroblob(16)
                   FROM n;
                 INSERT INTO seal SELECT 2 * {to}, 2 * {from} + 1, 0, zeroblob(4), zeroblob(32), zeroblob(32);
                 COMMIT;"
            ))
            .expect("filled");
    }
}
