//! What a client may ask for: only what concerns its own account. What is another's does not exist for it.

use super::accounts::no_account;
use super::{AuditQuery, Command, Control, ControlError, Result, SetQuery};
use crate::audit::StatsBy;
use crate::domain::{AccountId, AccountName, CredentialId, RequestId, TokenId};

impl Control {
    /// The command, held to this account.
    ///
    /// SECURITY: an id of another tenant is answered exactly like an id that does not exist.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not named here no client may have")]
    pub(super) fn held_to(&self, account: AccountId, command: Command) -> Result<Command> {
        let own = |name: Option<AccountName>| self.own_account(account, name);
        Ok(match command {
            Command::AccountShow { name } => Command::AccountShow { name: own(Some(name))? },
            Command::CredentialList { account } => Command::CredentialList { account: Some(own(account)?) },
            Command::CredentialSearch(query) => {
                Command::CredentialSearch(Box::new(SetQuery { account: Some(own(query.account.clone())?), ..*query }))
            }
            Command::CredentialShow { id } => Command::CredentialShow { id: self.own_set(account, id)? },
            Command::CredentialAccess { id, text, after, last } => {
                Command::CredentialAccess { id: self.own_set(account, id)?, text, after, last }
            }
            Command::CredentialOpenapi { id } => Command::CredentialOpenapi { id: self.own_set(account, id)? },
            Command::AccountApi { name } => Command::AccountApi { name: own(Some(name))? },
            Command::CredentialRotate { id, overlap_seconds } => {
                Command::CredentialRotate { id: self.own_set(account, id)?, overlap_seconds }
            }
            Command::CredentialRotateEnd { id } => Command::CredentialRotateEnd { id: self.own_set(account, id)? },
            Command::CredentialDisable { id } => Command::CredentialDisable { id: self.own_set(account, id)? },
            Command::GrantList { credential, account: asked } => Command::GrantList {
                credential: credential.map(|id| self.own_set(account, id)).transpose()?,
                account: Some(own(asked)?),
            },
            Command::TokenList { credential, account: asked } => Command::TokenList {
                credential: credential.map(|id| self.own_set(account, id)).transpose()?,
                account: Some(own(asked)?),
            },
            Command::TokenRevoke { id } => Command::TokenRevoke { id: self.own_token(account, id)? },
            Command::TokenRevokeAccount { name } => Command::TokenRevokeAccount { name: own(Some(name))? },
            Command::TokenRevokeAll { credential } => {
                Command::TokenRevokeAll { credential: self.own_set(account, credential)? }
            }
            Command::AuditSearch(query) => {
                let name = own(query.account.clone())?;
                Command::AuditSearch(Box::new(askable(*query, name)))
            }
            Command::AuditStats { query, by } => {
                let name = own(query.account.clone())?;
                Command::AuditStats { query: Box::new(askable(*query, name)), by: countable(by)? }
            }
            Command::AuditShow { id } => Command::AuditShow { id: self.own_row(account, id)? },
            _ => return Err(ControlError::forbidden("no client may do this")),
        })
    }

    /// The account's name; the name asked for must be that.
    fn own_account(&self, account: AccountId, asked: Option<AccountName>) -> Result<AccountName> {
        let snapshot = self.directory.snapshot();
        let own = snapshot.account(account).map(|account| account.name.clone());
        match (own, asked) {
            (Some(own), None) => Ok(own),
            (Some(own), Some(asked)) if own == asked => Ok(own),
            (_, Some(asked)) => Err(no_account(&asked)),
            (None, None) => Err(ControlError::not_found("the account is gone")),
        }
    }

    fn own_set(&self, account: AccountId, id: CredentialId) -> Result<CredentialId> {
        let set = self.credential(id)?;
        if set.account == account { Ok(id) } else { Err(super::credentials::no_set(id)) }
    }

    fn own_token(&self, account: AccountId, id: TokenId) -> Result<TokenId> {
        let now = self.clock.now();
        let snapshot = self.directory.snapshot();
        let own = snapshot.credentials().into_iter().filter(|set| set.account == account);
        let mut tokens = own.flat_map(|set| self.directory.tokens(Some(set.id), now));
        if tokens.any(|token| token.id == id) {
            return Ok(id);
        }
        Err(ControlError::not_found(format!("there is no live token `{id}`")))
    }

    fn own_row(&self, account: AccountId, id: RequestId) -> Result<RequestId> {
        let row = self.auditor.find(id).map_err(ControlError::failed)?;
        match row {
            Some(row) if row.account == Some(account) => Ok(id),
            _ => Err(super::audit::no_row(id)),
        }
    }
}

/// By what a client may count. SECURITY: endpoints and codes of rows tell more than rows that are shown to it.
fn countable(by: StatsBy) -> Result<StatsBy> {
    match by {
        StatsBy::Hour | StatsBy::Minute => Ok(by),
        StatsBy::Endpoint | StatsBy::Account | StatsBy::Code => {
            Err(ControlError::forbidden("a client counts by hour or minute"))
        }
    }
}

/// What a client may ask of the trail. SECURITY: a filter on what it is not shown would tell it all the same.
fn askable(query: AuditQuery, account: AccountName) -> AuditQuery {
    let AuditQuery { last, credential, token, kind, since, until, decision, client, correlation, id, before, .. } =
        query;
    AuditQuery {
        account: Some(account),
        last,
        credential,
        token,
        kind,
        since,
        until,
        decision,
        client,
        correlation,
        id,
        before,
        ..AuditQuery::default()
    }
}
