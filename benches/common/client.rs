//! The client of a gateway whose files [`crate::common::files`] has written.

use std::sync::Arc;

use erp_access::control::{Caller, Command, Control, NewSet, SecretText};
use erp_access::domain::{Actor, Secret};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Tells the gateway the ERP's key, and has it issue a credential set that may do all.
pub(crate) fn issue(control: &Arc<Control>, runtime: &Runtime) -> Value {
    let run = |command| runtime.block_on(control.run(Caller::admin(Actor::System), command)).expect("done");
    run(Command::UpstreamSecretSet {
        upstream: "erp".parse().expect("a name"),
        account: None,
        username: None,
        password: None,
        api_key: Some(SecretText::new(Secret::new("erp-side-key".into()))),
    });
    let account = || "acme".parse().expect("a name");
    run(Command::AccountCreate { name: account(), labels: Vec::new() });
    let policies = vec!["all".parse().expect("a name")];
    run(Command::CredentialIssue(Box::new(NewSet::bounded(account(), "bench", policies))))
}
