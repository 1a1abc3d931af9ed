//! How many instructions the steps of a request take, counted by valgrind. More than what is allowed here fails, whatever
//! else the machine does; `./dev count` counts, and `./dev test` too.
//!
//! What is allowed is what was counted (rustc 1.95, x86-64 with AVX2) and a twentieth more: seeds of hash tables differ
//! from run to run, and the C library's `memcpy` from machine to machine.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench that cannot go on must fail")]

#[path = "common/client.rs"]
mod client;
mod common;
#[path = "common/scene.rs"]
mod scene;

use std::hint::black_box;

use erp_access::audit::{ContentDescription, Preview, PreviewCollector, RedactionLists, Redactor};
use erp_access::directory::TokenEntry;
use erp_access::domain::{AccountId, PolicyName, Target};
use erp_access::gate::{CleanHead, Head};
use erp_access::policy::{Facts, Grants, PolicySet};
use erp_access::upstream::AccountRef;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use scene::{LIMITS, Scene, headers, rules};

/// What a step may take.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// A gate that has admitted before: what is made once is made.
fn warm() -> Scene {
    let scene = Scene::new(20, "audit:\n  guarantee: after_response\n");
    scene.admit();
    scene
}

/// 2,000 endpoints, ten granted policies of ten rules each.
fn granted(condition: &str) -> (PolicySet, Vec<PolicyName>) {
    let held = (0..10).map(|number| format!("p{number}").parse().expect("a name")).collect();
    let granted = (rules(2000, 10, 10, condition), held);
    // What building the set has left to the allocator is cleared up by the first to ask it for something.
    assert!(is_allowed(&granted), "allowed");
    granted
}

fn without_condition() -> (PolicySet, Vec<PolicyName>) {
    granted("")
}

fn with_conditions() -> (PolicySet, Vec<PolicyName>) {
    granted(", when: 'request.query[\"archived\"] != \"true\"'")
}

/// An order of 1 KiB.
fn order() -> (Redactor, Vec<u8>) {
    let lines: Vec<String> = (1..15)
        .map(|number| format!("{{\"product\":\"A-{number}\",\"quantity\":{number},\"note\":\"as last time\"}}"))
        .collect();
    let text = format!("{{\"customer\":17,\"lines\":[{}]}}", lines.join(","));
    (Redactor::new(&RedactionLists::default()), text.into_bytes())
}

#[library_benchmark]
#[bench::plain(args = (b"/v1/orders/42?page=2&size=50"), config = at_most(2_000))]
#[bench::escaped(args = (b"/v1/%6f%72ders/caf%c3%a9?page=2"), config = at_most(2_950))]
fn canonicalise(target: &[u8]) -> bool {
    Target::parse(black_box(target)).is_ok()
}

#[library_benchmark]
#[bench::usual(args = (headers("Bearer x")), config = at_most(6_250))]
fn whole_head(headers: HeaderMap) -> bool {
    let head = Head { version: Version::HTTP_11, method: "GET", raw_target: b"/v1/orders/42", headers: &headers };
    CleanHead::check(black_box(&head), &LIMITS).is_ok()
}

#[library_benchmark]
#[bench::live(args = (warm()), config = at_most(13_500))]
fn find_the_token(scene: Scene) -> TokenEntry {
    let found = scene.find_token();
    std::mem::forget(scene);
    found
}

#[library_benchmark]
#[bench::by_rules(args = (without_condition()), config = at_most(8_600))]
#[bench::by_conditions(args = (with_conditions()), config = at_most(38_700))]
fn decide(granted: (PolicySet, Vec<PolicyName>)) -> bool {
    let allowed = is_allowed(black_box(&granted));
    std::mem::forget(granted);
    allowed
}

fn is_allowed((set, held): &(PolicySet, Vec<PolicyName>)) -> bool {
    let target = Target::parse(b"/v1/things0/42?archived=false").expect("a target");
    let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one");
    let facts = Facts::new("GET", target.path(), target.query(), jiff::Timestamp::UNIX_EPOCH);
    set.decide(&matched, Grants::Bounded(&mut held.iter()), &facts).is_ok()
}

// From the head to the queued decision record.
#[library_benchmark]
#[bench::after_response(args = (warm()), config = at_most(49_000))]
fn admit(scene: Scene) {
    scene.admit();
    std::mem::forget(scene);
}

#[library_benchmark]
#[bench::one_header(args = (warm()), config = at_most(4_700))]
fn inject(scene: Scene) -> HeaderMap {
    let account = AccountRef { id: AccountId::from_bytes([1; 16]), name: "acme".parse().expect("a name") };
    let erp = "erp".parse().expect("a name");
    let session = scene.runtime.block_on(scene.sessions.obtain(&erp, &account)).expect("a session");
    let mut headers = HeaderMap::with_capacity(8);
    let set = |name: &HeaderName, value: HeaderValue| drop(headers.insert(name.clone(), value));
    session.inject(black_box(&Method::GET), &account, set).expect("injected");
    std::mem::forget((scene, session));
    headers
}

#[library_benchmark]
#[bench::order_of_1_kib(args = (order()), config = at_most(202_000))]
fn preview((redactor, body): (Redactor, Vec<u8>)) -> Preview {
    let description = ContentDescription { content_type: Some("application/json"), content_encoding: None };
    let mut collector = PreviewCollector::new(2048, &description);
    collector.push(black_box(&body));
    collector.finish(&redactor, &[])
}

library_benchmark_group!(
    name = steps;
    benchmarks = canonicalise, whole_head, find_the_token, decide, admit, inject, preview
);
main!(library_benchmark_groups = steps);
