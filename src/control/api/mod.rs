//! The operations over HTTP: each has its route, and one document describes them all.

mod schemas;
