//! The only SQL on the state database: pool, migrations, one file per table.
