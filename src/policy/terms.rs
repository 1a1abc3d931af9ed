//! What narrows a rule besides its endpoints: for people who compare, and for files that are written.

use std::fmt;

use jiff::Timestamp;

use super::rules::Rule;

/// What must hold for a rule to apply. Nothing: it applies to every request at its endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Terms {
    /// The condition that must hold.
    pub when: Option<String>,
    /// The clients that it is for; none is everybody.
    pub clients: Vec<String>,
    /// When it ends.
    pub until: Option<Timestamp>,
}

impl Terms {
    pub(super) fn of(rule: &Rule) -> Self {
        Self {
            when: rule.condition.as_ref().map(|condition| condition.source().to_owned()),
            clients: rule
                .clients
                .as_ref()
                .map(|clients| clients.networks().map(ToString::to_string).collect())
                .unwrap_or_default(),
            until: rule.until,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { when, clients, until } = self;
        when.is_none() && clients.is_empty() && until.is_none()
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { when, clients, until } = self;
        let when = when.iter().map(|when| format!("`{when}`"));
        let clients = (!clients.is_empty()).then(|| format!("the client is in {}", clients.join(", ")));
        let until = until.iter().map(|until| format!("it is before {until}"));
        out.write_str(&when.chain(clients).chain(until).collect::<Vec<_>>().join(" and "))
    }
}
