//! The table of operations: where each stands in the admin API, and who may carry it out.

use super::Command;
use crate::domain::Role;

/// Everything that can be asked for, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its name, the tag of its [`Command`].
    pub name: &'static str,
    /// The method of its route.
    pub method: Verb,
    /// The path of its route; what stands in braces is a member of the command.
    pub path: &'static str,
    /// Who may carry it out.
    pub audience: Audience,
    /// What it does, in a few words.
    pub about: &'static str,
}

/// The method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads; the members of the command that are not in the path are in the query.
    Get,
    /// Does something, or reads what needs a long question; the members are in a JSON body.
    Post,
    /// Makes something what the body says, wherever it stood.
    Put,
    /// Takes something away.
    Delete,
}

impl Verb {
    /// The method as HTTP writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may carry an operation out. Administrators may do everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Administrators only.
    Admins,
    /// Those who answer incidents.
    Operators,
    /// Those who answer incidents, and a client for its own account.
    OperatorsAndClients,
    /// Administrators, and a client for its own account.
    AdminsAndClients,
    /// All who look after the gateway.
    Staff,
    /// Staff, and a client for its own account.
    Everyone,
}

impl Audience {
    /// Whether somebody with this role is among them.
    #[must_use]
    pub const fn includes(self, role: Role) -> bool {
        match role {
            Role::Admin => true,
            Role::Operator => match self {
                Self::Operators | Self::OperatorsAndClients | Self::Staff | Self::Everyone => true,
                Self::Admins | Self::AdminsAndClients => false,
            },
            Role::Auditor => match self {
                Self::Staff | Self::Everyone => true,
                Self::Admins | Self::Operators | Self::OperatorsAndClients | Self::AdminsAndClients => false,
            },
            Role::Client => match self {
                Self::OperatorsAndClients | Self::AdminsAndClients | Self::Everyone => true,
                Self::Admins | Self::Operators | Self::Staff => false,
            },
        }
    }
}

use Audience::{Admins, AdminsAndClients, Everyone, Operators, OperatorsAndClients, Staff};
use Verb::{Delete, Get, Post, Put};

const fn operation(
    name: &'static str,
    method: Verb,
    path: &'static str,
    audience: Audience,
    about: &'static str,
) -> Operation {
    Operation { name, method, path, audience, about }
}

/// All of them; a test holds the table against the variants of [`Command`].
pub const OPERATIONS: &[Operation] = &[
    operation("account-list", Get, "/v1/accounts", Staff, "Lists accounts"),
    operation("account-create", Post, "/v1/accounts", Admins, "Creates an account"),
    operation("account-show", Get, "/v1/accounts/{name}", Everyone, "Shows an account with its credential sets"),
    operation("account-label", Post, "/v1/accounts/{name}/labels", Admins, "Sets and removes labels"),
    operation("account-suspend", Post, "/v1/accounts/{name}/suspend", Admins, "Lets none of its requests pass"),
    operation("account-activate", Post, "/v1/accounts/{name}/activate", Admins, "Ends a suspension"),
    operation("account-limit", Put, "/v1/accounts/{name}/limits", Admins, "Says how much its sets may ask for"),
    operation("credential-limit", Put, "/v1/credentials/{id}/limits", Admins, "Says how much a set may ask for"),
    operation("account-certificates", Put, "/v1/accounts/{name}/certificates", Admins, "Demands client certificates"),
    operation(
        "credential-certificates",
        Put,
        "/v1/credentials/{id}/certificates",
        Admins,
        "Demands client certificates",
    ),
    operation("account-rename", Post, "/v1/accounts/{name}/rename", Admins, "Gives an account another name"),
    operation("account-contacts", Put, "/v1/accounts/{name}/contacts", Admins, "Says how its people are reached"),
    operation("account-delete", Delete, "/v1/accounts/{name}", Admins, "Deletes an account without belongings"),
    operation("user-list", Get, "/v1/users", Staff, "Lists portal users"),
    operation("user-create", Post, "/v1/users", Admins, "Adds a portal user; its password is shown once"),
    operation("user-show", Get, "/v1/users/{name}", Staff, "Shows a portal user"),
    operation("user-disable", Post, "/v1/users/{name}/disable", Admins, "Lets a user no longer sign in"),
    operation("user-enable", Post, "/v1/users/{name}/enable", Admins, "Lets a user sign in again"),
    operation("user-role", Put, "/v1/users/{name}/role", Admins, "Changes what a user may do"),
    operation("user-reset-password", Post, "/v1/users/{name}/reset-password", Admins, "Gives another password"),
    operation("user-reset-totp", Post, "/v1/users/{name}/reset-totp", Admins, "Takes a second factor away"),
    operation("credential-list", Get, "/v1/credentials", Everyone, "Lists credential sets"),
    operation("credential-search", Get, "/v1/credential-search", Everyone, "Finds credential sets, sorted, in parts"),
    operation("credential-issue", Post, "/v1/credentials", Admins, "Issues a set; its secrets are shown once"),
    operation("credential-show", Get, "/v1/credentials/{id}", Everyone, "Shows a credential set"),
    operation("credential-access", Get, "/v1/credentials/{id}/access", Everyone, "Tells what a set may call and when"),
    operation("credential-openapi", Get, "/v1/credentials/{id}/openapi", Everyone, "Describes that as OpenAPI 3.1"),
    operation("account-api", Get, "/v1/accounts/{name}/api", Everyone, "Tells whether the API is there for an account"),
    operation("credential-update", Post, "/v1/credentials/{id}", Admins, "Changes what a set is"),
    operation("credential-rotate", Post, "/v1/credentials/{id}/rotate", AdminsAndClients, "Gives a set new secrets"),
    operation(
        "credential-rotate-end",
        Post,
        "/v1/credentials/{id}/rotate-end",
        AdminsAndClients,
        "Ends the former secrets now",
    ),
    operation("credential-disable", Post, "/v1/credentials/{id}/disable", OperatorsAndClients, "Disables a set"),
    operation("credential-enable", Post, "/v1/credentials/{id}/enable", Admins, "Enables a disabled set"),
    operation("credential-revoke", Post, "/v1/credentials/{id}/revoke", Operators, "Revokes a set for good"),
    operation("grant-list", Get, "/v1/grants", Everyone, "Lists grants"),
    operation("grant-add", Put, "/v1/credentials/{credential}/grants/{policy}", Admins, "Grants a policy"),
    operation("grant-remove", Delete, "/v1/credentials/{credential}/grants/{policy}", Admins, "Takes a grant back"),
    operation("token-list", Get, "/v1/tokens", Everyone, "Lists live tokens by their ids"),
    operation("token-revoke", Post, "/v1/tokens/{id}/revoke", OperatorsAndClients, "Revokes a token"),
    operation(
        "token-revoke-account",
        Post,
        "/v1/accounts/{name}/tokens/revoke",
        OperatorsAndClients,
        "Revokes all tokens of an account",
    ),
    operation(
        "token-revoke-all",
        Post,
        "/v1/credentials/{credential}/tokens/revoke",
        OperatorsAndClients,
        "Revokes all tokens of a set",
    ),
    operation("operator-key-list", Get, "/v1/operator-keys", Staff, "Lists operator keys"),
    operation("operator-key-issue", Post, "/v1/operator-keys", Admins, "Issues a key; it is shown once"),
    operation("operator-key-revoke", Post, "/v1/operator-keys/{id}/revoke", Admins, "Revokes a key for good"),
    operation("kill-status", Get, "/v1/kill-switches", Staff, "Says which kill switches are engaged"),
    operation("kill-engage", Post, "/v1/kill-switches", Operators, "Engages a kill switch"),
    operation("kill-release", Post, "/v1/kill-switches/{scope}/release", Operators, "Releases a kill switch"),
    operation("schedule-show", Get, "/v1/schedules", Staff, "Shows the schedules"),
    operation("schedule-next", Get, "/v1/schedules/next", Staff, "Says when each schedule changes next"),
    operation("schedule-overrides", Get, "/v1/schedule-overrides", Staff, "Lists the overrides in force"),
    operation(
        "schedule-override",
        Post,
        "/v1/schedules/{schedule}/override",
        Operators,
        "Holds a schedule open or closed for a while",
    ),
    operation("schedule-lift", Post, "/v1/schedules/{schedule}/lift", Operators, "Lifts what holds a schedule"),
    operation("upstream-list", Get, "/v1/upstreams", Staff, "Shows the upstreams and their sessions"),
    operation("upstream-show", Get, "/v1/upstreams/{upstream}", Staff, "Shows one session"),
    operation("upstream-test", Post, "/v1/upstreams/{upstream}/test", Operators, "Tells how a sign-in goes"),
    operation("upstream-login", Post, "/v1/upstreams/{upstream}/login", Operators, "Signs in now"),
    operation("upstream-logout", Post, "/v1/upstreams/{upstream}/logout", Operators, "Drops a session"),
    operation("upstream-secret-set", Put, "/v1/upstreams/{upstream}/secret", Admins, "Sets the secrets for an ERP"),
    operation(
        "upstream-secret-remove",
        Delete,
        "/v1/upstreams/{upstream}/secret/{account}",
        Admins,
        "Removes the secrets that an account has of its own",
    ),
    operation("policy-reload", Post, "/v1/policies/reload", Operators, "Reads the policy files again"),
    operation("policy-in-force", Get, "/v1/policies", Staff, "Gives the policies in force and who holds which"),
    operation("policy-snapshot", Get, "/v1/policies/snapshots/{hash}", Staff, "Gives the texts that rows name"),
    operation("policy-apply", Post, "/v1/policies/apply", Admins, "Changes one file of the policy folder"),
    operation("policy-versions", Get, "/v1/policies/versions", Staff, "Lists the versions that were in force"),
    operation("endpoint-list", Get, "/v1/endpoints", Staff, "Lists endpoints and by how many sets they are reached"),
    operation("endpoint-show", Get, "/v1/endpoints/{id}", Staff, "Shows an endpoint and who reaches it"),
    operation("grant-matrix", Get, "/v1/grants/matrix", Staff, "Shows what each grant really gives"),
    operation("policy-explain", Post, "/v1/policies/explain", Staff, "Tells what would be decided about a request"),
    operation("audit-search", Get, "/v1/audit", Everyone, "Searches audit rows, newest first"),
    operation("audit-show", Get, "/v1/audit/{id}", Everyone, "Shows an audit row"),
    operation("audit-stats", Post, "/v1/audit/stats", Everyone, "Counts audit rows in groups"),
    operation("audit-forward", Post, "/v1/audit/forward", Staff, "The next part of the trail, as rows end"),
    operation("audit-export", Post, "/v1/audit/export", Staff, "The next part of an export; leaves a row"),
    operation("audit-recorded", Get, "/v1/audit/recorded", Staff, "What is known of requests, to decide them again"),
    operation("audit-verify", Post, "/v1/audit/verify", Staff, "Checks the next part of the trail"),
    operation("audit-checkpoint", Post, "/v1/audit/checkpoint", Staff, "Signs how far the trail goes"),
    operation("audit-prune", Post, "/v1/audit/prune", Admins, "Removes rows that were sealed before a moment"),
    operation("db-backup", Post, "/v1/backups", Admins, "Makes a backup of both databases"),
    operation("key-status", Get, "/v1/keys", Staff, "Says what depends on which APP_KEY"),
    operation("key-rotate", Post, "/v1/keys/rotate", Admins, "Puts a new APP_KEY into use"),
    operation("key-retire", Post, "/v1/keys/{key}/retire", Admins, "Gives a former APP_KEY up"),
    operation("doctor", Get, "/v1/doctor", Staff, "Lists what an operator should look at"),
    operation("status", Get, "/v1/status", Staff, "Shows what the gateway is doing"),
];

impl Operation {
    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|operation| operation.name == name)
    }

    /// The one that this command asks for.
    #[must_use]
    pub fn of(command: &Command) -> Option<&'static Self> {
        Self::named(command.into())
    }

    /// The members of the command that stand in the path.
    pub fn in_path(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use strum::VariantNames as _;

    use super::*;

    #[test]
    fn every_command_has_one_operation_and_every_operation_its_command() {
        let names: Vec<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
        let unique: HashSet<_> = names.iter().copied().collect();
        assert_eq!(unique.len(), names.len(), "a name stands twice");
        let commands: HashSet<_> = Command::VARIANTS.iter().copied().collect();
        assert_eq!(unique, commands);
    }

    #[test]
    fn no_two_operations_share_a_route() {
        let routes: HashSet<_> =
            OPERATIONS.iter().map(|operation| (operation.method.as_str(), operation.path)).collect();
        assert_eq!(routes.len(), OPERATIONS.len());
    }

    #[test]
    fn the_name_of_a_command_is_the_tag_with_which_it_travels() {
        let command = Command::TokenList { credential: None, account: None };
        let written = serde_json::to_value(&command).expect("JSON");
        assert_eq!(written["operation"], Operation::of(&command).expect("an operation").name);
    }
}
