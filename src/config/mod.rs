//! `conf/erp-access.yaml`: raw → checked, all errors at once.

mod upstream;

pub use upstream::{
    BodyTemplate, Extract, InjectedHeader, JsonTemplate, LostRule, Piece, Recipe, SignInStep, Success, Template,
    Upstream, UpstreamTimeouts, UpstreamTls,
};
