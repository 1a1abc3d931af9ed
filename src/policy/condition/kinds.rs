//! What a condition may refer to, and of which kind each thing is.

use std::fmt;

/// A variable, by its full name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Method,
    Path,
    Params,
    Query,
    Headers,
    Tls,
    ClientIp,
    Account,
    AccountId,
    Credential,
    CredentialId,
    CredentialKind,
    Labels,
    Now,
}

/// What is known of the value of a part of an expression before there is a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Uint,
    Double,
    Text,
    /// A text, or null where there is none.
    MaybeText,
    Null,
    Moment,
    /// Texts by name.
    Texts(Texts),
    List(Box<Kind>),
    /// The beginning of names: `request`, `client`, `principal`.
    Group(Group),
    /// It may be anything, or it has been refused already.
    Unknown,
}

/// Texts by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    Params,
    Query,
    Headers,
    Labels,
}

/// Variables whose names begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Request,
    Client,
    Principal,
}

impl Variable {
    pub(super) const ALL: [Self; 14] = [
        Self::Method,
        Self::Path,
        Self::Params,
        Self::Query,
        Self::Headers,
        Self::Tls,
        Self::ClientIp,
        Self::Account,
        Self::AccountId,
        Self::Credential,
        Self::CredentialId,
        Self::CredentialKind,
        Self::Labels,
        Self::Now,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Method => "request.method",
            Self::Path => "request.path",
            Self::Params => "request.params",
            Self::Query => "request.query",
            Self::Headers => "request.headers",
            Self::Tls => "request.tls",
            Self::ClientIp => "client.ip",
            Self::Account => "principal.account",
            Self::AccountId => "principal.account_id",
            Self::Credential => "principal.credential",
            Self::CredentialId => "principal.credential_id",
            Self::CredentialKind => "principal.kind",
            Self::Labels => "principal.labels",
            Self::Now => "now",
        }
    }

    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Method
            | Self::Path
            | Self::Account
            | Self::AccountId
            | Self::Credential
            | Self::CredentialId
            | Self::CredentialKind => Kind::Text,
            Self::Params => Kind::Texts(Texts::Params),
            Self::Query => Kind::Texts(Texts::Query),
            Self::Headers => Kind::Texts(Texts::Headers),
            Self::Labels => Kind::Texts(Texts::Labels),
            Self::Tls => Kind::Bool,
            Self::ClientIp => Kind::MaybeText,
            Self::Now => Kind::Moment,
        }
    }

    /// The variable with this full name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variable| variable.name() == name)
    }

    /// Whether it is about who asks.
    pub(super) fn is_of_the_principal(self) -> bool {
        self.name().starts_with(Group::Principal.name())
    }
}

impl Group {
    pub(super) const ALL: [Self; 3] = [Self::Request, Self::Client, Self::Principal];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Client => "client",
            Self::Principal => "principal",
        }
    }

    /// The names of what is in it, without its own.
    pub(super) fn members(self) -> Vec<&'static str> {
        let member = |variable: Variable| variable.name().strip_prefix(self.name())?.strip_prefix('.');
        Variable::ALL.into_iter().filter_map(member).collect()
    }
}

impl Texts {
    pub(super) const fn variable(self) -> Variable {
        match self {
            Self::Params => Variable::Params,
            Self::Query => Variable::Query,
            Self::Headers => Variable::Headers,
            Self::Labels => Variable::Labels,
        }
    }

    /// What one of them is. A path parameter is there or the condition fails; of the others null is what was not sent.
    pub(super) const fn entry(self) -> Kind {
        match self {
            Self::Params => Kind::Text,
            Self::Query | Self::Headers | Self::Labels => Kind::MaybeText,
        }
    }
}

impl Kind {
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::MaybeText)
    }

    /// Whether two values can be equal.
    pub(super) fn may_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unknown, _)
            | (_, Self::Unknown)
            | (Self::MaybeText, Self::Null)
            | (Self::Null, Self::MaybeText | Self::Null) => true,
            (Self::List(one), Self::List(other)) => one.may_equal(other),
            (Self::Texts(_) | Self::Group(_), _) | (_, Self::Texts(_) | Self::Group(_)) => false,
            (one, other) => {
                one == other || (one.is_number() && other.is_number()) || (one.is_text() && other.is_text())
            }
        }
    }

    /// Whether one can be said to be smaller.
    pub(super) fn may_be_less(&self, other: &Self) -> bool {
        let ordered = |kind: &Self| {
            kind.is_number() || kind.is_text() || matches!(kind, Self::Moment | Self::Bool | Self::Unknown)
        };
        ordered(self) && ordered(other) && self.may_equal(other)
    }

    /// What is known of a value that is of one kind or of the other.
    pub(super) fn or(self, other: &Self) -> Self {
        match (&self, other) {
            (one, other) if one == other => self,
            (one, other) if one.is_text() && other.is_text() => Self::MaybeText,
            (Self::Text, Self::Null) | (Self::Null, Self::Text) => Self::MaybeText,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Bool => "true or false",
            Self::Int | Self::Uint => "a whole number",
            Self::Double => "a number",
            Self::Text => "a text",
            Self::MaybeText => "a text or null",
            Self::Null => "null",
            Self::Moment => "a time",
            Self::Texts(_) => "texts by name",
            Self::List(_) => "a list",
            Self::Group(_) => "a group of variables",
            Self::Unknown => "something",
        })
    }
}
