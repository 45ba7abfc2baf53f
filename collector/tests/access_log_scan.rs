//! The scanner against serde_json, and against any bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use weighbridge_collector::source::access_log::{Fields, Name, Record, Role, Scanner, Value, each_record};

const PATHS: &[(&str, Role)] = &[
    ("/a", Role::RequestedModel),
    ("/b.c", Role::ServedModel),
    ("/b/c", Role::Provider),
    ("/b/@last/a", Role::Upstream),
    ("/c/@length", Role::Targets),
    ("/c/@last", Role::Id),
    ("/d/@json/a", Role::Error),
    ("/d/@json/b/c", Role::Details),
    ("/a~1b", Role::Flags),
];

fn fields() -> Fields {
    let mut fields = Fields::default();
    PATHS.iter().for_each(|(path, role)| fields.add(path, *role, 0).unwrap());
    fields
}

/// What serde_json finds at a path.
fn expected(document: &Json, path: &str) -> Option<Json> {
    let mut at = document.clone();
    for step in path[1..].split('/') {
        at = match step {
            "@length" => json!(at.as_array()?.len()),
            "@last" => at.as_array()?.last()?.clone(),
            "@json" => {
                let inner: Json = serde_json::from_str(at.as_str()?).ok()?;
                inner.is_object().then_some(inner)?
            }
            key => at.as_object()?.get(&key.replace("~1", "/"))?.clone(),
        };
    }
    Some(at)
}

fn is_missing(text: &str) -> bool {
    matches!(text, "" | "None" | "none" | "unknown" | "null" | "nil" | "-" | "UNSPECIFIED")
}

fn assert_agrees(scanner: &mut Scanner<'_>, document: &Json, text: &str) {
    let mut record = Record::default();
    let scanned = scanner.scan(text.as_bytes(), &mut record);
    scanned.unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
    for (path, role) in PATHS {
        let mut room = Name::new();
        let found = record.get(*role);
        match expected(document, path) {
            Some(Json::String(value)) if !is_missing(&value) => {
                let told = record.text(*role, &mut room).unwrap();
                let too_long = value.len() > 200 && matches!(found, Value::Escaped(..));
                assert!(told == value || too_long, "{path} of {text}: {found:?}");
            }
            Some(Json::Number(number)) => match found {
                Value::Number(raw) => {
                    assert_eq!(std::str::from_utf8(raw).unwrap(), number.to_string(), "{path} of {text}");
                }
                Value::Int(length) => assert_eq!(Some(length), number.as_i64(), "{path} of {text}"),
                _ => panic!("{path} of {text}: {found:?}"),
            },
            Some(Json::Bool(flag)) => assert_eq!(found, Value::Bool(flag), "{path} of {text}"),
            _ => assert_eq!(found, Value::None, "{path} of {text}"),
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "d", "b.c", "a/b"]).prop_map(str::to_owned),
        1 => "[a-z\"\\\\\u{1}é]{0,12}".prop_map(|key| key),
    ]
}

/// Whether serde_json reads a float as it wrote it; without its feature `float_roundtrip` it does not always.
fn is_stable(number: &f64) -> bool {
    let read = serde_json::from_str::<f64>(&json!(number).to_string());
    read.is_ok_and(|read| read.to_bits() == number.to_bits())
}

fn leaf() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_filter("serde_json reads others as a neighbour", is_stable).prop_map(Json::from),
        ".{0,20}".prop_map(Json::String),
        "[a-z\"\\\\/\n{}\\[\\],:é]{0,30}".prop_map(Json::String),
    ]
}

fn document() -> impl Strategy<Value = Json> {
    let tree = leaf().prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            prop::collection::btree_map(key(), inner.clone(), 0..6)
                .prop_map(|map| Json::Object(map.into_iter().collect::<Map<_, _>>())),
            inner.prop_map(|value| Json::String(value.to_string())),
        ]
    });
    prop::collection::btree_map(key(), tree, 0..8)
        .prop_map(|map| Json::Object(map.into_iter().collect::<Map<_, _>>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_serde_json(document in document()) {
        let fields = fields();
        let mut scanner = Scanner::new(&fields);
        assert_agrees(&mut scanner, &document, &document.to_string());
        assert_agrees(&mut scanner, &document, &serde_json::to_string_pretty(&document).unwrap());
    }

    #[test]
    fn any_bytes_end_in_a_record_or_a_refusal(bytes: Vec<u8>) {
        let fields = fields();
        let _ = Scanner::new(&fields).scan(&bytes, &mut Record::default());
        let _ = each_record(&bytes, |_| {});
    }

    #[test]
    fn a_damaged_line_never_panics_and_is_read_as_by_a_new_scanner(
        document in document(),
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let fields = fields();
        let text = document.to_string();
        let mut scanner = Scanner::new(&fields);
        let mut record = Record::default();
        scanner.scan(text.as_bytes(), &mut record).unwrap();
        let mut bytes = text.clone().into_bytes();
        let position = at.index(bytes.len());
        bytes[position] = byte;
        let mut fresh = Record::default();
        let expected = Scanner::new(&fields).scan(&bytes, &mut fresh);
        prop_assert_eq!(scanner.scan(&bytes, &mut record), expected);
        if expected.is_ok() {
            for (_, role) in PATHS {
                prop_assert_eq!(record.get(*role), fresh.get(*role));
            }
        }
        let cut = cut.index(text.len());
        prop_assert!(scanner.scan(&text.as_bytes()[..cut], &mut record).is_err(), "a cut line is refused");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A line that is made like one before is read by another way, to the same end.
    #[test]
    fn lines_before_change_nothing(documents in prop::collection::vec(document(), 1..4), leaves in prop::collection::vec(leaf(), 16)) {
        let fields = fields();
        let mut scanner = Scanner::new(&fields);
        let mut leaves = leaves.iter().cycle();
        for document in documents.iter().chain(&documents) {
            assert_agrees(&mut scanner, document, &document.to_string());
            let mut other = document.clone();
            replace_leaves(&mut other, &mut leaves);
            assert_agrees(&mut scanner, &other, &other.to_string());
        }
    }
}

#[test]
fn shapes_come_and_go() {
    let fields = fields();
    let mut scanner = Scanner::new(&fields);
    // More shapes than are remembered, then keys in an order that never comes again, then one shape for long.
    let shape = |shape: usize, value: usize| {
        let before: String = (0..shape).map(|key| format!("\"k{key}\":{value},")).collect();
        format!("{{{before}\"a\":\"model-{value}\",\"c\":[{value}],\"b.c\":null}}")
    };
    let shuffled = |number: usize| format!("{{\"k{number}\":1,\"a\":\"m{number}\",\"c\":[1,{number}]}}");
    let lines = (0..400).map(|number| shape(number % 20, number));
    let lines = lines.chain((0..2_000).map(shuffled)).chain((0..6_000).map(|number| shape(3, number)));
    for line in lines {
        assert_agrees(&mut scanner, &serde_json::from_str(&line).unwrap(), &line);
    }
}

/// Other values in the same places.
fn replace_leaves<'a>(value: &mut Json, leaves: &mut impl Iterator<Item = &'a Json>) {
    match value {
        Json::Object(fields) => fields.values_mut().for_each(|value| replace_leaves(value, leaves)),
        Json::Array(elements) => elements.iter_mut().for_each(|value| replace_leaves(value, leaves)),
        leaf => *leaf = leaves.next().unwrap().clone(),
    }
}
