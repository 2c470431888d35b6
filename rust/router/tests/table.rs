//! Routes are swapped as a whole while others evaluate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use edgehub_router::{Decisions, OwnedMessage, RouteDecl, RouteReader, RouteSet, RouteTable, Source};

/// Inputs that every set of the test leads to.
const INPUTS: usize = 8;

/// Routes to the same inputs, all with the time to live `generation`.
fn generation(generation: u32) -> RouteSet {
    let decl = |i: usize| {
        let sink = format!("BrokeredEndpoint('/modules/m/inputs/{i}')");
        let text = format!("FROM /messages/* WHERE kind = 'a' INTO {sink}");
        RouteDecl { ttl_secs: generation, ..RouteDecl::new(format!("r{i}"), text) }
    };
    RouteSet::compile("edge", &(0..INPUTS).map(decl).collect::<Vec<_>>()).unwrap()
}

fn message() -> OwnedMessage {
    OwnedMessage { application: vec![("kind".into(), Some("a".into()))], ..OwnedMessage::default() }
}

#[test]
fn a_reader_follows_its_table() {
    let table = Arc::new(RouteTable::new(generation(1)));
    let mut reader = table.reader();
    let mut copy = reader.clone();
    assert_eq!((table.version(), reader.get().routes()[0].ttl_secs), (0, 1));
    let kept = table.load();
    let old = table.replace(generation(2));
    assert!(Arc::ptr_eq(&kept, &old));
    assert_eq!((table.version(), reader.get().routes()[0].ttl_secs), (1, 2));
    assert_eq!(copy.get().routes()[0].ttl_secs, 2);
    assert_eq!(kept.routes()[0].ttl_secs, 1);
    assert!(Arc::ptr_eq(reader.table(), &table));
}

#[test]
fn the_old_set_goes_with_its_last_reader() {
    let table = Arc::new(RouteTable::new(generation(1)));
    let mut reader = table.reader();
    let old = Arc::downgrade(&table.replace(generation(2)));
    assert!(old.upgrade().is_some());
    reader.get();
    assert!(old.upgrade().is_none());
}

#[test]
fn a_table_holds_what_belongs_to_its_routes() {
    struct Queues {
        set: RouteSet,
        lengths: Vec<AtomicUsize>,
    }
    let set = generation(1);
    let lengths = set.endpoints().iter().map(|_| AtomicUsize::new(0)).collect();
    let table = Arc::new(RouteTable::new(Queues { set, lengths }));
    let mut decisions = Decisions::new();
    let mut reader = table.reader();
    let queues = reader.get();
    queues.set.evaluate(Source::Device, &message(), &mut decisions);
    for decision in &decisions {
        queues.lengths[decision.endpoint_index as usize].fetch_add(1, Ordering::Relaxed);
    }
    assert!(table.load().lengths.iter().all(|length| length.load(Ordering::Relaxed) == 1));
}

/// Evaluates until the last set is seen; gives the number of sets seen.
fn follow(mut reader: RouteReader, last: u32) -> usize {
    let (msg, mut decisions) = (message(), Decisions::new());
    let (mut seen, mut before) = (0, 0);
    while before < last {
        reader.get().evaluate(Source::Device, &msg, &mut decisions);
        let generations: Vec<u32> = decisions.iter().map(|d| d.ttl_secs).collect();
        assert_eq!(generations, [generations[0]; INPUTS], "a mix of two sets");
        assert!(generations[0] >= before, "an older set came back");
        seen += usize::from(generations[0] > before);
        before = generations[0];
    }
    seen
}

#[test]
fn every_evaluation_sees_one_whole_set() {
    let last = 200;
    let table = Arc::new(RouteTable::new(generation(1)));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let reader = table.reader();
            thread::spawn(move || follow(reader, last))
        })
        .collect();
    for number in 2..=last {
        let old = table.replace(generation(number));
        assert_eq!(old.routes()[0].ttl_secs, number - 1);
    }
    for worker in workers {
        assert!(worker.join().unwrap() >= 1);
    }
    assert_eq!(table.version(), u64::from(last) - 1);
}
