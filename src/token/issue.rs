//! `POST /oauth/token`.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use crate::audit::Step;
use crate::directory::{ChangeError, TokenEntry};
use crate::domain::{Code, IssuedKind, IssuedSecret, TokenId};
use crate::gate::Denial;
use crate::relay::Answer;
use crate::secrets::HashPurpose;

use super::authenticate::{Client, pair_of};
use super::form::Parameters;
use super::row::AttemptRow;
use super::{TokenAsked, TokenEndpoint};

impl TokenEndpoint {
    /// Issues a token for client id, password and x-api-key.
    ///
    /// The token is answered only when it and the audit row are on disk.
    pub async fn issue(&self, asked: TokenAsked<'_>) -> Answer {
        let Ok(slot) = self.auditor.reserve().await else { return Answer::oauth_error(asked.id, &unrecorded()) };
        let mut row = AttemptRow::begin(&asked, "token");
        let issued = match self.try_issue(&asked, &mut row).await {
            Ok(issued) => issued,
            Err(denial) => {
                slot.close_with(row.denied(&denial));
                return Answer::oauth_error(asked.id, &denial);
            }
        };
        row.token(issued.entry.id);
        if slot.commit(row.done()).await.is_err() {
            // SECURITY: no token without its row.
            self.withdraw(issued.entry).await;
            return Answer::oauth_error(asked.id, &unrecorded());
        }
        let body = json!({
            "access_token": issued.secret.secret().expose(),
            "token_type": "Bearer",
            "expires_in": self.rules.lifetime.as_secs(),
        });
        Answer::json(StatusCode::OK, asked.id, &body)
    }

    async fn try_issue(&self, asked: &TokenAsked<'_>, row: &mut AttemptRow) -> Result<Issued, Denial> {
        let parameters = Parameters::read(asked.headers, &asked.body)?;
        let client = self.authenticate(asked, row).await?;
        // RFC 6749 section 4.4.2 requires the parameter; its absence is accepted here, and documented.
        if !matches!(parameters.get("grant_type"), None | Some("client_credentials")) {
            return Err(Denial::new(Step::Request, Code::BadRequest, "another grant type than client_credentials")
                .detail("grant_type must be client_credentials"));
        }
        self.room_for(&client, asked)?;
        self.store(&client, asked).await
    }

    fn room_for(&self, client: &Client, asked: &TokenAsked<'_>) -> Result<(), Denial> {
        let live = self.directory.live_tokens_of(client.credential.id, asked.now);
        if live < self.rules.per_credential {
            return Ok(());
        }
        let reason = format!("the credential set has {live} live tokens, {} allowed", self.rules.per_credential);
        Err(Denial::new(Step::Limits, Code::RateLimited, reason)
            .detail("too many live tokens; use a token until it expires")
            .retry_after(std::time::Duration::from_mins(1)))
    }

    async fn store(&self, client: &Client, asked: &TokenAsked<'_>) -> Result<Issued, Denial> {
        let secret = IssuedSecret::generate(IssuedKind::Token, &*self.entropy).map_err(internal)?;
        let id = TokenId::new(asked.now, &*self.entropy).map_err(internal)?;
        let expires_at = asked.now.checked_add(self.rules.lifetime).map_err(internal)?;
        let entry = TokenEntry::new(id, client.credential.id, asked.now, expires_at);
        let hash = self.key_ring.keyed_hash(HashPurpose::Token, secret.secret().expose().as_bytes());
        let (directory, key_ring, api_key) =
            (Arc::clone(&self.directory), Arc::clone(&self.key_ring), client.api_key.clone());
        let entry = tokio::task::spawn_blocking(move || {
            directory.insert_token(hash, entry, |set| pair_of(&key_ring, set, &api_key, entry.issued_at()))
        });
        let entry = entry.await.map_err(internal)?.map_err(|error: ChangeError| internal(error))?;
        Ok(Issued { secret, entry })
    }

    async fn withdraw(&self, token: TokenEntry) {
        let directory = Arc::clone(&self.directory);
        let withdrawn = tokio::task::spawn_blocking(move || directory.withdraw_token(token)).await;
        if !matches!(withdrawn, Ok(Ok(_))) {
            log::error!("token {} could not be withdrawn; nobody has it, and it expires by itself", token.id);
        }
    }
}

struct Issued {
    secret: IssuedSecret,
    entry: TokenEntry,
}

pub(super) fn unrecorded() -> Denial {
    Denial::new(Step::Audit, Code::AuditUnavailable, "the audit row cannot be written")
        .retry_after(std::time::Duration::from_secs(1))
}

pub(super) fn internal(error: impl std::fmt::Display) -> Denial {
    Denial::new(Step::Authentication, Code::InternalError, error.to_string())
}
