//! The live view of accounts, credentials, grants and tokens that a request is checked against.
