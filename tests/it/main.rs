//! The integration tests: the real gateway on real sockets with real SQLite files.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on must fail")]
#![expect(
    clippy::string_slice,
    clippy::format_push_string,
    clippy::format_collect,
    clippy::print_stderr,
    reason = "tests need not be fast or quiet"
)]

mod support;

mod access_matrix;
mod accounts;
mod admin_answers;
mod admin_api;
mod app_key;
mod audit;
mod audit_rows;
mod backup;
mod bodies;
mod browser;
mod browser_clients;
mod browser_flows;
mod browser_policies;
mod command_line;
mod corpus;
mod edge;
mod explain;
mod handover;
mod http2;
mod http2_frames;
mod faults;
mod fuzz_corpus;
mod gate;
mod client_certificates;
mod lifecycle;
mod memory;
mod monitoring;
mod obligations;
mod ops;
mod peers;
mod policy_diff;
mod policy_explain;
mod policy_lint;
mod policy_replay;
mod policy_suggest;
mod portal;
mod portal_audit;
mod portal_clients;
mod portal_lists;
mod portal_policies;
mod rate_limits;
mod relay;
mod reload;
mod revocation;
mod rotation;
mod schedules;
mod sinks;
mod stats;
mod token;
mod token_rows;
mod systemd;
mod tls;
mod tryton;
mod upstreams;
