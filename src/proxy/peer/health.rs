//! Asks peers whether they are well, where the configuration says so.

use std::collections::HashMap;
use std::sync::Arc;

use http::{Method, StatusCode};

use crate::config::{HealthCheck, Upstream};
use crate::domain::UpstreamName;
use crate::upstream::SignInRequest;

use super::Peers;
use crate::proxy::PingoraTransport;

/// Asks the peers of all upstreams that have a health check, for ever.
#[expect(clippy::implicit_hasher, reason = "the one map of peers that there is")]
pub async fn watch_health(
    upstreams: Vec<Arc<Upstream>>,
    peers: Arc<HashMap<UpstreamName, Peers>>,
    transport: Arc<PingoraTransport>,
) {
    let mut watching = Vec::new();
    for upstream in upstreams {
        let Some(check) = upstream.health_check.clone() else { continue };
        let count = peers.get(&upstream.name).map_or(0, Peers::count);
        for index in 0..count {
            let (upstream, check) = (Arc::clone(&upstream), check.clone());
            let (peers, transport) = (Arc::clone(&peers), Arc::clone(&transport));
            watching.push(watch_peer(index, upstream, check, peers, transport));
        }
    }
    let watching: Vec<_> = watching.into_iter().map(tokio::spawn).collect();
    for watcher in watching {
        let _ = watcher.await;
    }
}

async fn watch_peer(
    index: usize,
    upstream: Arc<Upstream>,
    check: HealthCheck,
    peers: Arc<HashMap<UpstreamName, Peers>>,
    transport: Arc<PingoraTransport>,
) {
    let Some(peers) = peers.get(&upstream.name) else { return };
    let Some((_, peer)) = peers.templates.get(index) else { return };
    let mut course = Course { well: true, streak: 0 };
    loop {
        let asked = transport.ask(peer, &upstream, question(&check));
        let answer = tokio::time::timeout(check.timeout, asked).await.ok().flatten();
        if let Some(well) = course.note(&check, answer) {
            peers.balancer.set_well(index, well);
        }
        tokio::time::sleep(check.every).await;
    }
}

/// The question carries nothing that is anybody's.
fn question(check: &HealthCheck) -> SignInRequest {
    let path = check.path.clone();
    SignInRequest { method: Method::GET, path, headers: Vec::new(), body: None, content_type: None }
}

/// How a peer's answers went so far.
struct Course {
    well: bool,
    /// Answers in a row that say otherwise.
    streak: u32,
}

impl Course {
    /// Takes one answer in; says how the peer is, when that has changed.
    fn note(&mut self, check: &HealthCheck, answer: Option<StatusCode>) -> Option<bool> {
        let good = answer.is_some_and(|status| check.status.contains(&status));
        if good == self.well {
            self.streak = 0;
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        let wanted = if good { check.healthy } else { check.unhealthy };
        if self.streak < wanted {
            return None;
        }
        *self = Self { well: good, streak: 0 };
        Some(good)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn peer_changes_its_state_after_as_many_answers_as_configured() {
        let second = Duration::from_secs(1);
        let status = vec![StatusCode::OK];
        let check = HealthCheck { path: "/".into(), every: second, timeout: second, healthy: 2, unhealthy: 3, status };
        let mut course = Course { well: true, streak: 0 };
        let (good, bad) = (Some(StatusCode::OK), Some(StatusCode::BAD_GATEWAY));
        let answers = [bad, None, good, bad, bad, None, bad, good, bad, good, good];
        let told: Vec<_> = answers.into_iter().map(|answer| course.note(&check, answer)).collect();
        let expected = [None, None, None, None, None, Some(false), None, None, None, None, Some(true)];
        assert_eq!(told, expected);
    }
}
