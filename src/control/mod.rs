//! What administrators and operators can do, once, for every face of it.
