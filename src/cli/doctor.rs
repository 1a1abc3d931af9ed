//! `doctor`: what this machine, the files and the gateway look like to somebody who would look for trouble.

use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::x509::X509;
use serde_json::Value;

use super::arguments::Output;
use super::output::{self, Failure, line, safe};
use super::rights;
use super::run::Asking;
use crate::config::{Config, UpstreamTls};
use crate::control::{Command, Finding};

/// Certificates that end within so many days are told.
const SOON: i32 = 30;
/// A peer must answer a connection within this time.
const CONNECT: Duration = Duration::from_secs(3);
/// Less free space than this is told, in bytes; a tenth of it stops nothing yet, but soon.
const ROOMY: u64 = 2 << 30;

pub(super) fn run(asking: &Asking) -> Result<ExitCode, Failure> {
    let config = Config::load(&asking.sources).map_err(Failure::invalid)?;
    let mut findings = vec![Finding::ok("configuration", format!("`{}` is valid", asking.sources.file.display()))];
    examine_files(&config, &asking.sources.file, &mut findings);
    examine_key(&config, &mut findings);
    examine_disk(&config, &mut findings);
    findings.push(time_synchronisation());
    examine_certificates(&config, &mut findings);
    examine_peers(&config, &mut findings);
    // What the gateway knows; without one, what the databases say, which also tells whether they can be opened.
    let of_gateway = match asking.connect() {
        Ok(line) => {
            findings.extend(line.process()?.map_or_else(not_running, hardening));
            line.ask(Command::Doctor)
        }
        Err(failure) => {
            findings.extend(not_running());
            Err(failure)
        }
    };
    let of_gateway = of_gateway.or_else(|failure| {
        let found = Finding::fail("databases", failure.to_string(), "nothing works before this does");
        serde_json::to_value([found]).map_err(Failure::other)
    })?;
    let mut shown = serde_json::to_value(&findings).map_err(Failure::other)?;
    if let (Value::Array(all), Value::Array(more)) = (&mut shown, of_gateway) {
        all.extend(more);
    }
    print(&shown, asking.output)
}

/// Exit code 1 where something fails.
fn print(findings: &Value, output: Output) -> Result<ExitCode, Failure> {
    let list = findings.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |finding: &Value, key: &str| safe(finding[key].as_str().unwrap_or_default());
    if output == Output::Table {
        for finding in list {
            line(&format!("{:<5} {:<20} {}", text(finding, "state"), text(finding, "check"), text(finding, "found")))?;
            if !text(finding, "advice").is_empty() {
                line(&format!("{:>26} {}", "→", text(finding, "advice")))?;
            }
        }
        let count = |state: &str| list.iter().filter(|finding| finding["state"] == state).count();
        line(&format!("{} ok, {} to look at, {} failures", count("ok"), count("warn"), count("fail")))?;
    } else {
        output::print(findings, &[], output)?;
    }
    let failed = list.iter().any(|finding| finding["state"] == "fail");
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Who may write a file decides what the gateway does.
fn examine_files(config: &Config, file: &Path, findings: &mut Vec<Finding>) {
    let too_open = rights::too_open(config, file);
    if too_open.is_empty() {
        findings.push(Finding::ok("permissions", "only their owner writes configuration, policies and databases"));
    }
    findings.extend(too_open.iter().map(|one| Finding::fail("permissions", one.to_string(), one.advice())));
}

fn examine_key(config: &Config, findings: &mut Vec<Finding>) {
    match config.app_key.texts() {
        Ok(texts) if texts.previous.is_empty() => findings.push(Finding::ok("APP_KEY", "is there")),
        Ok(texts) => {
            let found =
                format!("is there, with {} predecessors that still open what they sealed", texts.previous.len());
            findings.push(Finding::ok("APP_KEY", found));
        }
        Err(error) => {
            let advice = "without it nothing that is sealed can be opened; docs/operations.md says what can be saved";
            findings.push(Finding::fail("APP_KEY", error.to_string(), advice));
        }
    }
}

fn examine_disk(config: &Config, findings: &mut Vec<Finding>) {
    let folder = &config.store.directory;
    let Ok(room) = rustix::fs::statvfs(folder.as_path()) else {
        findings.push(Finding::warn("disk", format!("nothing is known of `{}`", folder.display()), "look at `df`"));
        return;
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let found = format!("{} MiB are free in `{}`", free >> 20, folder.display());
    let advice = "a full disk stops everything: make room, or have older audit rows pruned (`audit.keep`)";
    findings.push(match free {
        ROOMY.. => Finding::ok("disk", found),
        _ if free > ROOMY / 10 => Finding::warn("disk", found, advice),
        _ => Finding::fail("disk", found, advice),
    });
}

/// Schedules, tokens and evidence depend on the clock. Only systemd-timesyncd leaves a mark that anybody can read.
fn time_synchronisation() -> Finding {
    let mark = |path: &str| Path::new(path).exists();
    if mark("/run/systemd/timesync/synchronized") {
        return Finding::ok("clock", "is synchronised (systemd-timesyncd)");
    }
    if ["/run/chrony/chronyd.pid", "/run/chronyd.pid", "/run/ntpd.pid"].into_iter().any(mark) {
        return Finding::ok("clock", "is looked after by an NTP daemon");
    }
    let advice =
        "schedules, tokens and evidence need the right time: see `timedatectl`, run chrony or systemd-timesyncd";
    Finding::warn("clock", "nothing is known to synchronise it", advice)
}

fn examine_certificates(config: &Config, findings: &mut Vec<Finding>) {
    let with_tls = config.upstreams.iter().filter_map(|(name, upstream)| Some((name, upstream.tls.as_ref()?)));
    for (name, UpstreamTls { ca_file, client_certificate, .. }) in with_tls {
        let own = client_certificate.as_ref().map(|(certificate, _)| certificate.as_path());
        for file in ca_file.as_deref().into_iter().chain(own) {
            findings.push(certificate(name.as_str(), file));
        }
    }
}

fn certificate(upstream: &str, file: &Path) -> Finding {
    let read = std::fs::read(file).ok().and_then(|pem| X509::stack_from_pem(&pem).ok());
    let now = Asn1Time::days_from_now(0).ok();
    let ends =
        read.iter().flatten().filter_map(|one| now.as_ref()?.diff(one.not_after()).ok()).map(|left| left.days).min();
    let name = format!("`{}` of upstream `{upstream}`", file.display());
    match ends {
        None => {
            Finding::fail("certificates", format!("{name} cannot be read"), "correct the path in the configuration")
        }
        Some(days) if days < 0 => Finding::fail("certificates", format!("{name} has ended"), "renew it"),
        Some(days) if days < SOON => Finding::warn("certificates", format!("{name} ends in {days} days"), "renew it"),
        Some(days) => Finding::ok("certificates", format!("{name} serves for {days} days")),
    }
}

fn examine_peers(config: &Config, findings: &mut Vec<Finding>) {
    for (name, upstream) in &config.upstreams {
        for peer in &upstream.peers {
            findings.push(match TcpStream::connect_timeout(&peer.address, CONNECT) {
                Ok(_) => Finding::ok("upstreams", format!("`{name}` answers at {}", peer.address)),
                Err(error) => Finding::fail(
                    "upstreams",
                    format!("`{name}` does not answer at {}: {error}", peer.address),
                    "is the ERP up, and may this machine reach it?",
                ),
            });
        }
    }
}

fn not_running() -> Vec<Finding> {
    let advice = "`systemctl start erp-access`, or `erp-access serve`";
    vec![Finding::warn("gateway", "no gateway runs here; what follows is from the databases", advice)]
}

/// Where units are looked for, in systemd's order.
const UNIT_FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];

/// A unit that is exposed more than this, as `systemd-analyze security` counts, is told.
const EXPOSED: f32 = 1.5;

/// What systemd says of the unit of the gateway, where there is one.
fn unit(process: u32) -> Option<Finding> {
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let own = groups.lines().filter_map(|line| line.rsplit('/').next()).find(|name| name.ends_with(".service"));
    let name = own.unwrap_or("erp-access.service");
    let file = UNIT_FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|file| file.exists())?;
    let file = file.display().to_string();
    let analysis = ["security", "--offline=true", "--no-pager", &file];
    let told = std::process::Command::new("systemd-analyze").args(analysis).output().ok()?;
    let level = exposure(&String::from_utf8_lossy(&told.stdout))?;
    let found = format!("`{file}` has an exposure level of {level} (0 is none, 10 the most)");
    let advice = format!("compare it with the unit in systemd/; `systemd-analyze security {name}` shows each point");
    Some(if level <= EXPOSED { Finding::ok("hardening", found) } else { Finding::warn("hardening", found, advice) })
}

/// The level in what `systemd-analyze security` prints.
fn exposure(told: &str) -> Option<f32> {
    let line = told.lines().find(|line| line.contains("Overall exposure level"))?;
    line.rsplit_once(": ")?.1.split_whitespace().next()?.parse().ok()
}

/// What the kernel says of the process that runs the gateway.
fn hardening(process: u32) -> Vec<Finding> {
    let folder = Path::new("/proc").join(process.to_string());
    let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
    let says = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned()).unwrap_or_default()
    };
    let advice = "run it under the unit in systemd/, which confines it";
    let mut findings = Vec::new();
    if std::fs::metadata(&folder).is_ok_and(|metadata| metadata.uid() == 0) {
        findings.push(Finding::warn("hardening", format!("process {process} runs as root"), advice));
    }
    if says("NoNewPrivs") == "0" {
        findings.push(Finding::warn("hardening", "the process may gain privileges", advice));
    }
    if says("Seccomp") == "0" {
        findings.push(Finding::warn("hardening", "no system call filter is set", advice));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("hardening", format!("process {process} is confined")));
    }
    findings.extend(unit(process));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposure_of_a_unit_is_read_from_what_systemd_prints() {
        let told =
            "  NAME DESCRIPTION EXPOSURE\n✓ User= …\n\n→ Overall exposure level for erp-access.service: 1.4 OK 🙂\n";
        assert_eq!(exposure(told), Some(1.4));
        assert_eq!(exposure("Failed to load unit"), None);
    }

    #[test]
    fn the_shipped_unit_is_exposed_little() {
        let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/erp-access.service");
        let analysis = ["security", "--offline=true", "--no-pager", unit];
        let Ok(told) = std::process::Command::new("systemd-analyze").args(analysis).output() else {
            eprintln!("SKIPPED: systemd-analyze is not installed");
            return;
        };
        let level = exposure(&String::from_utf8_lossy(&told.stdout));
        assert!(level.is_some_and(|level| level <= EXPOSED), "{level:?}");
    }
}
