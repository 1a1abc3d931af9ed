//! What the configuration says of the gateway to those who call it.

use crate::config::{ApiKeyOnRelay, Gateway, RateLimits};

/// Where clients find the gateway, and what it asks of them.
#[derive(Debug, Clone)]
pub struct Offered {
    /// How clients call it from outside, as in `https://api.example.com`; `None` where nobody has said.
    pub url: Option<String>,
    /// The path of the token endpoint.
    pub token_path: String,
    /// Whether a request must carry the x-api-key besides the token.
    pub api_key: bool,
    /// How much may be asked for, where accounts and sets say nothing themselves.
    pub rate_limits: RateLimits,
}

impl Offered {
    /// As this section of the configuration says.
    #[must_use]
    pub fn by(gateway: &Gateway) -> Self {
        Self {
            url: gateway.public_url.as_ref().map(ToString::to_string),
            token_path: gateway.token_path.clone(),
            api_key: match gateway.api_key_on_relay {
                ApiKeyOnRelay::Required => true,
                ApiKeyOnRelay::Optional => false,
            },
            rate_limits: gateway.rate_limits,
        }
    }

    /// The address of the gateway, or what stands for it where nobody has said.
    #[must_use]
    pub fn base(&self) -> &str {
        self.url.as_deref().unwrap_or("https://GATEWAY")
    }

    /// The address of the token endpoint.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}{}", self.base(), self.token_path)
    }
}
