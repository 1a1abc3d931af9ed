//! Wiring and shutdown; no decisions.
