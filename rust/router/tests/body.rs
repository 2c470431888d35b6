//! What bodies are read as, beyond strict JSON.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;

use bodies::{eval, holds, matched, readable, utf16, with_body};
use edgehub_router::Verdict;

#[test]
fn lenient_forms_are_read() {
    for body in [
        "{a:1}",
        "{$a_1:1}",
        "{é:1}",
        "{1:2}",
        "{'a':'b'}",
        r#"{"a":'it\'s'}"#,
        "{\"a\":\"line\nbreak\"}",
        "{\"a\":1,}",
        "{\"a\":[1,]}",
        "{\"a\":[1,,2]}",
        "{\"a\":,}",
        "{\"a\":undefined}",
        "// c\n{\"a\":/*x*/1/**/}// end",
        "{\"a\" : .5}",
        "{\"a\":1.}",
        "\u{a0}{\u{3000}\"a\"\u{2003}:1\u{a0}}\u{a0}",
        "{\"a\":-Infinity}",
    ] {
        assert!(readable(body.as_bytes()), "{body}");
    }
}

#[test]
fn broken_forms_are_not() {
    for body in [
        "",
        "{",
        "}",
        "[]",
        "5",
        "null",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1]",
        "{,}",
        "{\"a\":1,,}",
        "{\"a\":tru}",
        "{\"a\":truex}",
        "{\"a\":1x}",
        "{\"a\":09}",
        "{\"a\":-0x1}",
        "{\"a\":\"\\q\"}",
        "{\"a\":\"\\u12G4\"}",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{\"a\":1},",
        "{\"a\":1}/*",
        "{\"a\":1}/",
        "{a b:1}",
        "{\"a\"/*c*/:1}",
        "{-:1}",
        "\u{feff}{\"a\":1}",
        "{\"a\":+1}",
        "{\"a\":\"open}",
        "{\"a\":new Date(1)}",
        "{\"a\":\u{0}1}",
    ] {
        assert!(!readable(body.as_bytes()), "{body}");
    }
}

#[test]
fn numbers_in_other_bases() {
    assert!(holds("$body.a = 8", "{\"a\":010}"));
    assert!(holds("$body.a = 255", "{\"a\":0xFF}"));
    assert!(holds("$body.a = - 1", "{\"a\":-01}"));
    assert!(holds("$body.a = 1000", "{\"a\":1E3}"));
    assert!(holds("$body.a = 12345678901234567890", "{\"a\":12345678901234567890}"));
    assert!(holds("$body.a < 0 and not is_number($body.a)", "{\"a\":-Infinity}"));
}

#[test]
fn escapes_and_surrogates() {
    assert!(holds(r"$body.a = '\u0008\u0009\u000a\u000c\u000d\\/'", r#"{"a":"\b\t\n\f\r\\\/"}"#));
    assert!(holds(r"$body.a = '\uD83D\uDE00'", r#"{"a":"\ud83d\uDE00"}"#));
    assert!(holds(r"$body.a = '\ufffdx'", r#"{"a":"\ud83dx"}"#));
    assert!(holds(r"$body.a = '\ufffd\ufffd'", r#"{"a":"\ude00\ud83d"}"#));
    assert!(holds("$body.key = 1", r#"{"\u006bey":1}"#));
}

#[test]
fn the_last_of_equal_names_counts_and_takes_all() {
    assert!(holds("$body.a.y = 2 and not is_null($body.a.x)", r#"{"a":{"x":1},"a":{"y":2}}"#));
    assert!(holds("$body.a = 3 and not is_null($body.a.x)", r#"{"a":{"x":1},"a":3}"#));
    assert!(holds("$body.* = 2", r#"{"a":1,"a":2}"#));
    assert!(holds("not is_null($body.a[1])", r#"{"a":[1,2],"a":[1]}"#));
}

#[test]
fn wildcards_go_anywhere_in_a_path() {
    assert!(holds("$body.*.x = 1", r#"{"a":{"x":1},"b":{"y":2},"c":3}"#));
    assert!(holds("not is_defined($body.*.x)", r#"{"a":{"x":1},"b":{"x":1}}"#));
    assert!(holds("$body.a.*[1] = 2", r#"{"a":{"b":[1,2]}}"#));
    assert!(holds("$body.*.x = null", r#"{"a":[1],"b":"x"}"#));
    assert!(holds("$body.a.* = null", r#"{"a":[1]}"#));
}

#[test]
fn depth_has_a_limit() {
    let nested = |depth: usize| format!("{}{}", "{\"a\":".repeat(depth - 1) + "{", "}".repeat(depth));
    assert!(readable(nested(64).as_bytes()));
    assert!(!readable(nested(65).as_bytes()));
    let arrays = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(readable(arrays(63).as_bytes()));
    assert!(!readable(arrays(64).as_bytes()));
}

#[test]
fn bytes_that_are_no_text_become_replacement_characters() {
    let msg = with_body(b"{\"a\":\"x\xffy\"}".to_vec(), "utf-8");
    assert_eq!(eval(r"$body.a = 'x\ufffdy'", &msg), Verdict::True);
    let mut cut = utf16("{\"a\":1}");
    cut.push(b' ');
    assert_eq!(eval("$body.a = 1", &with_body(cut, "utf-16")), Verdict::Undefined);
    let lone = [utf16("{\"a\":\""), vec![0x00, 0xd8], utf16("\"}")].concat();
    assert_eq!(eval(r"$body.a = '\ufffd'", &with_body(lone, "utf-16")), Verdict::True);
}

#[test]
fn dates_are_undefined_only_when_they_are_dates() {
    assert!(holds("not is_defined($body.a)", r#"{"a":"2020-02-29T12:30:00+02:00"}"#));
    assert!(holds("not is_defined($body.a)", r#"{"a":"\u0032020-02-29T12:30:00Z"}"#));
    assert!(holds("is_string($body.a)", r#"{"a":"2019-02-29T12:30:00Z"}"#));
}

#[test]
fn a_path_with_an_index_is_never_a_property() {
    let mut msg = with_body(r#"{"a":[1]}"#, "utf-8");
    msg.application = vec![("$body.a[0]".into(), Some("x".into())), ("$body.a".into(), Some("y".into()))];
    assert_eq!(eval("$body.a[0] = 1", &msg), Verdict::True);
    assert_eq!(eval("$body.a = 'y'", &msg), Verdict::True);
    assert_eq!(eval("is_defined({$body.a})", &msg), Verdict::False);
}

#[test]
fn names_are_found_among_many() {
    let name = |i: usize| format!("name-{i}{}", "x".repeat(i % 90));
    let conditions: Vec<String> = (0..2_000).map(|i| format!("$body.o.{} = {i}", name(i))).collect();
    let members: Vec<String> = (0..2_000).step_by(7).map(|i| format!("\"{}\":{i}", name(i))).collect();
    let body = format!("{{\"o\":{{{}}}}}", members.join(","));
    let expected: Vec<u32> = (0..2_000).step_by(7).collect();
    assert_eq!(matched(&conditions, &with_body(body, "utf-8")), expected);
}

#[test]
fn elements_are_found_among_many() {
    let conditions: Vec<String> = (0..500).rev().map(|i| format!("$body.a[{}] = {i}", i * 3)).collect();
    let body =
        format!("{{\"a\":[{}]}}", (0..900).map(|i| format!("{}.0", i / 3)).collect::<Vec<_>>().join(","));
    let expected: Vec<u32> = (200..500).collect();
    assert_eq!(matched(&conditions, &with_body(body, "utf-8")), expected);
}

#[test]
fn a_member_that_comes_again_takes_back_what_was_below() {
    let conditions: Vec<String> =
        ["a.x", "a.y.z", "a.*", "a.y.*", "a.y", "a"].map(|path| format!("$body.{path} = null")).into();
    let missing = |body: &str| matched(&conditions, &with_body(body, "utf-8"));
    let whole = r#""a":{"x":1,"y":{"z":2}}"#;
    assert_eq!(missing(&format!("{{{whole}}}")), [] as [u32; 0]);
    assert_eq!(missing(&format!(r#"{{{whole},"a":1}}"#)), [0, 1, 2, 3, 4]);
    assert_eq!(missing(&format!(r#"{{{whole},"a":{{}}}}"#)), [0, 1, 2, 3, 4]);
    assert_eq!(missing(&format!(r#"{{{whole},"a":{{"y":[]}}}}"#)), [0, 1, 3]);
    assert_eq!(missing(&format!(r#"{{"a":3,{whole},{whole}}}"#)), [] as [u32; 0]);
    assert_eq!(missing(r#"{"a":{"y":{"z":1},"x":1,"y":{"w":1}}}"#), [1]);
}

#[test]
fn strings_end_where_they_end() {
    for len in 0..300 {
        let text = "s".repeat(len);
        let body = format!(r#"{{"{text}":"{text}","k\u0065y":"{text}\n{text}","a":"{text}"}}"#);
        assert!(holds(&format!("$body.a = '{text}'"), &body), "{len}");
        assert!(holds(&format!("$body.key = '{text}\\u000a{text}'"), &body), "{len}");
    }
}

#[test]
fn too_many_members_below_a_wildcard_are_undefined() {
    let body = |members: usize| {
        let others: Vec<String> = (1..members).map(|i| format!("m{i}:0")).collect();
        format!("{{a:{{first:{{x:5}},{}}}}}", others.join(","))
    };
    assert!(holds("$body.a.*.x = 5", &body(1 << 16)));
    assert!(holds("not is_defined($body.a.*.x)", &body((1 << 16) + 1)));
}
