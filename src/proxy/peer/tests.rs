//! Turns, shares, failures and time, without a network.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use pingora_core::{Error, ErrorType, RetryType};
use proptest::prelude::*;

use super::pool::{Checked, Lease, Pool};
use super::repeat::{Broken, Standing};
use super::{Attempts, Mark, NoAttempt, Peers};
use crate::config::{Balance, Connections, Ejection, Upstream, UpstreamPeer, UpstreamTimeouts};
use crate::domain::{Clock, ManualClock};
use crate::upstream::double::{Heard, MemoryVault, ScriptedErp, account, erp, static_key};
use crate::upstream::{NobodyIsTold, Sessions};

const START: Duration = Duration::ZERO;
const PERIOD: Duration = Duration::from_secs(10);

fn upstream(weights: &[u32], balance: Balance) -> Upstream {
    let second = Duration::from_secs(1);
    let peer = |(weight, port): (&u32, u16)| UpstreamPeer { address: ([127, 0, 0, 1], port).into(), weight: *weight };
    Upstream {
        peers: weights.iter().zip(1_u16..).map(peer).collect(),
        balance,
        ejection: Ejection { failures: 3, pause: PERIOD },
        timeouts: UpstreamTimeouts {
            connect: second,
            read: second * 30,
            write: second,
            idle: second,
            sign_in: second,
            total: None,
        },
        ..static_key()
    }
}

fn pool(weights: &[u32], balance: Balance) -> Arc<Pool> {
    Arc::new(Pool::of(&upstream(weights, balance), Arc::new(NobodyIsTold)))
}

fn take(pool: &Arc<Pool>, now: Duration) -> Lease {
    Pool::take(pool, &[], now).expect("a peer")
}

/// The peers of `count` requests one after the other.
fn turns(pool: &Arc<Pool>, count: usize, now: Duration) -> Vec<usize> {
    (0..count).map(|_| take(pool, now).index()).collect()
}

/// Lets a peer fail as often as it takes to be left out.
fn eject(pool: &Arc<Pool>, index: usize, now: Duration) {
    let others: Vec<usize> = (0..pool.count()).filter(|other| *other != index).collect();
    let lease = Pool::take(pool, &others, now).expect("the peer");
    (0..3).for_each(|_| lease.failed(now));
}

#[test]
fn equal_peers_take_turns_in_the_order_written() {
    assert_eq!(turns(&pool(&[1, 1, 1], Balance::RoundRobin), 7, START), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn heavy_peer_gets_its_share_but_not_in_one_go() {
    assert_eq!(turns(&pool(&[5, 1, 1], Balance::RoundRobin), 7, START), [0, 0, 1, 0, 2, 0, 0]);
}

proptest! {
    #[test]
    fn as_many_turns_as_the_weights_sum_up_to_give_each_peer_exactly_its_share(
        weights in proptest::collection::vec(1_u32..20, 1..6), rounds in 1_usize..4
    ) {
        let pool = pool(&weights, Balance::RoundRobin);
        let sum: u32 = weights.iter().sum();
        let turns = turns(&pool, usize::try_from(sum).expect("fits") * rounds, START);
        for (index, weight) in weights.iter().enumerate() {
            let share = turns.iter().filter(|turn| **turn == index).count();
            prop_assert_eq!(share, usize::try_from(*weight).expect("fits") * rounds);
        }
    }

    #[test]
    fn someone_is_always_tried_however_many_are_left_out(
        events in proptest::collection::vec((0_usize..3, 0_u8..4, 0_u64..20), 0..60), balance in 0_usize..3
    ) {
        let balance = [Balance::RoundRobin, Balance::LeastConnections, Balance::InOrder][balance];
        let pool = pool(&[1, 2, 3], balance);
        let mut now = START;
        for (index, event, seconds) in events {
            now += Duration::from_secs(seconds);
            let others: Vec<usize> = (0..3).filter(|other| *other != index).collect();
            let lease = Pool::take(&pool, &others, now).expect("the peer");
            match event {
                0 => lease.succeeded(),
                1 => lease.failed(now),
                2 => pool.checked(([127, 0, 0, 1], 1).into(), Checked::Unwell),
                _ => eject(&pool, index, now),
            }
            drop(lease);
            prop_assert!(Pool::take(&pool, &[], now).is_some());
        }
        let everybody = [0, 1, 2];
        prop_assert!(Pool::take(&pool, &everybody, now).is_none());
    }
}

#[test]
fn peers_in_order_leave_everything_to_the_first_that_is_well() {
    let pool = pool(&[1, 1], Balance::InOrder);
    assert_eq!(turns(&pool, 3, START), [0, 0, 0]);
    eject(&pool, 0, START);
    assert_eq!(turns(&pool, 3, START), [1, 1, 1]);
    assert_eq!(turns(&pool, 1, PERIOD), [0]);
}

#[test]
fn least_busy_peer_is_next() {
    let pool = pool(&[1, 1], Balance::LeastConnections);
    let (first, second) = (take(&pool, START), take(&pool, START));
    assert_eq!((first.index(), second.index()), (0, 1));
    drop(second);
    assert_eq!(take(&pool, START).index(), 1);
    assert_eq!(take(&pool, START).index(), 1, "the first is still busy");
    drop(first);
    assert_eq!(turns(&pool, 4, START).iter().filter(|index| **index == 0).count(), 2, "idle peers take turns");
}

#[test]
fn busy_counts_against_weight() {
    let pool = pool(&[3, 1], Balance::LeastConnections);
    let held: Vec<Lease> = (0..8).map(|_| take(&pool, START)).collect();
    assert_eq!(held.iter().filter(|lease| lease.index() == 0).count(), 6);
}

#[test]
fn peer_that_fails_three_times_in_a_row_is_left_out_and_comes_back_by_itself() {
    let pool = pool(&[1, 1], Balance::RoundRobin);
    eject(&pool, 0, START);
    assert_eq!(turns(&pool, 4, START), [1, 1, 1, 1]);
    assert_eq!(turns(&pool, 2, PERIOD.checked_sub(Duration::from_millis(1)).expect("less")), [1, 1]);
    assert!(turns(&pool, 2, PERIOD).contains(&0));
}

#[test]
fn failures_that_are_not_in_a_row_leave_nobody_out() {
    let pool = pool(&[1, 1], Balance::RoundRobin);
    let lease = take(&pool, START);
    for _ in 0..5 {
        lease.failed(START);
        lease.failed(START);
        lease.succeeded();
    }
    drop(lease);
    assert!(turns(&pool, 2, START).contains(&0));
}

#[test]
fn one_failure_of_a_peer_that_has_just_come_back_leaves_it_out_again() {
    let pool = pool(&[1, 1], Balance::InOrder);
    eject(&pool, 0, START);
    let back = take(&pool, PERIOD);
    assert_eq!(back.index(), 0);
    back.failed(PERIOD);
    assert_eq!(take(&pool, PERIOD).index(), 1);
    assert_eq!(take(&pool, PERIOD * 2).index(), 0);
}

#[test]
fn when_all_are_left_out_the_one_that_comes_back_first_is_tried() {
    let pool = pool(&[1, 1, 1], Balance::RoundRobin);
    let second = Duration::from_secs(1);
    for (index, at) in [(1, START), (2, second), (0, second * 2)] {
        eject(&pool, index, at);
    }
    let tried = take(&pool, second * 3);
    assert_eq!(tried.index(), 1);
    tried.succeeded();
    assert_eq!(turns(&pool, 2, second * 3), [1, 1], "an answer ends the exile at once");
}

#[test]
fn peer_that_its_checks_call_unwell_is_left_out_until_they_call_it_well() {
    let pool = pool(&[1, 1], Balance::RoundRobin);
    let first = ([127, 0, 0, 1], 1).into();
    pool.checked(first, Checked::Unwell);
    assert_eq!(turns(&pool, 3, PERIOD * 100), [1, 1, 1]);
    pool.checked(([127, 0, 0, 1], 2).into(), Checked::Unwell);
    assert_eq!(turns(&pool, 2, START), [0, 0], "one is tried all the same");
    pool.checked(first, Checked::Well);
    assert_eq!(turns(&pool, 2, START), [0, 0]);
}

#[test]
fn peer_that_is_left_out_and_comes_back_is_told_once_each() {
    let heard = Arc::new(Heard::default());
    let pool = Arc::new(Pool::of(&upstream(&[1], Balance::InOrder), heard.clone()));
    eject(&pool, 0, START);
    for _ in 0..3 {
        take(&pool, START).failed(START);
    }
    take(&pool, PERIOD).failed(PERIOD);
    let (one, other) = (take(&pool, PERIOD * 2), take(&pool, PERIOD * 2));
    one.succeeded();
    other.succeeded();
    assert_eq!(heard.circuits(), ["Open", "HalfOpen", "Open", "HalfOpen", "Closed"]);
    let first = ([127, 0, 0, 1], 1).into();
    for checked in [Checked::Well, Checked::Unwell, Checked::Unwell, Checked::Well] {
        pool.checked(first, checked);
    }
    assert_eq!(heard.circuits(), ["Open", "Closed"]);
}

#[test]
fn peer_whose_failures_do_not_count_is_never_left_out() {
    let mut upstream = upstream(&[1, 1], Balance::InOrder);
    upstream.ejection.failures = 0;
    let pool = Arc::new(Pool::of(&upstream, Arc::new(NobodyIsTold)));
    eject(&pool, 0, START);
    assert_eq!(take(&pool, START).index(), 0);
}

const SHARED: Mark = Mark(None);

fn peers(upstream: &Upstream, clock: &ManualClock) -> Peers {
    Peers::of(upstream, 1, Arc::new(clock.clone()), Arc::new(NobodyIsTold)).expect("peers")
}

fn clock() -> ManualClock {
    ManualClock::at(jiff::Timestamp::UNIX_EPOCH)
}

#[test]
fn peer_that_took_no_connection_is_not_tried_twice_for_one_request() {
    let clock = clock();
    let peers = peers(&upstream(&[1, 1], Balance::RoundRobin), &clock);
    let mut attempts = Attempts::default();
    let first = attempts.next(&peers, SHARED).expect("a peer").0;
    assert!(attempts.not_connected(clock.monotonic()));
    let second = attempts.next(&peers, SHARED).expect("a peer").0;
    assert_ne!(first, second);
    assert!(!attempts.not_connected(clock.monotonic()), "there is no third");
    assert_eq!(attempts.next(&peers, SHARED).expect_err("none"), NoAttempt::NoPeer);
}

#[test]
fn gateway_errors_count_as_failures_and_other_answers_do_not() {
    for (status, left_out) in [(502, true), (503, true), (504, true), (500, false), (404, false), (200, false)] {
        let clock = clock();
        let peers = peers(&upstream(&[1, 1], Balance::InOrder), &clock);
        let first = |_| {
            let mut attempts = Attempts::default();
            let address = attempts.next(&peers, SHARED).expect("a peer").0;
            attempts.answered(StatusCode::from_u16(status).expect("a status"), clock.monotonic());
            address.port()
        };
        let ports: Vec<u16> = (0..4).map(first).collect();
        assert_eq!(ports, if left_out { [1, 1, 1, 2] } else { [1, 1, 1, 1] }, "{status}");
    }
}

#[test]
fn time_for_the_whole_exchange_spans_attempts_and_shortens_each_wait() {
    let clock = clock();
    let mut upstream = upstream(&[1, 1], Balance::InOrder);
    upstream.timeouts.total = Some(PERIOD);
    let peers = peers(&upstream, &clock);
    let mut attempts = Attempts::default();
    let (_, peer) = attempts.next(&peers, SHARED).expect("a peer");
    assert_eq!((peer.options.read_timeout, peer.options.write_timeout), (Some(PERIOD), Some(Duration::from_secs(1))));
    clock.advance(Duration::from_secs(4));
    let (_, peer) = attempts.next(&peers, SHARED).expect("a peer");
    assert_eq!(peer.options.read_timeout, Some(Duration::from_secs(6)));
    assert!(!attempts.is_late(clock.monotonic()));
    clock.advance(Duration::from_secs(6));
    assert!(attempts.is_late(clock.monotonic()));
    assert_eq!(attempts.next(&peers, SHARED).expect_err("late"), NoAttempt::TimeIsUp);
}

#[test]
fn connections_of_different_sessions_are_kept_apart_only_where_that_is_wanted() {
    let clock = clock();
    for (connections, apart) in [(Connections::Shared, false), (Connections::PerSession, true)] {
        let mut upstream = upstream(&[1], Balance::InOrder);
        upstream.connections = connections;
        let peers = peers(&upstream, &clock);
        let mark = |number| Mark((connections == Connections::PerSession).then_some(number));
        let key = |number| Attempts::default().next(&peers, mark(number)).expect("a peer").1.group_key;
        assert_eq!(key(7), key(7));
        assert_eq!(key(7) != key(8), apart);
    }
}

#[tokio::test]
async fn mark_tells_the_sessions_of_one_account_apart() {
    let vault = MemoryVault::with_password("password");
    let upstream = Upstream { connections: Connections::PerSession, ..static_key() };
    let sessions = Sessions::new(
        vec![upstream.clone()],
        ScriptedErp::new([]),
        Arc::<MemoryVault>::clone(&vault),
        Arc::new(clock()),
        Arc::new(NobodyIsTold),
    );
    let sessions = sessions.expect("sessions");
    let peers = peers(&upstream, &clock());
    let group = |session| Attempts::default().next(&peers, peers.mark(session)).expect("a peer").1.group_key;
    let first = sessions.obtain(&erp(), &account(1)).await.expect("a session");
    assert_eq!(group(&first), group(&first));
    vault.set_password("another", 2);
    sessions.secret_changed(&erp(), None).await.expect("changed");
    let second = sessions.obtain(&erp(), &account(1)).await.expect("a session");
    assert_ne!(group(&first), group(&second));
}

/// An error as Pingora makes it when it speaks with the ERP.
#[expect(clippy::unnecessary_box_returns, reason = "Pingora's errors are boxed")]
fn broke(kind: ErrorType, retry: RetryType) -> Box<Error> {
    let mut error = Error::new_up(kind);
    error.retry = retry;
    error
}

#[test]
fn only_safe_methods_are_repeated() {
    let standing = Standing { answered: false, another: true };
    for (method, repeated) in [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::OPTIONS, true),
        (Method::POST, false),
        (Method::PUT, false),
        (Method::PATCH, false),
        (Method::DELETE, false),
    ] {
        for retry in [RetryType::Decided(true), RetryType::Decided(false), RetryType::ReusedOnly] {
            for pooled in [true, false] {
                let broken = Broken { method: &method, whole: true, pooled };
                let error = broke(ErrorType::ConnectionClosed, retry);
                assert_eq!(broken.may_repeat(&error, standing), repeated, "{method} {pooled}");
            }
        }
    }
}

#[test]
fn a_request_is_repeated_only_whole_unanswered_and_to_somebody_else() {
    let fresh = Broken { method: &Method::GET, whole: true, pooled: false };
    let pooled = Broken { pooled: true, ..fresh };
    let (another, alone) = (Standing { answered: false, another: true }, Standing { answered: false, another: false });
    let closed = || broke(ErrorType::ConnectionClosed, RetryType::ReusedOnly);
    assert!(fresh.may_repeat(&closed(), another));
    assert!(!fresh.may_repeat(&closed(), alone));
    assert!(pooled.may_repeat(&closed(), alone), "a stale connection says nothing about the peer");
    assert!(!Broken { whole: false, ..pooled }.may_repeat(&closed(), another));
    assert!(!pooled.may_repeat(&closed(), Standing { answered: true, another: true }));
    assert!(!fresh.may_repeat(&broke(ErrorType::ReadTimedout, RetryType::Decided(false)), another));
    let by_client = Error::new_down(ErrorType::ConnectionClosed);
    assert!(!fresh.may_repeat(&by_client, another));
}

#[test]
fn stale_connections_and_clients_are_not_blamed_on_the_peer() {
    let fresh = Broken { method: &Method::POST, whole: true, pooled: false };
    let pooled = Broken { pooled: true, ..fresh };
    assert!(fresh.blames_peer(&broke(ErrorType::ConnectionClosed, RetryType::ReusedOnly)));
    assert!(fresh.blames_peer(&broke(ErrorType::ReadTimedout, RetryType::Decided(false))));
    assert!(!pooled.blames_peer(&broke(ErrorType::ConnectionClosed, RetryType::ReusedOnly)));
    assert!(!fresh.blames_peer(&Error::new_down(ErrorType::ReadTimedout)));
    assert!(!fresh.blames_peer(&Error::new(ErrorType::Custom("noted"))));
}
