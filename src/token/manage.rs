//! `POST /oauth/revoke` (RFC 7009) and `POST /oauth/introspect` (RFC 7662), for tokens of one's own credential set.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::audit::Step;
use crate::directory::TokenEntry;
use crate::domain::{Code, IssuedKind, IssuedSecret};
use crate::gate::Denial;
use crate::relay::Answer;
use crate::secrets::HashPurpose;

use super::authenticate::Client;
use super::form::Parameters;
use super::issue::{internal, unrecorded};
use super::row::AttemptRow;
use super::{TokenAsked, TokenEndpoint};

impl TokenEndpoint {
    /// Ends one token of the asking credential set, at once.
    ///
    /// RFC 7009 section 2.2: a token that is unknown, or not one's own, is answered like one that was ended.
    pub async fn revoke(&self, asked: TokenAsked<'_>) -> Answer {
        let Ok(slot) = self.auditor.reserve().await else { return Answer::oauth_error(asked.id, &unrecorded()) };
        let mut row = AttemptRow::begin(&asked, "revoke");
        if let Err(denial) = self.try_revoke(&asked, &mut row).await {
            slot.close_with(row.denied(&denial));
            return Answer::oauth_error(asked.id, &denial);
        }
        match slot.commit(row.done()).await {
            Ok(()) => Answer::empty(StatusCode::OK, asked.id),
            Err(_) => Answer::oauth_error(asked.id, &unrecorded()),
        }
    }

    /// Says whether a token of the asking credential set is live.
    pub async fn introspect(&self, asked: TokenAsked<'_>) -> Answer {
        let Ok(slot) = self.auditor.reserve().await else { return Answer::oauth_error(asked.id, &unrecorded()) };
        let mut row = AttemptRow::begin(&asked, "introspect");
        match self.try_introspect(&asked, &mut row).await {
            Ok(body) => {
                slot.close_with(row.done());
                Answer::json(StatusCode::OK, asked.id, &body)
            }
            Err(denial) => {
                slot.close_with(row.denied(&denial));
                Answer::oauth_error(asked.id, &denial)
            }
        }
    }

    async fn try_revoke(&self, asked: &TokenAsked<'_>, row: &mut AttemptRow) -> Result<(), Denial> {
        let Some(entry) = self.own_token(asked, row).await? else { return Ok(()) };
        let directory = Arc::clone(&self.directory);
        tokio::task::spawn_blocking(move || directory.withdraw_token(entry))
            .await
            .map_err(internal)?
            .map_err(internal)?;
        Ok(())
    }

    async fn try_introspect(&self, asked: &TokenAsked<'_>, row: &mut AttemptRow) -> Result<Value, Denial> {
        Ok(match self.own_token(asked, row).await? {
            None => json!({ "active": false }),
            Some(entry) => json!({
                "active": true,
                "client_id": entry.credential,
                "token_type": "Bearer",
                "iat": entry.issued_at().as_second(),
                "exp": entry.expires_at().as_second(),
            }),
        })
    }

    /// The token named in the request, where it is live and belongs to the asking credential set.
    async fn own_token(&self, asked: &TokenAsked<'_>, row: &mut AttemptRow) -> Result<Option<TokenEntry>, Denial> {
        let parameters = Parameters::read(asked.headers, &asked.body)?;
        let Client { credential, .. } = self.authenticate(asked, row).await?;
        let token = parameters.get("token").ok_or_else(|| {
            Denial::new(Step::Request, Code::BadRequest, "the parameter `token` is missing").detail("send `token`")
        })?;
        let Ok(token) = IssuedSecret::parse(IssuedKind::Token, token) else { return Ok(None) };
        let text = token.secret().expose().as_bytes();
        let entry = self
            .key_ring
            .find(HashPurpose::Token, text, |hash| self.directory.find_token(hash, asked.now))
            .filter(|entry| entry.credential == credential.id && entry.is_backed(&credential, asked.now));
        if let Some(entry) = &entry {
            row.token(entry.id);
        }
        Ok(entry)
    }
}
