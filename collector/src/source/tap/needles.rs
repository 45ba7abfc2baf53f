//! Tells at a glance that a document holds nothing that would be told: most events of a stream hold a piece of text, and the model's
//! name once more.
//!
//! In: the allow-list, and whole documents. Out: whether one has to be read. A listed value is told only below its listed keys, written
//! without escapes (`json::Reader`): so a document in which no key of a set stands that has a step of every listed path tells nothing.
//! The same holds where all that stands behind such a key is `null`, or the name that was told last. Whatever looks otherwise is
//! read, so a wrong guess costs time only.

use memchr::memchr2;
use memchr::memmem::Finder;

use super::fields::{Fields, Want};
use super::json::Sink;

/// Keys of which every listed path has one.
#[derive(Clone, Debug)]
pub(super) struct Needles(Vec<Needle>);

#[derive(Clone, Debug)]
struct Needle {
    /// The key in its quotes.
    key: Finder<'static>,
    /// It is nowhere on the list but as the last step to values of this slot.
    slot: Option<u8>,
}

impl Needles {
    pub(super) fn of(fields: &Fields) -> Needles {
        let paths = fields.paths();
        let mut needles = Vec::new();
        let mut left: Vec<&Steps<'_>> = paths.iter().map(|(steps, _)| steps).collect();
        while let Some(key) = shared_by_most(&left) {
            left.retain(|steps| !steps.contains(&key));
            let mut slots = paths.iter().filter(|(steps, _)| steps.contains(&key)).map(|(steps, want)| {
                let is_last = steps.iter().position(|step| *step == key) == Some(steps.len() - 1);
                if let (Want::Scalar(slot), true) = (want, is_last) { Some(*slot) } else { None }
            });
            let first = slots.next().flatten();
            let slot = first.filter(|_| slots.all(|slot| slot == first));
            let quoted = [b"\"", key, b"\""].concat();
            needles.push(Needle { key: Finder::new(&quoted).into_owned(), slot });
        }
        Needles(needles)
    }

    /// Whether `document` may tell something that `sink` does not know.
    pub(super) fn may_tell(&self, document: &[u8], sink: &impl Sink) -> bool {
        self.0.iter().any(|needle| needle.may_tell(document, sink))
    }
}

/// The keys on the way to a listed value.
type Steps<'a> = Vec<&'a [u8]>;

/// The key that most of these have; of several that which is the last step of more, since that tells less often.
fn shared_by_most<'a>(paths: &[&Steps<'a>]) -> Option<&'a [u8]> {
    let score = |key: &[u8]| {
        let having = paths.iter().filter(|steps| steps.contains(&key)).count();
        let ending = paths.iter().filter(|steps| steps.last() == Some(&key)).count();
        (having, ending)
    };
    let keys = paths.iter().flat_map(|steps| steps.iter().copied());
    keys.max_by_key(|key| (score(key), *key))
}

impl Needle {
    fn may_tell(&self, document: &[u8], sink: &impl Sink) -> bool {
        let mut rest = document;
        while let Some(at) = self.key.find(rest) {
            rest = &rest[at + self.key.needle().len()..];
            if !self.is_known(rest, sink) {
                return true;
            }
        }
        false
    }

    /// `after` is what stands behind the key.
    fn is_known(&self, after: &[u8], sink: &impl Sink) -> bool {
        let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { return false };
        let value = value.trim_ascii_start();
        if let Some(text) = value.strip_prefix(b"\"") {
            let end = memchr2(b'"', b'\\', text).filter(|end| text[*end] == b'"');
            return self.slot.zip(end).is_some_and(|(slot, end)| sink.is_known(slot, &text[..end]));
        }
        matches!(value.strip_prefix(b"null"), Some([b',' | b'}' | b']', ..]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Value;
    use super::*;

    /// Knows one text of slot 0.
    struct Known(&'static str);

    impl Sink for Known {
        fn value(&mut self, _: u8, _: Value<'_>) {}

        fn encoded(&mut self, _: &[u8], _: bool) {}

        fn is_known(&self, slot: u8, text: &[u8]) -> bool {
            slot == 0 && text == self.0.as_bytes()
        }
    }

    fn needles(paths: &[(&str, Want)]) -> Needles {
        let mut fields = Fields::default();
        paths.iter().for_each(|(path, want)| fields.add(path, *want).unwrap());
        Needles::of(&fields)
    }

    fn openai() -> Needles {
        needles(&[
            ("/model", Want::Scalar(0)),
            ("/response/model", Want::Scalar(0)),
            ("/usage/prompt_tokens", Want::Scalar(4)),
            ("/usage/completion_tokens", Want::Scalar(5)),
            ("/response/usage/input_tokens", Want::Scalar(4)),
            ("/error", Want::Scalar(2)),
            ("/response/error", Want::Scalar(2)),
        ])
    }

    #[test]
    fn few_keys_stand_for_all_paths() {
        let mut keys: Vec<_> = openai()
            .0
            .iter()
            .map(|needle| (String::from_utf8_lossy(needle.key.needle()).into_owned(), needle.slot))
            .collect();
        keys.sort();
        assert_eq!(
            keys,
            [("\"error\"".into(), Some(2)), ("\"model\"".into(), Some(0)), ("\"usage\"".into(), None)]
        );
        assert!(needles(&[]).0.is_empty());
        assert!(!needles(&[]).may_tell(b"{\"model\":\"m\"}", &Known("")), "nothing is listed");
    }

    #[test]
    fn a_key_that_means_two_things_has_no_slot() {
        let told = needles(&[("/model", Want::Scalar(0)), ("/model/name", Want::Scalar(0))]);
        assert_eq!(told.0.iter().map(|needle| needle.slot).collect::<Vec<_>>(), [None]);
        let told = needles(&[("/a", Want::Scalar(0)), ("/b/a", Want::Scalar(1))]);
        assert_eq!(told.0.iter().map(|needle| needle.slot).collect::<Vec<_>>(), [None]);
        let told = needles(&[("/a", Want::Encoded)]);
        assert_eq!(told.0.iter().map(|needle| needle.slot).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn what_tells_nothing_new_is_passed_over() {
        let nothing = [
            r#"{"choices":[{"delta":{"content":"the model, its usage, an error"}}]}"#,
            r#"{"model":"m","choices":[]}"#,
            r#"{"model" : "m","usage": null,"error":null}"#,
            r#"{"a":{"model":"m"},"model":"m"}"#,
            r#"{"content":"\"usage\": 1, \"model\""}"#,
            "",
        ];
        for document in nothing {
            assert!(!openai().may_tell(document.as_bytes(), &Known("m")), "{document}");
        }
        let something = [
            r#"{"model":"n","choices":[]}"#,
            r#"{"model":"m2"}"#,
            r#"{"model":"m\u0032"}"#,
            r#"{"model":"m","a":{"model":"n"}}"#,
            r#"{"model":{"model":"m"}}"#,
            r#"{"model":"m"#,
            r#"{"usage":{"prompt_tokens":1}}"#,
            r#"{"usage":nullx}"#,
            r#"{"usage":null"#,
            r#"{"error":"m"}"#,
            r#"{"error":"#,
            r#"{"error""#,
        ];
        for document in something {
            assert!(openai().may_tell(document.as_bytes(), &Known("m")), "{document}");
        }
    }
}
