//! The key ring: every key is derived from `APP_KEY`; keyed hashes, sealed values, password hashes.
