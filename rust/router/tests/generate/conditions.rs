//! Condition texts out of the grammar. Operands have mostly the type that they should have.

use proptest::prelude::*;
use proptest::sample::select;

use super::messages::{BODY_NAMES, PROPERTIES, SYSTEM_PROPERTIES};

type Text = BoxedStrategy<String>;

/// Expressions of one depth by type.
#[derive(Clone)]
struct Level {
    number: Text,
    text: Text,
    bool: Text,
    body: Text,
    /// Any type, also null and undefined.
    any: Text,
}

/// A whole condition: mostly a bool.
pub fn condition() -> impl Strategy<Value = String> {
    let level = (0..3).fold(leaves(), |level, _| deeper(&level));
    prop_oneof![
        30 => level.bool,
        1 => level.any,
        1 => words(),
    ]
}

/// A condition of one or two comparisons.
pub fn small_condition() -> impl Strategy<Value = String> {
    deeper(&leaves()).bool
}

/// Tokens in any order: mostly not of the grammar.
pub fn words() -> impl Strategy<Value = String> {
    let word = select(vec![
        "kind",
        "'a'",
        "\"b\"",
        "1",
        "-1",
        "0x1F",
        "e5",
        "true",
        "null",
        "undefined",
        "$sysA",
        "{",
        "}",
        "(",
        ")",
        ",",
        "=",
        "<>",
        "!=",
        "<",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "||",
        "??",
        "and",
        "OR",
        "Not",
        "is_null(",
        "concat(",
        "$body.a[0]",
        "$body..",
        "[x]",
        "@",
        ";",
        "'open",
        "\\",
        "/* c */",
        "/*",
        "select",
        "into",
        ".",
        "😀",
    ]);
    (prop::collection::vec(word, 0..10), any::<bool>())
        .prop_map(|(words, glued)| words.join(if glued { "" } else { " " }))
}

fn text_of(choices: &[&str]) -> Text {
    let choices: Vec<String> = choices.iter().map(|c| (*c).to_owned()).collect();
    select(choices).boxed()
}

/// The word in one of three cases.
fn in_some_case(word: impl Strategy<Value = String> + 'static) -> Text {
    (word, 0..6_u8)
        .prop_map(|(word, case)| match case {
            0 => word.to_uppercase(),
            1 => word.to_lowercase(),
            _ => word,
        })
        .boxed()
}

fn numbers() -> Text {
    let fixed = text_of(&[
        "0",
        "1",
        "2",
        "3",
        "-1",
        "007",
        "0.5",
        "-.5",
        "1e2",
        "1.5E-1",
        "0x1F",
        "0XFFFFFFFFFFFFFFFF",
        "0x10000000000000000",
        "e5",
        "10e1000",
        "9007199254740993",
    ]);
    prop_oneof![2 => fixed, 1 => (-20_i16..60).prop_map(|n| n.to_string())].boxed()
}

fn texts() -> Text {
    text_of(&[
        "'a'",
        "'b'",
        "\"a\"",
        "\"\"",
        "'red'",
        "'RED'",
        "'3'",
        "'1,234'",
        "\" (5) \"",
        "'it\\'s'",
        "\"\\u0041\"",
        "'\\ud83d\\ude00'",
        "'é'",
        "'É'",
        "'ß'",
        "'a\\\\b'",
        "'/* c */'",
        "'two\nlines'",
        "'AND'",
        "'-1e1'",
        "'Infinity'",
    ])
}

fn properties() -> Text {
    let dollar = text_of(&SYSTEM_PROPERTIES).prop_map(|name| format!("${name}")).boxed();
    let braces = text_of(&SYSTEM_PROPERTIES).prop_map(|name| format!("{{${name}}}")).boxed();
    prop_oneof![
        4 => in_some_case(text_of(&PROPERTIES)),
        2 => in_some_case(dollar),
        1 => in_some_case(braces),
    ]
    .boxed()
}

fn paths() -> Text {
    let name = || text_of(&BODY_NAMES);
    let step = prop_oneof![
        3 => name().prop_map(|name| format!(".{name}")),
        2 => (0..4_u8).prop_map(|index| format!("[{index}]")),
        1 => Just(".*".to_owned()),
    ];
    let good = (name(), prop::collection::vec(step, 0..3))
        .prop_map(|(first, rest)| format!("$body.{first}{}", rest.concat()));
    let bad =
        text_of(&["$body.", "$body.a.", "$body..a", "$body.a[]", "$body.1", "$body.a[-1]", "$body.a[*]"]);
    let start = prop_oneof![8 => Just("$body."), 1 => Just("$BODY.")];
    let any_start = (start, good).prop_map(|(start, path)| path.replacen("$body.", start, 1)).boxed();
    prop_oneof![
        40 => any_start.clone(),
        8 => any_start.prop_map(|path| format!("{{ {path} }}")),
        1 => bad,
    ]
    .boxed()
}

fn leaves() -> Level {
    let oddities = text_of(&["null", "undefined", "$sysA[0]", "$body", "TRUE", "f(1)", "()"]);
    let (number, text, body) = (numbers(), prop_oneof![texts(), properties()].boxed(), paths());
    let bool = text_of(&["true", "false"]);
    let any = prop_oneof![number.clone(), text.clone(), bool.clone(), body.clone(), oddities].boxed();
    Level { number, text, bool, body, any }
}

/// Mostly one blank; now and then none, which may glue two tokens to one.
fn gap() -> Text {
    prop_oneof![
        40 => Just(" "),
        1 => Just(""),
        1 => Just("\t"),
        1 => Just("\n  "),
        1 => Just(" /* c */ "),
        1 => Just("/**/"),
    ]
    .prop_map(str::to_owned)
    .boxed()
}

/// An operand of the wrong type, once in a while.
fn mostly(right: &Text, any: &Text) -> Text {
    prop_oneof![50 => right.clone(), 1 => any.clone()].boxed()
}

/// `left op right`, mostly in parentheses.
fn infix(operators: &[&str], left: &Text, right: &Text) -> Text {
    let operator = in_some_case(text_of(operators));
    (left.clone(), gap(), operator, gap(), right.clone(), 0..4_u8)
        .prop_map(|(left, before, operator, after, right, bare)| {
            let text = format!("{left}{before}{operator}{after}{right}");
            if bare == 0 { text } else { format!("({text})") }
        })
        .boxed()
}

fn call(functions: &[&str], arguments: &[&Text]) -> Text {
    let name = in_some_case(text_of(functions));
    let arguments: Vec<Text> = arguments.iter().map(|a| (*a).clone()).collect();
    (name, arguments, 0..12_u8)
        .prop_map(|(name, arguments, trap)| {
            let gap = if trap == 0 { " " } else { "" };
            format!("{name}{gap}({})", arguments.join(if trap == 1 { "," } else { ", " }))
        })
        .boxed()
}

fn prefix(operator: &'static str, operand: &Text) -> Text {
    (operand.clone(), 0..3_u8)
        .prop_map(move |(operand, bare)| match bare {
            0 => format!("{operator} {operand}"),
            _ => format!("{operator} ({operand})"),
        })
        .boxed()
}

const ARITHMETIC: [&str; 5] = ["+", "-", "*", "/", "%"];
const COMPARISONS: [&str; 7] = ["=", "!=", "<>", "<", "<=", ">", ">="];
const TESTS: [&str; 5] = ["is_bool", "is_defined", "is_null", "is_number", "is_string"];

fn deeper(level: &Level) -> Level {
    let (number, text, bool, body, any) = (number(level), text(level), bool(level), body(level), &level.any);
    let any = prop_oneof![1 => any.clone(), 1 => number.clone(), 1 => text.clone(), 1 => bool.clone(), 1 => body.clone()];
    Level { number, text, bool, body, any: any.boxed() }
}

fn number(level: &Level) -> Text {
    let operand = prop_oneof![20 => level.number.clone(), 1 => level.any.clone()].boxed();
    let either = prop_oneof![3 => operand.clone(), 1 => level.body.clone()].boxed();
    let words = mostly(&prop_oneof![4 => level.text.clone(), 1 => level.body.clone()].boxed(), &level.any);
    prop_oneof![
        3 => level.number.clone(),
        3 => infix(&ARITHMETIC, &operand, &operand),
        1 => infix(&["??"], &operand, &operand),
        1 => prefix("-", &operand),
        3 => call(&["as_number"], &[&prop_oneof![words.clone(), either.clone()].boxed()]),
        1 => call(&["abs", "ceiling", "floor", "sign", "sqrt", "square", "exp"], &[&either]),
        1 => call(&["power"], &[&either, &operand]),
        1 => call(&["length"], &[&words]),
        1 => call(&["index_of"], &[&words, &words]),
    ]
    .boxed()
}

fn text(level: &Level) -> Text {
    let operand = mostly(&prop_oneof![6 => level.text.clone(), 1 => level.body.clone()].boxed(), &level.any);
    let place = mostly(&level.number, &level.any);
    let only_text = mostly(&level.text, &level.any);
    prop_oneof![
        6 => level.text.clone(),
        1 => infix(&["||"], &operand, &operand),
        1 => infix(&["??"], &only_text, &only_text),
        1 => call(&["concat"], &[&operand, &operand, &operand]),
        1 => call(&["lower", "upper"], &[&operand]),
        1 => call(&["substring"], &[&operand, &place]),
        1 => call(&["substring"], &[&operand, &place, &place]),
    ]
    .boxed()
}

fn body(level: &Level) -> Text {
    let number = mostly(&prop_oneof![level.number.clone(), level.body.clone()].boxed(), &level.any);
    let other = prop_oneof![
        3 => level.number.clone(),
        3 => level.text.clone(),
        2 => level.body.clone(),
        1 => Just("null".to_owned()),
    ]
    .boxed();
    prop_oneof![
        6 => level.body.clone(),
        1 => infix(&ARITHMETIC, &level.body, &number),
        1 => infix(&ARITHMETIC, &number, &level.body),
        1 => prefix("-", &level.body),
        1 => infix(&["??"], &level.body, &other),
        1 => infix(&["??"], &other, &level.body),
    ]
    .boxed()
}

fn bool(level: &Level) -> Text {
    let of = |right: &Text| mostly(right, &level.any);
    let (number, text, bool, body) = (of(&level.number), of(&level.text), of(&level.bool), of(&level.body));
    let other =
        prop_oneof![number.clone(), text.clone(), bool.clone(), body.clone(), Just("null".to_owned())]
            .boxed();
    let operand =
        prop_oneof![12 => bool.clone(), 2 => body.clone(), 1 => text_of(&["null", "undefined"])].boxed();
    let words = prop_oneof![4 => text.clone(), 1 => body.clone()].boxed();
    let compared = prop_oneof![
        1 => level.bool.clone(),
        3 => infix(&COMPARISONS, &number, &number),
        3 => infix(&COMPARISONS, &text, &text),
        1 => infix(&COMPARISONS, &bool, &bool),
        2 => infix(&COMPARISONS, &body, &other),
        1 => infix(&COMPARISONS, &other, &body),
    ];
    prop_oneof![
        6 => compared,
        4 => infix(&["and", "or"], &operand, &operand),
        2 => prefix("not", &operand),
        2 => call(&TESTS, &[&level.any]),
        2 => call(&["starts_with", "ends_with", "contains"], &[&words, &words]),
        1 => infix(&["??"], &bool, &bool),
    ]
    .boxed()
}
