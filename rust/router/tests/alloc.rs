//! Evaluation allocates nothing once its buffers have grown.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use edgehub_router::{Decisions, OwnedMessage, RouteDecl, RouteSet, Source};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts what each thread allocates.
struct Counting;

fn count() {
    // Fails only while the thread ends, when nothing is measured any more.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: everything is passed on to the system allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn message() -> OwnedMessage {
    let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    OwnedMessage {
        application: vec![text("temp", "31.5"), text("kind", "a")],
        system: vec![text("contentType", "application/json"), text("contentEncoding", "utf-8")],
        body: br#"{"a":{"b":[1,{"c":"t\u0065xt"}]},"x":[{},[[]]],"k":"plain"}"#.to_vec(),
    }
}

/// Allocations of many evaluations after one, and the number of decisions of each.
fn allocations(conditions: &[&str]) -> (usize, usize) {
    let decls: Vec<RouteDecl> = conditions
        .iter()
        .enumerate()
        .map(|(i, condition)| {
            let sink = format!("BrokeredEndpoint('/modules/m{i}/inputs/i')");
            RouteDecl::new(format!("r{i}"), format!("FROM /messages/* WHERE {condition} INTO {sink}"))
        })
        .collect();
    let set = RouteSet::compile("edge", &decls).unwrap();
    let msg = message();
    let source = Source::Module { module: "M1", output: Some("out") };
    let mut decisions = Decisions::new();
    set.evaluate(source, &msg, &mut decisions);
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..100 {
        set.evaluate(source, &msg, &mut decisions);
    }
    (ALLOCATIONS.with(Cell::get) - before, decisions.len())
}

#[test]
fn properties() {
    let conditions =
        ["true", "kind = 'a'", "as_number(temp) > 30 AND kind = 'a'", "KIND = 'b' OR $kind = 'a'"];
    assert_eq!(allocations(&conditions), (0, 3));
}

#[test]
fn built_texts() {
    let conditions = ["upper(kind) || 'x' = 'Ax'", "concat(kind, temp, kind) = 'a31.5a'", "length(kind) = 1"];
    assert_eq!(allocations(&conditions), (0, 3));
}

#[test]
fn bodies() {
    let conditions = ["$body.a.b[0] = 1", "$body.a.b[1].c = 'text'", "$body.k = 'plain'", "$body.none = 1"];
    assert_eq!(allocations(&conditions), (0, 3));
}

#[test]
fn wildcards() {
    // The message has one member at `a`, three members, and an escaped text below two wildcards.
    let conditions =
        ["$body.a.*[0] = 1", "is_defined($body.*)", "$body.*.b[1].c = 'text'", "$body.*.*[1].c = 'text'"];
    assert_eq!(allocations(&conditions), (0, 3));
}

#[test]
fn the_count_counts() {
    let before = ALLOCATIONS.with(Cell::get);
    drop(std::hint::black_box(vec![1_u8]));
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 1);
}
