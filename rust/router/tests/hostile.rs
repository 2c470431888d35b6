//! Texts and bodies made to do harm: each is taken or refused with a typed error, on a small stack.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use edgehub_router::{
    BODY_DEPTH_MAX, Condition, Decisions, EXPR_DEPTH_MAX, Features, OwnedMessage, ROUTE_BYTES_MAX,
    ROUTES_MAX, RouteDecl, RouteSet, Source, Verdict,
};

/// Far below what a thread gets by default: whatever recurses with the input overflows it.
const STACK_BYTES: usize = 256 << 10;

/// Runs on a thread with a small stack.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(test).unwrap();
    thread.join().expect("the test on the small stack failed");
}

/// Levels of JSON that are read.
const DEPTH_MAX: usize = BODY_DEPTH_MAX as usize;

const ANY_FEATURE: Features = Features { twin_change_includes: true };

fn message(body: impl Into<Vec<u8>>) -> OwnedMessage {
    let text = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    OwnedMessage {
        application: vec![text("a", "x"), text("n", "1")],
        system: vec![text("contentType", "application/json"), text("contentEncoding", "utf-8")],
        body: body.into(),
    }
}

/// Compiles, evaluates and explains a condition, alone and within a route; the two must agree.
fn verdict(condition: &str) -> Result<Verdict, &'static str> {
    let msg = message(r#"{"v":1,"yes":true}"#);
    let alone = match Condition::compile(condition, ANY_FEATURE) {
        Ok(compiled) => compiled.evaluate(&msg),
        Err(errors) => return Err(errors[0].problem.code()),
    };
    let decl = RouteDecl::new("r", format!("FROM /* WHERE {condition} INTO $upstream"));
    let set = RouteSet::compile("edge", &[decl]).map_err(|errors| errors[0].problem.code())?;
    let mut decisions = Decisions::new();
    set.evaluate(Source::Device, &msg, &mut decisions);
    assert_eq!(decisions.len() == 1, alone == Verdict::True);
    assert_eq!(set.explain(Source::Device, &msg).routes[0].verdict, Some(alone));
    Ok(alone)
}

/// The text `levels` deep: `open` so many times, the middle, `close` as often.
fn nested(open: &str, middle: &str, close: &str, levels: usize) -> String {
    format!("{}{middle}{}", open.repeat(levels), close.repeat(levels))
}

/// As many links as fit a route, joined by `operator`.
fn chain(first: &str, operator: &str, link: &str) -> String {
    let room = ROUTE_BYTES_MAX - first.len() - "FROM /* WHERE  INTO $upstream".len();
    let links = room / (operator.len() + link.len());
    format!("{first}{}", format!("{operator}{link}").repeat(links))
}

/// What nests, by what opens and closes it, around what.
const NESTS: [(&str, &str, &str); 9] = [
    ("(", "true", ")"),
    ("NOT ", "true", ""),
    ("- ", "1", ""),
    ("is_defined(", "a", ")"),
    ("upper(", "a", ")"),
    ("concat(a, ", "a", ")"),
    ("true AND (", "true", ")"),
    ("1 + (", "1", ")"),
    ("NOT (true = (", "true", "))"),
];

#[test]
fn nesting_ends_at_the_limit_with_a_typed_error() {
    on_a_small_stack(|| {
        for (open, middle, close) in NESTS {
            let deepest =
                (1..=EXPR_DEPTH_MAX).rev().find(|n| verdict(&nested(open, middle, close, *n)).is_ok());
            let deepest = deepest.expect("some depth is fine");
            assert!(deepest >= EXPR_DEPTH_MAX / 8, "{open}: only {deepest} levels");
            assert_eq!(verdict(&nested(open, middle, close, deepest + 1)), Err("too-deep"), "{open}");
            let most = (ROUTE_BYTES_MAX - 100) / (open.len() + close.len());
            assert_eq!(verdict(&nested(open, middle, close, most)), Err("too-deep"), "{open}");
            assert_eq!(verdict(&open.repeat(most)), Err("too-deep"), "{open}");
        }
    });
}

#[test]
fn long_chains_work_on_a_small_stack() {
    on_a_small_stack(|| {
        for (first, operator, link) in [
            ("a = 'x'", " AND ", "a = 'x'"),
            ("a = 'y'", " OR ", "a = 'x'"),
            ("a = a", " AND ", "a <> ''"),
            ("$body.yes", " AND ", "true"),
            ("true", " = ", "true"),
            ("(none ?? a) = 'x'", " AND ", "(none ?? a) = 'x'"),
            ("1 < 1", " + ", "1"),
            ("1 < $body.v", " + ", "$body.v"),
            ("is_defined(a)", " AND ", "NOT false"),
        ] {
            assert_eq!(verdict(&chain(first, operator, link)), Ok(Verdict::True), "{first}{operator}{link}");
        }
        let coalesced = chain("none", " ?? ", "none");
        assert_eq!(verdict(&coalesced), Ok(Verdict::Undefined));
        // What is built on the way may come to more than there is room for.
        let joined = verdict(&chain("'x' < a", " || ", "a"));
        assert!(matches!(joined, Ok(Verdict::True | Verdict::Undefined)), "{joined:?}");
    });
}

#[test]
fn one_call_may_take_many_arguments() {
    on_a_small_stack(|| {
        let texts = |count: usize| format!("concat(a{}) <> ''", ", a".repeat(count));
        assert_eq!(verdict(&texts(20_000)), Ok(Verdict::True));
        assert_eq!(verdict(&format!("is_defined(1{})", ", 1".repeat(20_000))), Err("arguments"));
    });
}

#[test]
fn floods_of_one_character_are_taken_or_refused() {
    on_a_small_stack(|| {
        for unit in [
            "/*",
            "*/",
            "/",
            "\"",
            "'",
            "$",
            "1",
            "0x",
            "e1",
            "\\",
            "'\\",
            "\\'",
            "\"\\u",
            "[",
            "]",
            "{",
            "}",
            "{$",
            "(",
            ")",
            ",",
            "-",
            "- ",
            "@",
            ";",
            ".",
            "?",
            "|",
            "<>",
            " ",
            "\n",
            "\r\n",
            "é",
            "😀",
            "\u{0}",
            "a",
            "a(",
            "not ",
            "true ",
            "null or ",
            "1=",
            "$body.",
            "$body.*.",
            "/**/",
            "'a' = 'a' and ",
            "??",
        ] {
            let text = unit.repeat((ROUTE_BYTES_MAX - 64) / unit.len());
            let _ = verdict(&text);
            for route in [text.clone(), format!("FROM /{text}"), format!("FROM /* INTO {text}")] {
                let errors = RouteSet::compile("edge", &[RouteDecl::new("r", route)]).unwrap_err();
                assert!(!errors.is_empty() && !errors[0].to_string().is_empty(), "{unit}");
            }
        }
    });
}

#[test]
fn a_text_beyond_the_limit_is_refused_whole() {
    let long = "a".repeat(ROUTE_BYTES_MAX + 1);
    assert_eq!(verdict(&long), Err("too-long"));
    let decl = RouteDecl::new("r", format!("FROM /* WHERE {long} INTO $upstream"));
    assert_eq!(RouteSet::compile("edge", &[decl]).unwrap_err()[0].problem.code(), "too-long");
}

fn everywhere(conditions: impl Iterator<Item = String>) -> RouteSet {
    let decl = |(i, condition): (usize, String)| {
        let sink = format!("BrokeredEndpoint('/modules/m/inputs/i{i}')");
        RouteDecl::new(format!("r{i}"), format!("FROM /* WHERE {condition} INTO {sink}"))
    };
    RouteSet::compile("edge", &conditions.enumerate().map(decl).collect::<Vec<_>>()).unwrap()
}

fn chosen(set: &RouteSet, msg: &OwnedMessage) -> Vec<u32> {
    let mut decisions = Decisions::new();
    set.evaluate(Source::Device, msg, &mut decisions);
    decisions.iter().map(|decision| decision.route_index).collect()
}

#[test]
fn ten_thousand_routes_each_with_its_own_constant() {
    on_a_small_stack(|| {
        let set = everywhere((0..ROUTES_MAX).map(|i| format!("a = 'k{i}'")));
        let with = |a: &str| OwnedMessage { application: vec![("A".into(), Some(a.into()))], ..message("") };
        assert_eq!(chosen(&set, &with("k7777")), [7777]);
        assert!(chosen(&set, &with("x")).is_empty());
        assert!(chosen(&set, &OwnedMessage::default()).is_empty());
    });
}

#[test]
fn ten_thousand_routes_all_alike() {
    on_a_small_stack(|| {
        let set = everywhere((0..ROUTES_MAX).map(|_| "a = 'x' AND $body.v = 1".to_owned()));
        assert_eq!(chosen(&set, &message(r#"{"v":1}"#)).len(), ROUTES_MAX);
        assert!(chosen(&set, &message(r#"{"v":2}"#)).is_empty());
        let why = set.explain(Source::Device, &message(r#"{"v":1}"#));
        assert!(why.routes.iter().all(|route| route.verdict == Some(Verdict::True)));
    });
}

#[test]
fn routes_that_share_growing_prefixes_of_one_chain() {
    on_a_small_stack(|| {
        const ROUTES: usize = 300;
        let links: Vec<String> = (0..ROUTES).map(|i| format!("as_number(n) < {}", ROUTES - i)).collect();
        let set = everywhere((1..=ROUTES).map(|count| links[..count].join(" AND ")));
        let with = |n: &str| OwnedMessage { application: vec![("n".into(), Some(n.into()))], ..message("") };
        let holds = |count: usize| (0..count as u32).collect::<Vec<_>>();
        assert_eq!(chosen(&set, &with("0")), holds(ROUTES));
        assert_eq!(chosen(&set, &with("200")), holds(ROUTES - 200));
        assert!(chosen(&set, &with("300")).is_empty());
        let sums =
            everywhere((1..=ROUTES).map(|count| format!("0 < {}", vec!["as_number(n)"; count].join(" + "))));
        assert_eq!(chosen(&sums, &with("1")), holds(ROUTES));
        assert!(chosen(&sums, &with("-1")).is_empty());
    });
}

#[test]
fn ten_thousand_paths_into_one_body() {
    on_a_small_stack(|| {
        let set = everywhere((0..ROUTES_MAX).map(|i| format!("$body.p{i}.q = {i}")));
        let member = |i: usize| format!("\"p{i}\":{{\"q\":{}}}", if i.is_multiple_of(2) { i } else { 0 });
        let members: Vec<String> = (0..ROUTES_MAX).map(member).collect();
        let msg = message(format!("{{{}}}", members.join(",")));
        assert_eq!(chosen(&set, &msg).len(), ROUTES_MAX / 2);
    });
}

/// Verdict of `$body.none = null`: true exactly if the body can be read.
fn readable(body: impl Into<Vec<u8>>) -> bool {
    let condition = Condition::compile("$body.none = null", ANY_FEATURE).unwrap();
    condition.evaluate(&message(body)) == Verdict::True
}

#[test]
fn bodies_of_nothing_but_structure_are_unreadable() {
    on_a_small_stack(|| {
        for unit in [
            "[",
            "{",
            "\"",
            "\\",
            "{\"a\":",
            "[[",
            "[{\"a\":",
            "\"\\",
            "'",
            "/*",
            "//",
            "-",
            "1",
            ",",
            ":",
            "}",
            "]",
            "{{",
            "{\"none\":",
            "{\"none\":[",
            "\u{feff}",
            "\\u",
            "é",
            " ",
            "\u{0}",
            "nul",
        ] {
            assert!(!readable(unit.repeat((1 << 20) / unit.len())), "{unit}");
            assert!(!readable(format!("{{\"a\":{}", unit.repeat((1 << 20) / unit.len()))), "{unit}");
        }
    });
}

#[test]
fn huge_bodies_are_read_to_the_end() {
    on_a_small_stack(|| {
        let list = |item: &str| format!("{{\"a\":[{item}{}],\"v\":1}}", format!(",{item}").repeat(200_000));
        for item in ["1", "\"x\"", "null", "[]", "{}", "{\"none\":1}", "\"\\\\\\\"\"", "\"{[\""] {
            assert!(readable(list(item)), "{item}");
        }
        assert!(readable(format!("{{\"a\":\"{}\"}}", "\\\\".repeat(1 << 20))));
        assert!(readable(format!("{{\"a\":{}}}", "9".repeat(1 << 20))));
        assert!(readable(format!("{{{}\"v\":1}}", "\"v\":{\"v\":[2]},".repeat(100_000))));
        assert!(readable(format!("{}{{}}{}", " ".repeat(1 << 20), "\n".repeat(1 << 20))));
    });
}

#[test]
fn deep_bodies_end_at_the_limit() {
    on_a_small_stack(|| {
        let lists = |depth: usize| format!("{{\"a\":{}}}", nested("[", "", "]", depth - 1));
        assert!(readable(lists(DEPTH_MAX)));
        assert!(!readable(lists(DEPTH_MAX + 1)));
        assert!(!readable(lists(100_000)));
        let objects = |depth: usize| nested("{\"a\":", "0", "}", depth);
        assert!(readable(objects(DEPTH_MAX)));
        assert!(!readable(objects(DEPTH_MAX + 1)));
    });
}

#[test]
fn wildcards_over_wide_bodies_find_too_much() {
    on_a_small_stack(|| {
        let path = vec!["*"; 32].join(".");
        let condition = Condition::compile(&format!("is_defined($body.{path})"), ANY_FEATURE).unwrap();
        let wide = |depth: usize| nested("{\"a\":0,\"b\":", "{\"a\":1,\"b\":2}", "}", depth);
        assert_eq!(condition.evaluate(&message(wide(31))), Verdict::False);
        assert_eq!(condition.evaluate(&message(nested("{\"b\":", "1", "}", 32))), Verdict::True);
    });
}
