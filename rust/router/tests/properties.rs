//! Conditions made at random: what is compiled agrees with a plain evaluation of the tree.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use edgehub_router::{
    Condition, Decisions, Features, OwnedMessage, RouteDecl, RouteSet, Source, Verdict, fold, names_equal,
};
use proptest::prelude::*;

/// A number expression.
#[derive(Debug, Clone)]
enum Num {
    Literal(i16),
    /// `as_number` of a property.
    Property(&'static str),
    Negate(Box<Num>),
    Infix(&'static str, Box<Num>, Box<Num>),
    Length(Box<Text>),
    Coalesce(Box<Num>, Box<Num>),
}

/// A text expression.
#[derive(Debug, Clone)]
enum Text {
    Literal(&'static str),
    Property(&'static str),
    Concat(Box<Text>, Box<Text>),
    Upper(Box<Text>),
    Coalesce(Box<Text>, Box<Text>),
}

/// A bool expression.
#[derive(Debug, Clone)]
enum Cond {
    Literal(bool),
    Undefined,
    Numbers(&'static str, Num, Num),
    Texts(&'static str, Text, Text),
    Bools(&'static str, Box<Cond>, Box<Cond>),
    Not(Box<Cond>),
    And(Box<Cond>, Box<Cond>),
    Or(Box<Cond>, Box<Cond>),
    IsDefined(Box<Cond>),
    IsString(Text),
    StartsWith(Text, Text),
}

/// What the message holds under a name.
#[derive(Debug, Clone, Copy)]
enum Given {
    Text(&'static str),
    Null,
    Absent,
}

const PROPERTIES: [(&str, Given); 6] = [
    ("three", Given::Text("3")),
    ("neg", Given::Text(" (2.5) ")),
    ("word", Given::Text("Été")),
    ("empty", Given::Text("")),
    ("nil", Given::Null),
    ("none", Given::Absent),
];

fn message() -> OwnedMessage {
    let there = PROPERTIES.iter().filter_map(|(name, given)| match given {
        Given::Text(text) => Some(((*name).to_owned(), Some((*text).to_owned()))),
        Given::Null => Some(((*name).to_owned(), None)),
        Given::Absent => None,
    });
    OwnedMessage { application: there.collect(), ..OwnedMessage::default() }
}

/// What a text is: undefined, null, or a text.
#[derive(Debug, Clone, PartialEq)]
enum Word {
    Undefined,
    Null,
    Is(String),
}

fn property(name: &str) -> Word {
    match PROPERTIES.iter().find(|(n, _)| *n == name) {
        Some((_, Given::Text(text))) => Word::Is((*text).to_owned()),
        Some((_, Given::Null)) => Word::Null,
        _ => Word::Undefined,
    }
}

fn text(t: &Text) -> Word {
    match t {
        Text::Literal(text) => Word::Is((*text).to_owned()),
        Text::Property(name) => property(name),
        Text::Concat(a, b) => match (text(a), text(b)) {
            (Word::Undefined, _) | (_, Word::Undefined) => Word::Undefined,
            (a, b) => {
                Word::Is([a, b].iter().map(|w| if let Word::Is(t) = w { t.as_str() } else { "" }).collect())
            }
        },
        Text::Upper(a) => match text(a) {
            Word::Is(text) => Word::Is(text.to_uppercase()),
            _ => Word::Undefined,
        },
        Text::Coalesce(a, b) => match text(a) {
            Word::Undefined => text(b),
            defined => defined,
        },
    }
}

/// NaN is undefined.
fn num(n: &Num) -> f64 {
    match n {
        Num::Literal(n) => f64::from(*n),
        Num::Property(name) => match *name {
            "three" => 3.0,
            "neg" => -2.5,
            _ => f64::NAN,
        },
        Num::Negate(n) => -num(n),
        Num::Infix(op, a, b) => match (*op, num(a), num(b)) {
            ("+", a, b) => a + b,
            ("-", a, b) => a - b,
            ("*", a, b) => a * b,
            ("/", a, b) => a / b,
            (_, a, b) => a % b,
        },
        Num::Length(t) => match text(t) {
            Word::Is(text) => text.encode_utf16().count() as f64,
            _ => f64::NAN,
        },
        Num::Coalesce(a, b) => match num(a) {
            n if n.is_nan() => num(b),
            n => n,
        },
    }
}

fn holds(op: &str, order: std::cmp::Ordering) -> bool {
    match op {
        "=" => order.is_eq(),
        "!=" | "<>" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn cond(c: &Cond) -> Option<bool> {
    match c {
        Cond::Literal(b) => Some(*b),
        Cond::Undefined => None,
        Cond::Numbers(op, a, b) => num(a).partial_cmp(&num(b)).map(|order| holds(op, order)),
        Cond::Texts(op, a, b) => match (text(a), text(b)) {
            (Word::Is(a), Word::Is(b)) => Some(holds(op, a.encode_utf16().cmp(b.encode_utf16()))),
            _ => None,
        },
        Cond::Bools(op, a, b) => Some(holds(op, cond(a)?.cmp(&cond(b)?))),
        Cond::Not(a) => cond(a).map(|b| !b),
        Cond::And(a, b) => match (cond(a), cond(b)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), b) => b,
            (None, _) => None,
        },
        Cond::Or(a, b) => match (cond(a), cond(b)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), b) => b,
            (None, _) => None,
        },
        Cond::IsDefined(a) => Some(cond(a).is_some()),
        Cond::IsString(t) => Some(matches!(text(t), Word::Is(_))),
        Cond::StartsWith(a, b) => match (text(a), text(b)) {
            (Word::Is(a), Word::Is(b)) => Some(a.starts_with(&b)),
            _ => None,
        },
    }
}

/// Text of an expression and how tightly its operator binds.
type Printed = (u8, String);

const PRIMARY: u8 = 10;

/// Parentheses only where an operand binds more loosely than its place wants.
fn wrap((tight, text): Printed, wanted: u8) -> String {
    if tight < wanted { format!("({text})") } else { text }
}

fn infix(tight: u8, op: &str, left: Printed, right: Printed) -> Printed {
    (tight, format!("{} {op} {}", wrap(left, tight), wrap(right, tight + 1)))
}

fn print_num(n: &Num) -> Printed {
    match n {
        Num::Literal(n) => (PRIMARY, n.to_string()),
        Num::Property(name) => (PRIMARY, format!("as_number({name})")),
        Num::Negate(n) => (9, format!("- {}", wrap(print_num(n), 9))),
        Num::Infix(op @ ("+" | "-"), a, b) => infix(7, op, print_num(a), print_num(b)),
        Num::Infix(op, a, b) => infix(8, op, print_num(a), print_num(b)),
        Num::Length(t) => (PRIMARY, format!("length({})", print_text(t).1)),
        Num::Coalesce(a, b) => infix(2, "??", print_num(a), print_num(b)),
    }
}

fn print_text(t: &Text) -> Printed {
    match t {
        Text::Literal(text) => (PRIMARY, format!("'{text}'")),
        Text::Property(name) => (PRIMARY, (*name).to_owned()),
        Text::Concat(a, b) => infix(7, "||", print_text(a), print_text(b)),
        Text::Upper(a) => (PRIMARY, format!("UPPER({})", print_text(a).1)),
        Text::Coalesce(a, b) => infix(2, "??", print_text(a), print_text(b)),
    }
}

fn compare(op: &str, left: Printed, right: Printed) -> Printed {
    infix(if matches!(op, "=" | "!=" | "<>") { 5 } else { 6 }, op, left, right)
}

fn print(c: &Cond) -> Printed {
    match c {
        Cond::Literal(b) => (PRIMARY, b.to_string()),
        // The literal `undefined` has a type of its own; this is a bool.
        Cond::Undefined => (5, "none = none".to_owned()),
        Cond::Numbers(op, a, b) => compare(op, print_num(a), print_num(b)),
        Cond::Texts(op, a, b) => compare(op, print_text(a), print_text(b)),
        Cond::Bools(op, a, b) => compare(op, print(a), print(b)),
        Cond::Not(a) => (9, format!("not {}", wrap(print(a), 9))),
        Cond::And(a, b) => infix(4, "and", print(a), print(b)),
        Cond::Or(a, b) => infix(3, "OR", print(a), print(b)),
        Cond::IsDefined(a) => (PRIMARY, format!("is_defined({})", print(a).1)),
        Cond::IsString(t) => (PRIMARY, format!("is_string({})", print_text(t).1)),
        Cond::StartsWith(a, b) => (PRIMARY, format!("starts_with({}, {})", print_text(a).1, print_text(b).1)),
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(PROPERTIES.map(|(name, _)| name).to_vec())
}

fn comparison() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["=", "!=", "<>", "<", "<=", ">", ">="])
}

fn text_strategy() -> impl Strategy<Value = Text> {
    let literal = prop::sample::select(vec!["", "3", "Été", "é", "a b"]).prop_map(Text::Literal);
    let leaf = prop_oneof![literal, name().prop_map(Text::Property)];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let pair = (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            pair.clone().prop_map(|(a, b)| Text::Concat(a, b)),
            pair.prop_map(|(a, b)| Text::Coalesce(a, b)),
            inner.prop_map(|a| Text::Upper(Box::new(a))),
        ]
    })
}

fn num_strategy() -> impl Strategy<Value = Num> {
    let leaf = prop_oneof![
        (-4_i16..10).prop_map(Num::Literal),
        name().prop_map(Num::Property),
        text_strategy().prop_map(|t| Num::Length(Box::new(t))),
    ];
    let op = prop::sample::select(vec!["+", "-", "*", "/", "%"]);
    leaf.prop_recursive(3, 8, 2, move |inner| {
        let pair = (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            (op.clone(), pair.clone()).prop_map(|(op, (a, b))| Num::Infix(op, a, b)),
            pair.prop_map(|(a, b)| Num::Coalesce(a, b)),
            inner.prop_map(|a| Num::Negate(Box::new(a))),
        ]
    })
}

fn cond_strategy() -> impl Strategy<Value = Cond> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Cond::Literal),
        Just(Cond::Undefined),
        (comparison(), num_strategy(), num_strategy()).prop_map(|(op, a, b)| Cond::Numbers(op, a, b)),
        (comparison(), text_strategy(), text_strategy()).prop_map(|(op, a, b)| Cond::Texts(op, a, b)),
        text_strategy().prop_map(Cond::IsString),
        (text_strategy(), text_strategy()).prop_map(|(a, b)| Cond::StartsWith(a, b)),
    ];
    leaf.prop_recursive(5, 32, 2, |inner| {
        let pair = (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            2 => pair.clone().prop_map(|(a, b)| Cond::And(a, b)),
            2 => pair.clone().prop_map(|(a, b)| Cond::Or(a, b)),
            1 => (comparison(), pair).prop_map(|(op, (a, b))| Cond::Bools(op, a, b)),
            1 => inner.clone().prop_map(|a| Cond::Not(Box::new(a))),
            1 => inner.prop_map(|a| Cond::IsDefined(Box::new(a))),
        ]
    })
}

fn verdict(text: &str, msg: &OwnedMessage) -> Verdict {
    match Condition::compile(text, Features::default()) {
        Ok(condition) => condition.evaluate(msg),
        Err(errors) => panic!("{text}: {}", errors[0]),
    }
}

fn route_set(condition: &str) -> RouteSet {
    let decl = RouteDecl::new("r", format!("FROM /* WHERE {condition} INTO $upstream"));
    RouteSet::compile("edge", &[decl]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn compiled_conditions_agree_with_the_tree(c in cond_strategy()) {
        let (text, msg) = (print(&c).1, message());
        let expected = Verdict::from(cond(&c));
        prop_assert_eq!(verdict(&text, &msg), expected, "{}", text);

        let set = route_set(&text);
        let mut decisions = Decisions::new();
        set.evaluate(Source::Device, &msg, &mut decisions);
        prop_assert_eq!(decisions.len() == 1, expected == Verdict::True, "{}", text);

        let why = set.explain(Source::Device, &msg);
        prop_assert_eq!(why.routes[0].verdict, Some(expected), "{}", text);
    }

    #[test]
    fn logic_is_kleene(a in cond_strategy(), b in cond_strategy()) {
        let msg = message();
        let (a, b) = (print(&a).1, print(&b).1);
        let same = |left: String, right: String| {
            prop_assert_eq!(verdict(&left, &msg), verdict(&right, &msg), "{} against {}", left, right);
            Ok(())
        };
        same(format!("not (({a}) and ({b}))"), format!("(not ({a})) or (not ({b}))"))?;
        same(format!("({a}) and ({b})"), format!("({b}) and ({a})"))?;
        same(format!("({a}) or (({a}) and ({b}))"), format!("({a})"))?;
        same(format!("not not ({a})"), format!("({a})"))?;
    }

    #[test]
    fn routes_of_one_set_do_not_disturb_each_other(all in prop::collection::vec(cond_strategy(), 1..6)) {
        let msg = message();
        let decls: Vec<RouteDecl> = all.iter().enumerate().map(|(i, c)| {
            let sink = format!("BrokeredEndpoint('/modules/m{i}/inputs/i')");
            RouteDecl::new(format!("r{i}"), format!("FROM /* WHERE {} INTO {sink}", print(c).1))
        }).collect();
        let set = RouteSet::compile("edge", &decls).unwrap();
        let mut decisions = Decisions::new();
        set.evaluate(Source::Device, &msg, &mut decisions);
        let got: Vec<usize> = decisions.iter().map(|d| d.route_index as usize).collect();
        let expected: Vec<usize> = (0..all.len()).filter(|i| cond(&all[*i]) == Some(true)).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn any_text_is_taken_or_refused(text in r"[ -~äé😀\t\n]{0,60}") {
        if let Ok(condition) = Condition::compile(&text, Features { twin_change_includes: true }) {
            condition.evaluate(&message());
        }
        let _ = RouteSet::compile("edge", &[RouteDecl::new("r", text)]);
    }

    #[test]
    fn any_words_are_taken_or_refused(words in prop::collection::vec(prop::sample::select(vec![
        "FROM", "/messages", "/*", "WHERE", "INTO", "$upstream", "(", ")", "and", "OR", "not", "-", "+", "=", "<>",
        "??", "||", "1", "'a'", "\"b", "a", "$a", "{", "}", "$body.a[0]", "$body..", "null", "undefined", "true",
        "upper", "concat(", ",", "is_null(", "@", ";", "/*c*/", "0x1F", "e5",
    ]), 0..24), glue in prop::bool::ANY) {
        let text = words.join(if glue { "" } else { " " });
        if let Err(errors) = Condition::compile(&text, Features::default()) {
            for error in errors {
                prop_assert!(error.range.start < error.range.end, "{}: {}", text, error);
            }
        }
        let _ = RouteSet::compile("edge", &[RouteDecl::new("r", text)]);
    }

    #[test]
    fn names_match_without_regard_to_case(name in "[a-zA-Z0-9_.éÉäÄ-]{1,12}") {
        prop_assert!(names_equal(&fold(&name), &name));
        prop_assert!(names_equal(&fold(&name), &fold(&name)));
        prop_assert!(names_equal(&fold(&name), &name.to_uppercase()));
        let longer = format!("{name}x");
        prop_assert!(!names_equal(&fold(&name), &longer));
    }
}

#[test]
fn every_prefix_of_a_route_is_taken_or_refused() {
    let text = "SELECT * FROM /messages/modules/é/outputs/o WHERE as_number($body.a[1].b) > 1e3 AND NOT \
                (upper('\\u00e9' ?? x) = \"y\" /* c */) INTO BrokeredEndpoint(\"/modules/m/inputs/i\")";
    for (at, _) in text.char_indices() {
        let result = RouteSet::compile("edge", &[RouteDecl::new("r", &text[..at])]);
        assert!(result.is_err(), "{}", &text[..at]);
    }
    assert!(RouteSet::compile("edge", &[RouteDecl::new("r", text)]).is_ok());
}
