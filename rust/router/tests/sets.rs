//! Sets of many routes: shared parts, equality tables, sources of any path, dry runs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::collections::HashMap;

use edgehub_router::{Decisions, Lookup, MessageView, OwnedMessage, RouteDecl, RouteSet, Source, Verdict};

fn sink(i: usize) -> String {
    format!("BrokeredEndpoint('/modules/m{i}/inputs/i')")
}

fn set_of(conditions: &[String]) -> RouteSet {
    let decl = |(i, condition): (usize, &String)| {
        RouteDecl::new(format!("r{i}"), format!("FROM /* WHERE {condition} INTO {}", sink(i)))
    };
    let decls: Vec<RouteDecl> = conditions.iter().enumerate().map(decl).collect();
    RouteSet::compile("edge", &decls).unwrap()
}

fn message(properties: &[(&str, &str)]) -> OwnedMessage {
    let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), Some((*text).to_owned()));
    OwnedMessage { application: properties.iter().map(owned).collect(), ..OwnedMessage::default() }
}

fn taken<M: MessageView>(set: &RouteSet, source: Source<'_>, msg: &M) -> Vec<u32> {
    let mut decisions = Decisions::new();
    set.evaluate(source, msg, &mut decisions);
    decisions.iter().map(|d| d.route_index).collect()
}

/// A message that counts how often each property is asked for.
#[derive(Default)]
struct Counting {
    asked: RefCell<HashMap<String, usize>>,
}

impl MessageView for Counting {
    fn application_property(&self, name: &str) -> Lookup<'_> {
        *self.asked.borrow_mut().entry(name.to_owned()).or_default() += 1;
        Lookup::Text("7")
    }

    fn system_property(&self, name: &str) -> Lookup<'_> {
        self.application_property(name)
    }

    fn body(&self) -> &[u8] {
        b""
    }
}

#[test]
fn each_property_is_asked_for_once_however_many_routes_want_it() {
    let conditions: Vec<String> = (0..50)
        .map(|i| format!("as_number(A) + as_number(b) > {i} OR upper(a) = 'X{i}' OR $c = '{i}'"))
        .collect();
    let msg = Counting::default();
    assert_eq!(taken(&set_of(&conditions), Source::Device, &msg).len(), 14);
    let mut asked: Vec<(String, usize)> = msg.asked.take().into_iter().collect();
    asked.sort();
    assert_eq!(asked, [("$c".to_owned(), 1), ("a".to_owned(), 1), ("b".to_owned(), 1)]);
}

#[test]
fn a_property_that_no_open_question_needs_is_not_asked_for() {
    let msg = Counting::default();
    let conditions = ["a = 'no' AND upper(b) = 'X'".to_owned(), "a = '7' OR c = '7'".to_owned()];
    assert_eq!(taken(&set_of(&conditions), Source::Device, &msg), [1]);
    assert_eq!(msg.asked.take().keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn parts_shared_by_growing_chains_keep_their_values() {
    let chain = |n: usize| (0..=n).map(|i| format!("lower(k{i})")).collect::<Vec<_>>().join(" || ");
    let wanted = |n: usize| (0..=n).map(|i| i.to_string()).collect::<String>();
    let conditions: Vec<String> = (0..60).map(|n| format!("{} = '{}'", chain(n), wanted(n))).collect();
    let names: Vec<(String, String)> = (0..60).map(|i| (format!("K{i}"), i.to_string())).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(taken(&set_of(&conditions), Source::Device, &message(&pairs)).len(), 60);
    assert_eq!(taken(&set_of(&conditions), Source::Device, &message(&pairs[..30])).len(), 30);
}

#[test]
fn routes_found_by_text_keep_their_order() {
    let decls: Vec<RouteDecl> = (0..200_u32)
        .map(|i| RouteDecl {
            priority: (i % 3 == 0).then_some(i % 10),
            ..RouteDecl::new(
                format!("r{i}"),
                format!(
                    "FROM /* WHERE k{} = 'v{}' AND as_number(n) >= {} INTO {}",
                    i % 4,
                    i % 5,
                    i % 7,
                    sink(i as usize % 21)
                ),
            )
        })
        .collect();
    let set = RouteSet::compile("edge", &decls).unwrap();
    let msg = message(&[("k0", "v1"), ("K1", "v2"), ("k2", "V3"), ("n", "3")]);
    let mut expected: Vec<(u32, u32)> = Vec::new();
    let mut order: Vec<u32> = (0..200).collect();
    order.sort_by_key(|i| (decls[*i as usize].priority(), *i));
    for i in order {
        let holds = matches!((i % 4, i % 5), (0, 1) | (1, 2)) && i % 7 <= 3;
        if holds && expected.iter().all(|(_, endpoint)| *endpoint != i % 21) {
            expected.push((i, i % 21));
        }
    }
    assert_eq!(taken(&set, Source::Device, &msg), expected.iter().map(|(i, _)| *i).collect::<Vec<_>>());
    assert!(expected.len() > 5);
}

#[test]
fn routes_with_the_same_condition_agree() {
    let conditions: Vec<String> = (0..12)
        .map(|i| match i % 3 {
            0 => "as_number(a) > 1 AND (kind = 'x' OR kind = 'y')".to_owned(),
            1 => "AS_NUMBER( A ) > 1 AND (Kind = 'x' OR kind = 'y')".to_owned(),
            _ => "as_number(a) > 1 AND kind = 'x' AND NOT is_defined(b)".to_owned(),
        })
        .collect();
    let set = set_of(&conditions);
    let two = [0, 1, 3, 4, 6, 7, 9, 10];
    assert_eq!(taken(&set, Source::Device, &message(&[("a", "2"), ("kind", "y")])), two);
    assert_eq!(taken(&set, Source::Device, &message(&[("a", "2"), ("kind", "x"), ("b", "")])), two);
    assert_eq!(taken(&set, Source::Device, &message(&[("a", "2"), ("kind", "x")])).len(), 12);
    assert!(taken(&set, Source::Device, &message(&[("a", "1"), ("kind", "x")])).is_empty());
}

#[test]
fn body_texts_are_looked_up_too() {
    let conditions: Vec<String> = (0..30).map(|i| format!("$body.kind = 'k{i}'")).collect();
    let set = set_of(&conditions);
    let mut msg = message(&[]);
    msg.system = vec![
        ("contentType".into(), Some("application/json".into())),
        ("contentEncoding".into(), Some("utf-8".into())),
    ];
    for (body, routes) in [
        (r#"{"kind":"k7"}"#, vec![7]),
        (r#"{"kind":"k\u0038"}"#, vec![8]),
        (r#"{"kind":7}"#, vec![]),
        ("{}", vec![]),
        ("", vec![]),
    ] {
        msg.body = body.into();
        assert_eq!(taken(&set, Source::Device, &msg), routes, "{body}");
    }
}

#[test]
fn one_buffer_serves_sets_of_any_size() {
    let large = set_of(&(0..300).map(|i| format!("p{i} = 'x' OR q = '{i}'")).collect::<Vec<_>>());
    let small = set_of(&["q = '250'".to_owned(), "p1 = 'x'".to_owned(), "length(q) = 3".to_owned()]);
    let mut decisions = Decisions::new();
    for _ in 0..3 {
        let msg = message(&[("q", "250"), ("p3", "x")]);
        for (set, routes) in [(&large, vec![3, 250]), (&small, vec![0, 2])] {
            set.evaluate(Source::Device, &msg, &mut decisions);
            assert_eq!(decisions.iter().map(|d| d.route_index).collect::<Vec<_>>(), routes);
        }
    }
}

#[test]
fn sources_are_read_from_paths() {
    let module = |module, output| Source::Module { module, output };
    for (path, source) in [
        ("/messages/", Source::Device),
        ("/Messages", Source::Device),
        ("/twinChangeNotifications/", Source::TwinChange),
        ("/messages/modules/m1/", module("m1", None)),
        ("/MESSAGES/Modules/M1", module("M1", None)),
        ("/messages/modules/m1/outputs/o1/", module("m1", Some("o1"))),
        ("/messages/modules/m1/outputs/o1/deep", module("m1", Some("o1/deep"))),
        ("/messages/modules/", Source::Path("/messages/modules/")),
        ("/messages/modules/m1/inputs/i", Source::Path("/messages/modules/m1/inputs/i")),
        ("/messages/modules/m1/outputs/", Source::Path("/messages/modules/m1/outputs/")),
        ("/", Source::Path("/")),
        ("", Source::Path("")),
        ("/plant", Source::Path("/plant")),
    ] {
        assert_eq!(Source::parse(path), source, "{path}");
    }
}

#[test]
fn any_path_matches_routes_by_whole_segments() {
    let sources = [
        "/*",
        "/messages/*",
        "/messages/modules/m1/*",
        "/plant/line",
        "/plant/*/x",
        "/twinChangeNotifications",
    ];
    let decl = |(i, source): (usize, &&str)| {
        RouteDecl::new(format!("r{i}"), format!("FROM {source} INTO {}", sink(i)))
    };
    let decls: Vec<RouteDecl> = sources.iter().enumerate().map(decl).collect();
    let set = RouteSet::compile("edge", &decls).unwrap();
    let msg = message(&[]);
    for (path, routes) in [
        ("/plant/line", vec![0, 3]),
        ("/Plant/LINE/7/", vec![0, 3]),
        ("/plant/liner", vec![0]),
        ("/plant/*/x", vec![0, 4]),
        ("/messages/other", vec![0, 1]),
        ("/messages/modules/m1/outputs/", vec![0, 1, 2]),
        ("/messages/modules/m1/outputs/o", vec![0, 1, 2]),
        ("/twinchangenotifications", vec![0, 5]),
    ] {
        assert_eq!(taken(&set, Source::parse(path), &msg), routes, "{path}");
    }
}

#[test]
fn outputs_with_slashes_match_what_they_begin_with() {
    let outputs = ["a", "a/b", "A/B/c", "b"];
    let decl = |(i, output): (usize, &&str)| {
        RouteDecl::new(format!("r{i}"), format!("FROM /messages/modules/m/outputs/{output} INTO {}", sink(i)))
    };
    let decls: Vec<RouteDecl> = outputs.iter().enumerate().map(decl).collect();
    let set = RouteSet::compile("edge", &decls).unwrap();
    for (output, routes) in
        [("a", vec![0]), ("a/b", vec![0, 1]), ("A/b/C/d", vec![0, 1, 2]), ("ab", vec![]), ("b", vec![3])]
    {
        let source = Source::Module { module: "M", output: Some(output) };
        assert_eq!(taken(&set, source, &message(&[])), routes, "{output}");
    }
}

#[test]
fn a_dry_run_tells_false_from_undefined() {
    let decls = [
        RouteDecl::new("t", "FROM /* WHERE a = 'x' INTO $upstream"),
        RouteDecl::new("f", "FROM /messages/* WHERE a = 'y' AND b = 'z' INTO $upstream"),
        RouteDecl::new("u", "FROM /* WHERE b = 'z' INTO $upstream"),
        RouteDecl::new("other", "FROM /twinChangeNotifications INTO $upstream"),
        RouteDecl::new("all", "FROM /* INTO $upstream"),
    ];
    let set = RouteSet::compile("edge", &decls).unwrap();
    let mut verdicts = vec![(9, Verdict::True)];
    set.dry_run().verdicts(Source::Device, &message(&[("a", "x")]), &mut verdicts);
    assert_eq!(
        verdicts,
        [(0, Verdict::True), (1, Verdict::False), (2, Verdict::Undefined), (4, Verdict::True)]
    );
}
