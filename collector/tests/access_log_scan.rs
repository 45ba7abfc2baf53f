//! The scanner against serde_json, and against any bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use weighbridge_collector::source::access_log::{Fields, Name, Record, Role, Value, each_record, scan};

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

fn assert_agrees(document: &Json, text: &str) {
    let fields = fields();
    let mut record = Record::default();
    scan(text.as_bytes(), &fields, &mut record).unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
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

fn document() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_filter("serde_json reads others as a neighbour", is_stable).prop_map(Json::from),
        ".{0,20}".prop_map(Json::String),
        "[a-z\"\\\\/\n{}\\[\\],:é]{0,30}".prop_map(Json::String),
    ];
    let tree = leaf.prop_recursive(5, 48, 6, |inner| {
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
        assert_agrees(&document, &document.to_string());
        assert_agrees(&document, &serde_json::to_string_pretty(&document).unwrap());
    }

    #[test]
    fn any_bytes_end_in_a_record_or_a_refusal(bytes: Vec<u8>) {
        let mut record = Record::default();
        let _ = scan(&bytes, &fields(), &mut record);
        let _ = each_record(&bytes, |_| {});
    }

    #[test]
    fn a_damaged_line_never_panics(document in document(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = document.to_string().into_bytes();
        let position = at.index(bytes.len());
        bytes[position] = byte;
        let mut record = Record::default();
        let _ = scan(&bytes, &fields(), &mut record);
        let text = document.to_string();
        let cut = cut.index(text.len());
        let mut record = Record::default();
        prop_assert!(scan(&text.as_bytes()[..cut], &fields(), &mut record).is_err(), "a cut line is refused");
    }
}
