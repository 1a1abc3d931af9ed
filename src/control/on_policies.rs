//! Operations on policies, versions, endpoints and what grants give, from the command to what is done.

use serde_json::Value;

use super::policy_apply::Wanted;
use super::reach::Which;
use super::{Command, Control, Result};
use crate::directory::By;

impl Control {
    /// Carries these operations out; gives other commands back.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other commands go on to where each is named")]
    pub(super) fn run_on_policies(
        &self,
        by: &By,
        command: Command,
    ) -> std::result::Result<Result<Value>, Box<Command>> {
        Ok(match command {
            Command::PolicyApply { file, text, delete, based_on } => {
                self.apply_policy(by, Wanted { file, text, delete, based_on })
            }
            Command::PolicyVersions { before, last } => self.list_versions(before.as_deref(), last),
            Command::CredentialAccess { id, text, after, last } => {
                self.credential_access(id, text.as_deref(), after.as_deref(), last)
            }
            Command::CredentialOpenapi { id } => self.credential_openapi(id),
            Command::AccountApi { name } => self.account_api(&name),
            Command::EndpointList { text, credential, after, last } => {
                let which = Which { text: text.as_deref(), credential: credential.as_deref() };
                self.list_endpoints(&which, after.as_deref(), last)
            }
            Command::EndpointShow { id, after, last } => self.show_endpoint(&id, after.as_deref(), last),
            Command::GrantMatrix { account, policy, after, last } => {
                self.grant_matrix(account.as_ref(), policy.as_ref(), after.as_deref(), last)
            }
            other => return Err(Box::new(other)),
        })
    }
}
