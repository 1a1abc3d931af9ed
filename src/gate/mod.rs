//! The whole decision about a request, on one screen.
