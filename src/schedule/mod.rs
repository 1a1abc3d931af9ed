//! When the API is open: windows, holidays, the next change.
