//! Against examples, a full parser, and any bytes cut anywhere.

use proptest::prelude::*;

use super::*;

#[derive(Default, Debug, PartialEq)]
struct Seen(Vec<(u8, String)>, Vec<u8>);

impl Sink for Seen {
    fn value(&mut self, slot: u8, value: Value<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((
            slot,
            match value {
                Value::Text(bytes) => format!("'{}'", text(bytes)),
                Value::Literal(bytes) | Value::Plain(bytes) => text(bytes),
                Value::Container => "container".to_owned(),
                Value::TooLong => "too long".to_owned(),
            },
        ));
    }

    fn encoded(&mut self, piece: &[u8], is_last: bool) {
        self.1.extend_from_slice(piece);
        if is_last {
            self.1.push(b'.');
        }
    }
}

fn fields() -> Fields {
    let mut fields = Fields::default();
    let paths = [("/model", 0), ("/usage/input", 1), ("/usage/output", 2), ("/error", 3), ("/error/code", 4)];
    paths.iter().for_each(|(path, slot)| fields.add(path, Want::Scalar(*slot)).unwrap());
    fields.add("/bytes", Want::Encoded).unwrap();
    fields
}

fn read(pieces: &[&[u8]]) -> Seen {
    let (mut reader, fields, mut seen) = (Reader::default(), fields(), Seen::default());
    pieces.iter().for_each(|piece| reader.read(piece, &fields, &mut seen));
    reader.finish(&fields, &mut seen);
    seen
}

fn values(text: &str) -> Vec<(u8, String)> {
    read(&[text.as_bytes()]).0
}

#[test]
fn listed_fields_are_told_and_nothing_else() {
    let told = values(
        r#"{"choices":[{"model":"no","x":"{\"model\":\"no\""}],"model":"gpt\/4 \"x\"","usage":{"input":12,"in":{"output":1},"output":3.0e1},"n":null}"#,
    );
    assert_eq!(told, [(0, "'gpt/4 \"x\"'".into()), (1, "12".into()), (2, "3.0e1".into())]);
}

#[test]
fn arrays_on_the_way_are_passed_through_and_documents_follow_one_another() {
    assert_eq!(values(r#"[{"model":"a"},{"usage":[{"input":1}]}]"#), [(0, "'a'".into()), (1, "1".into())]);
    assert_eq!(values("{\"model\":\"a\"}\n{\"model\":\"b\"} {}[]7 {\"model\":\"c\"}").len(), 3);
}

#[test]
fn null_is_not_told_and_containers_are() {
    assert_eq!(values(r#"{"error":null,"model":null}"#), []);
    let told = [(3, "container".into()), (4, "'x'".into())];
    assert_eq!(values(r#"{"error":{"message":"secret","code":"x"}}"#), told);
    assert_eq!(values(r#"{"error":"secret"}"#), [(3, "'secret'".into())]);
}

#[test]
fn long_values_are_told_as_such() {
    let long = "x".repeat(LONGEST + 1);
    assert_eq!(values(&format!(r#"{{"model":"{long}","usage":{{"input":1}}}}"#))[0], (0, "too long".into()));
    assert_eq!(values(&format!(r#"{{"{long}":{{"input":1}},"model":"a"}}"#)), [(0, "'a'".into())]);
}

#[test]
fn encoded_strings_come_in_pieces() {
    assert_eq!(read(&[br#"{"bytes":"ab\/"#, br#"cd","model":"m"}"#]).1, b"ab/cd.");
}

#[test]
fn what_is_no_json_waits_for_a_reset() {
    for text in ["[DONE]", "hello", "}", "{]", "{\"model\" \"x\"}", "{\"usage\":{\"input\":1]}", "\u{feff}{}"]
    {
        let (mut reader, fields, mut seen) = (Reader::default(), fields(), Seen::default());
        reader.read(text.as_bytes(), &fields, &mut seen);
        reader.read(b"{\"model\":\"lost\"}", &fields, &mut seen);
        reader.reset();
        reader.read(b"{\"model\":\"a\"}", &fields, &mut seen);
        assert_eq!(seen.0.last().unwrap().1, "'a'", "{text}");
        assert!(!seen.0.iter().any(|(_, value)| value == "'lost'"), "{text}: {seen:?}");
    }
}

#[test]
fn faulty_paths_are_refused() {
    let mut fields = Fields::default();
    for path in ["", "model", "/", "/a//b", "/1/2/3/4/5/6/7/8"] {
        assert!(fields.add(path, Want::Scalar(0)).is_err(), "{path}");
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[ -~]{0,12}".prop_map(Into::into),
        "\\PC{0,4}".prop_map(Into::into),
    ];
    let key = prop_oneof![Just("model"), Just("usage"), Just("input"), Just("error"), Just("x")];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            proptest::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The same by a full parser.
fn by_tree(value: &serde_json::Value, node: u16, fields: &Fields, told: &mut Vec<(u8, bool)>) {
    let slot = match fields.want(node) {
        Some(Want::Scalar(slot)) => Some(slot),
        _ => None,
    };
    match value {
        serde_json::Value::Null => {}
        serde_json::Value::Array(values) => {
            told.extend(slot.map(|slot| (slot, true)));
            if fields.has_children(node) {
                values.iter().for_each(|value| by_tree(value, node, fields, told));
            }
        }
        serde_json::Value::Object(map) => {
            told.extend(slot.map(|slot| (slot, true)));
            for (key, value) in map {
                if let Some(child) = fields.child(node, key.as_bytes()) {
                    by_tree(value, child, fields, told);
                }
            }
        }
        _ => told.extend(slot.map(|slot| (slot, false))),
    }
}

proptest! {
    #[test]
    fn a_full_parser_finds_the_same(value in json(), cuts in proptest::collection::vec(0usize..200, 0..6)) {
        let text = value.to_string().into_bytes();
        let whole = read(&[&text]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        prop_assert_eq!(&read(&pieces), &whole);
        let mut told = Vec::new();
        by_tree(&value, ROOT, &fields(), &mut told);
        let found: Vec<(u8, bool)> = whole.0.iter().map(|(slot, value)| (*slot, value == "container")).collect();
        prop_assert_eq!(found, told);
    }

    #[test]
    fn any_bytes_are_taken(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let _ = read(&pieces);
    }
}
