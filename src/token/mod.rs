//! The token endpoint: issue, revoke, introspect.
