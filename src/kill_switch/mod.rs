//! Kill switches: scopes, engage, release.
