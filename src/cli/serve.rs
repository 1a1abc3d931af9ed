//! `serve`, `check`, `db migrate`.

use std::process::ExitCode;
use std::sync::Arc;

use super::arguments::{Check, Serve};
use super::output::{Failure, line, line_to_stderr};
use super::rights;
use super::run::world;
use crate::app::{self, App};
use crate::config::{Config, Sources};
use crate::domain::Actor;
use crate::policy::PolicyStore;
use crate::proxy::Signals;
use crate::service_manager::Inherited;
use crate::telemetry;

pub(super) fn serve(sources: &Sources, arguments: &Serve) -> Result<ExitCode, Failure> {
    let inherited = Inherited::take().map_err(Failure::other)?;
    let config = Config::load(sources).map_err(Failure::invalid)?;
    telemetry::init(&config.log).map_err(Failure::other)?;
    forbid_core_dumps()?;
    allow_open_files(config.gateway.limits.connections);
    if arguments.migrate {
        app::migrate(&config).map_err(Failure::other)?;
    }
    for one in rights::too_open(&config, &sources.file) {
        log::warn!("{one}: {}", one.advice());
    }
    let signals = Signals::register().map_err(Failure::other)?;
    let app = App::build_on(&config, &world(), inherited).map_err(Failure::other)?;
    let control = Arc::clone(app.control());
    let reload = move || control.reload(Some(&Actor::System));
    signals.handle(app.stop(), reload).map_err(Failure::other)?;
    app.run().map_err(Failure::other)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn check(sources: &Sources, arguments: &Check) -> Result<ExitCode, Failure> {
    let config = Config::load(sources).map_err(Failure::invalid)?;
    let policies = PolicyStore::open(&config.policies.directory).map_err(Failure::invalid)?;
    config.app_key.texts().map_err(Failure::invalid)?;
    app::check_policies(&config, &policies).map_err(Failure::invalid)?;
    app::check_certificates(&config, &world()).map_err(Failure::invalid)?;
    if arguments.print {
        line(config.print().trim_end())?;
    }
    let set = policies.current();
    line(&format!(
        "ok: {} endpoints, {} policies, {} upstreams",
        set.endpoints().len(),
        set.policy_names().len(),
        config.upstreams.len()
    ))?;
    if !set.warnings().is_empty() {
        line_to_stderr(&format!("{} about the policies; see `erp-access policy lint`", set.warnings().summary()));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn migrate(sources: &Sources) -> Result<ExitCode, Failure> {
    let config = Config::load(sources).map_err(Failure::invalid)?;
    app::migrate(&config).map_err(Failure::other)?;
    line(&format!("the databases in {} have this version's format", config.store.directory.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Each connection of a client may need one to the ERP, and the rest needs some files too.
const OTHER_FILES: u64 = 256;

/// Takes as many open files as the system lets us, and says where these are too few for the connections that are allowed.
fn allow_open_files(connections: u32) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let given = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: given.maximum, maximum: given.maximum });
    let open = if raised.is_ok() { given.maximum } else { given.current };
    let needed = 2 * u64::from(connections) + OTHER_FILES;
    if let Some(open) = open.filter(|open| *open < needed) {
        log::warn!(
            "{open} files may be open at once, and {connections} connections (`gateway.limits.connections`) may need {needed}; \
             raise `LimitNOFILE=` or `ulimit -n`, or lower the setting"
        );
    }
}

/// A core dump would hold every key.
fn forbid_core_dumps() -> Result<(), Failure> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| {
        Failure::other(format!("core dumps cannot be forbidden, and they would hold every key: {error}"))
    })
}
