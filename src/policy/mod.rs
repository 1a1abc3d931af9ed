//! What exists (endpoint catalogue) and what is allowed (rules); all else is denied.
