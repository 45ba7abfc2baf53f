//! From a line's fields to an observation.

use std::hash::BuildHasher as _;

use weighbridge_catalog::Origin;
use weighbridge_proto::v1::{Choice, Operation, Outcome, Streaming};

use super::super::{Discard, Mapper, cell_key};
use super::{Rules, time};
use crate::classifier::Classifier;
use crate::discard::Skip;
use crate::observation::{self, Call, Observation};
use crate::source::access_log::{Name, Record, Role, Value};

impl Rules {
    /// What a line says, and when it was, Unix nanoseconds (0 if not told).
    ///
    /// # Errors
    /// The reason why it is not counted.
    pub fn observation(
        &self,
        record: &Record<'_>,
        mapper: &mut Mapper,
    ) -> Result<(Observation, u64), Discard> {
        let (input_tokens, output_tokens) =
            (record.count(Role::InputTokens)?, record.count(Role::OutputTokens)?);
        let operation = self.operation(record)?;
        if self.cache_hits.iter().any(|word| word.eq_ignore_ascii_case(record.raw(Role::Cache))) {
            return Err(Skip::CacheHit.into());
        }
        let (mut model_room, mut provider_room, mut address_room) = (Name::new(), Name::new(), Name::new());
        let served = record.text(Role::ServedModel, &mut model_room)?;
        let is_served_told = !served.is_empty();
        let model =
            if is_served_told { served } else { record.text(Role::RequestedModel, &mut model_room)? };
        let outcome =
            self.outcome(record, is_served_told || output_tokens.is_some_and(|tokens| tokens > 0))?;
        // What a model answered, it was asked.
        let at_least = u64::from(is_served_told || outcome == Outcome::Ok);
        let attempts = self.attempts(record)?.max(at_least);
        let classification = if attempts == 0 {
            Classifier::unserved()
        } else {
            let provider = record.text(Role::Provider, &mut provider_room)?;
            let address = record.text(Role::Upstream, &mut address_room)?;
            mapper.classifier.classify(self.model_name(model), Origin { provider, address })
        };
        let mut key = cell_key(&classification, operation, self.streaming(record), outcome);
        if let Some(targets) = record.count(Role::Targets)? {
            key.choice = match targets {
                0 => Choice::Unknown,
                1 => Choice::First,
                _ => Choice::Fallback,
            };
        }
        let (id, time) = (record.raw(Role::Id), time::unix_nano(record.get(Role::Time)));
        let observation = Observation {
            key,
            input_tokens: input_tokens.unwrap_or(0),
            output_tokens: output_tokens.unwrap_or(0),
            attempts,
            fingerprint: (!id.is_empty()).then(|| mapper.hasher.hash_one((id, time, outcome as u64))),
            call: Call::Whole,
        };
        Ok((observation, time))
    }

    /// The operation by its label, else by the path. A line without either is an inference if it tells a model or tokens.
    fn operation(&self, record: &Record<'_>) -> Result<Operation, Discard> {
        let label = record.raw(Role::Operation);
        if !label.is_empty() {
            let told =
                self.operations.iter().find(|(word, _)| **word == *label).map(|(_, operation)| *operation);
            let told = told.or_else(|| observation::operation(std::str::from_utf8(label).ok()?));
            return told.ok_or(Skip::Operation.into());
        }
        match operation_of_path(record.raw(Role::Path)) {
            Some(PathOperation::Inference(operation)) => return Ok(operation),
            Some(PathOperation::Other) => return Err(Skip::Operation.into()),
            None => {}
        }
        let tells = [Role::ServedModel, Role::RequestedModel, Role::InputTokens, Role::OutputTokens];
        if tells.into_iter().any(|role| record.has(role)) {
            Ok(Operation::Chat)
        } else {
            Err(Skip::NotInference.into())
        }
    }

    /// Status first, then what the response flags add: an answer of 200 whose stream the client left is cancelled.
    fn outcome(&self, record: &Record<'_>, is_answered: bool) -> Result<Outcome, Discard> {
        let status = record.count(Role::Status).ok().flatten().and_then(|status| u16::try_from(status).ok());
        let error = record.raw(Role::Error);
        let by_error = self.errors.iter().find(|(word, _)| **word == *error).map(|(_, outcome)| *outcome);
        let by_status = match status {
            Some(status @ 100..) => observation::outcome(false, Some(status), ""),
            // Envoy logs status 0 when there was no answer at all; the flags say why.
            Some(_) => Outcome::Unknown,
            None if error.is_empty() && is_answered => Outcome::Ok,
            None => Outcome::Unknown,
        };
        let by_flags =
            self.flags.iter().find(|(flag, _)| has_flag(record, flag)).map(|(_, outcome)| *outcome);
        Ok(match by_status {
            Outcome::Ok | Outcome::Unknown => by_flags.or(by_error).unwrap_or(match by_status {
                Outcome::Ok if !error.is_empty() => Outcome::ServerError,
                other => other,
            }),
            // A gateway that answers for a client that is gone says 499 or 503; the flag knows better.
            told => by_error.or(by_flags.filter(|outcome| *outcome == Outcome::Cancelled)).unwrap_or(told),
        })
    }

    fn attempts(&self, record: &Record<'_>) -> Result<u64, Discard> {
        let details = record.raw(Role::Details);
        let begins = |starts: &[Box<[u8]>]| starts.iter().any(|start| details.starts_with(start));
        // Details know better than flags: Envoy marks an answer with UO when its circuit breaker forbids the retry of it.
        let is_unreached = !begins(&self.reached_details)
            && (self.unreached_flags.iter().any(|flag| has_flag(record, flag))
                || begins(&self.unreached_details));
        if is_unreached {
            return Ok(0);
        }
        if let Some(attempts) = record.count(Role::Attempts)?.or(record.count(Role::Targets)?) {
            return Ok(attempts);
        }
        if let Some(retries) = record.count(Role::Retries)? {
            return Ok(retries + 1);
        }
        // Not told, or one number without quotes: one.
        let Value::Text(list) = record.get(Role::AttemptList) else { return Ok(1) };
        // nginx: `429, 200 : 200`; the colon between groups of servers stands by itself, so addresses can be counted too.
        let told = list.split(|byte| matches!(byte, b',' | b' '));
        Ok(told.filter(|status| !matches!(*status, b"" | b"-" | b":")).count() as u64)
    }

    fn streaming(&self, record: &Record<'_>) -> Streaming {
        if record.has(Role::FirstChunk) {
            return Streaming::Yes;
        }
        let word = record.raw(Role::Streaming);
        let told = self.streaming.iter().find(|(known, _)| **known == *word).map(|(_, streaming)| *streaming);
        told.or_else(|| {
            record.flag(Role::Streaming).map(|flag| if flag { Streaming::Yes } else { Streaming::No })
        })
        .unwrap_or(Streaming::Unknown)
    }

    fn model_name<'a>(&self, model: &'a str) -> &'a str {
        if self.model_after.is_empty() {
            return model;
        }
        model.split_once(self.model_after.as_str()).map_or(model, |(_, name)| name)
    }
}

/// Whether `flag` is among the response flags (`DC`, `UF,URX`).
fn has_flag(record: &Record<'_>, flag: &[u8]) -> bool {
    record.raw(Role::Flags).split(|byte| *byte == b',').any(|told| told == flag)
}

/// What the path of a request says.
pub(in crate::profile) enum PathOperation {
    /// A model is asked.
    Inference(Operation),
    /// Another call of the same API.
    Other,
}

/// The operation that a path of the usual APIs stands for: OpenAI, Anthropic, Gemini, Bedrock, Cohere, Ollama. `None` if the
/// path tells nothing.
pub(in crate::profile) fn operation_of_path(path: &[u8]) -> Option<PathOperation> {
    use PathOperation::{Inference, Other};
    const ENDS: &[(&[u8], PathOperation)] = &[
        (b"/chat/completions", Inference(Operation::Chat)),
        (b"/completions", Inference(Operation::TextCompletion)),
        (b"/messages", Inference(Operation::Chat)),
        (b"/responses", Inference(Operation::Chat)),
        (b"/embeddings", Inference(Operation::Embeddings)),
        (b"/embed", Inference(Operation::Embeddings)),
        (b"/rerank", Inference(Operation::Rerank)),
        (b"/images/generations", Inference(Operation::Image)),
        (b"/images/edits", Inference(Operation::Image)),
        (b"/audio/transcriptions", Inference(Operation::Audio)),
        (b"/audio/translations", Inference(Operation::Audio)),
        (b"/audio/speech", Inference(Operation::Audio)),
        (b":generateContent", Inference(Operation::Chat)),
        (b":streamGenerateContent", Inference(Operation::Chat)),
        (b":embedContent", Inference(Operation::Embeddings)),
        (b":batchEmbedContents", Inference(Operation::Embeddings)),
        (b"/converse", Inference(Operation::Chat)),
        (b"/converse-stream", Inference(Operation::Chat)),
        (b"/api/chat", Inference(Operation::Chat)),
        (b"/api/generate", Inference(Operation::TextCompletion)),
        (b"/moderations", Inference(Operation::Other)),
        (b"/models", Other),
        (b"/count_tokens", Other),
        (b":countTokens", Other),
        (b"/tokenize", Other),
        (b"/detokenize", Other),
    ];
    let end = memchr::memchr(b'?', path).unwrap_or(path.len());
    let path = path.get(..end)?;
    // Kong writes `\/` for a slash; the last step is enough then.
    let found = ENDS.iter().find(|(suffix, _)| path.ends_with(suffix) || ends_escaped(path, suffix))?;
    Some(match found.1 {
        Inference(operation) => Inference(operation),
        Other => Other,
    })
}

/// Whether a path with `\/` for `/` ends with `suffix`.
fn ends_escaped(path: &[u8], suffix: &[u8]) -> bool {
    if memchr::memchr(b'\\', path).is_none() {
        return false;
    }
    let mut rest = path.iter().rev().filter(|byte| **byte != b'\\');
    suffix.iter().rev().all(|byte| rest.next() == Some(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_operations() {
        let told = |path: &str| match operation_of_path(path.as_bytes()) {
            Some(PathOperation::Inference(operation)) => operation.name(),
            Some(PathOperation::Other) => "no inference",
            None => "",
        };
        let cases = [
            ("/v1/chat/completions", "chat"),
            ("/v1/chat/completions?x=/models", "chat"),
            ("/openai/deployments/d/chat/completions", "chat"),
            ("\\/v1\\/chat\\/completions", "chat"),
            ("/v1/completions", "text_completion"),
            ("/v1/embeddings", "embeddings"),
            ("/v1/messages/count_tokens", "no inference"),
            ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", "chat"),
            ("/v1/models", "no inference"),
            ("/healthz", ""),
            ("", ""),
        ];
        for (path, operation) in cases {
            assert_eq!(told(path), operation, "{path}");
        }
    }
}
