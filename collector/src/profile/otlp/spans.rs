//! From a span to an observation.

use weighbridge_proto::v1::{Operation, Outcome, Streaming};

use super::super::access_log::{PathOperation, operation_of_path};
use super::super::{Discard, Mapper, cell_key};
use super::file::SpanSection;
use super::{Rules, Scopes, operations};
use crate::classifier::Classifier;
use crate::discard::Skip;
use crate::observation::{Call, Link, Observation};
use crate::source::attributes::Role;
use crate::source::otlp::Span;

/// Kinds of OTLP, by number.
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
/// The event that the OpenTelemetry SDKs record for an exception.
const EXCEPTION: &[u8] = b"exception";

/// How the spans of one product are read.
#[derive(Debug)]
pub(super) struct Spans {
    scopes: Scopes,
    /// Bit n is set if spans of kind n count.
    kinds: u8,
    /// Empty: all.
    names: Vec<Box<[u8]>>,
    operations: Vec<(Box<str>, Operation)>,
    needs_provider: bool,
    exceptions: bool,
    streamed_events: Vec<Box<[u8]>>,
    relation: Relation,
}

/// How spans of one request belong together.
#[derive(Debug)]
enum Relation {
    /// Each is a request.
    None,
    /// Of spans around one another the innermost is the request.
    Nested,
    /// Attempts of one request are leaves of a tree.
    Tree { root: Box<[u8]>, branches: Vec<Box<[u8]>> },
}

impl Spans {
    pub(super) fn new(section: &SpanSection) -> Result<Spans, String> {
        let mut kinds = if section.kinds.is_empty() { u8::MAX } else { 0 };
        for kind in &section.kinds {
            let number = KINDS.iter().position(|name| name == kind);
            kinds |= 1
                << number.ok_or_else(|| format!("spans.kinds: {kind}: write one of {}", KINDS.join(", ")))?;
        }
        let relation = match (&section.tree, section.nested) {
            (Some(_), true) => return Err("spans: nested or tree, not both".to_owned()),
            (None, true) => Relation::Nested,
            (None, false) => Relation::None,
            (Some(tree), false) => Relation::Tree {
                root: bytes(&tree.root),
                branches: tree.branches.iter().map(|name| bytes(name)).collect(),
            },
        };
        Ok(Spans {
            scopes: Scopes::new("spans", &section.scopes)?,
            kinds,
            names: section.names.iter().map(|name| bytes(name)).collect(),
            operations: operations("spans.operations", &section.operations)?,
            needs_provider: section.needs_provider,
            exceptions: section.exceptions,
            streamed_events: section.streamed_events.iter().map(|name| bytes(name)).collect(),
            relation,
        })
    }

    fn counts(&self, span: &Span<'_>) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| **name == *span.name)
    }

    /// The place of a span in the tree of its request, if it is no attempt itself.
    fn link(&self, span: &Span<'_>, mapper: &Mapper) -> Option<Link> {
        let Relation::Tree { root, branches } = &self.relation else { return None };
        let is_root = **root == *span.name;
        if !is_root && !branches.iter().any(|name| **name == *span.name) {
            return None;
        }
        let parent = mapper.hash_bytes(span.parent_span_id);
        Some(Link { span: mapper.hash_bytes(span.span_id), parent: (!is_root).then_some(parent) })
    }
}

fn bytes(name: &str) -> Box<[u8]> {
    name.as_bytes().into()
}

/// What the operation of a span was found by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Label,
    Path,
}

impl Rules {
    /// What a span says.
    ///
    /// # Errors
    /// The reason why it is not counted.
    pub fn span(&self, span: &Span<'_>, mapper: &mut Mapper) -> Result<Observation, Discard> {
        let spans = self.spans.as_ref().ok_or(Skip::OtherSignal)?;
        if !spans.scopes.admits(span.scope) {
            return Err(Skip::Scope.into());
        }
        if let Some(link) = spans.link(span, mapper) {
            mapper.links.push(link);
            return Err(Skip::NotInference.into());
        }
        if !spans.counts(span) {
            return Err(Skip::NotInference.into());
        }
        // A fault may be what hides that it is a call.
        if let Some(fault) = span.fault {
            return Err(fault.into());
        }
        if spans.kinds >> span.kind & 1 == 0 {
            return Err(Skip::NotInference.into());
        }
        let (operation, found) = self.span_operation(spans, span)?;
        let attributes = &span.attributes;
        if self.is_cache_hit(attributes) {
            return Err(Skip::CacheHit.into());
        }
        if spans.needs_provider && found == Found::Label && !attributes.has(Role::Provider) {
            return Err(Skip::NoProvider.into());
        }
        let outcome = self.span_outcome(spans, span);
        let input_tokens = attributes.count(Role::InputTokens)?;
        let output_tokens = attributes.count(Role::OutputTokens)?;
        let details = attributes.text(Role::Details);
        let was_refused =
            outcome != Outcome::Ok && self.unreached.iter().any(|word| details.starts_with(&**word));
        let model = self.model(attributes);
        // Refused by the gateway, or without anything that says that a model was asked.
        let reached_model =
            !was_refused && (found == Found::Label || !model.is_empty() || outcome == Outcome::Ok);
        let classification = if reached_model {
            mapper.classifier.classify(model, self.origin(attributes))
        } else {
            Classifier::unserved()
        };
        let streaming =
            if spans.has_streamed_event(span) { Streaming::Yes } else { self.streaming(attributes) };
        let attempts = if reached_model { attributes.count(Role::Retries)?.saturating_add(1) } else { 0 };
        let response_id = attributes.text(Role::ResponseId);
        let is_leaf = matches!(spans.relation, Relation::Tree { .. });
        let identity = if response_id.is_empty() || is_leaf { span.span_id } else { response_id.as_bytes() };
        let provider = attributes.text(Role::Provider).as_bytes();
        let call = match spans.relation {
            Relation::None => Call::Whole,
            Relation::Nested => Call::Nested {
                span: mapper.hash_bytes(span.span_id),
                parent: (!span.parent_span_id.is_empty()).then(|| mapper.hash_bytes(span.parent_span_id)),
            },
            Relation::Tree { .. } => Call::Leaf {
                parent: mapper.hash_bytes(span.parent_span_id),
                group: mapper.hash_bytes(model.as_bytes()) ^ mapper.hash_bytes(provider).rotate_left(1),
                start_unix_nano: span.start_unix_nano,
                end_unix_nano: span.end_unix_nano,
            },
        };
        Ok(Observation {
            key: cell_key(&classification, operation, streaming, outcome),
            input_tokens,
            output_tokens,
            attempts,
            fingerprint: Some(mapper.hash_bytes(identity)),
            call,
        })
    }

    /// The operation by the span's name where the file says so, else by its label, else by its path.
    fn span_operation(&self, spans: &Spans, span: &Span<'_>) -> Result<(Operation, Found), Skip> {
        let label = span.attributes.text(Role::Operation);
        if label.is_empty() {
            return match operation_of_path(span.attributes.text(Role::Path).as_bytes()) {
                Some(PathOperation::Inference(operation)) => Ok((operation, Found::Path)),
                Some(PathOperation::Other) => Err(Skip::Operation),
                None => Err(Skip::NotInference),
            };
        }
        let by_label = self.operation(label).ok_or(Skip::Operation)?;
        let by_name = spans.operations.iter().find(|(name, _)| name.as_bytes() == span.name);
        Ok((by_name.map_or(by_label, |(_, operation)| *operation), Found::Label))
    }

    fn span_outcome(&self, spans: &Spans, span: &Span<'_>) -> Outcome {
        let status = span.attributes.status(Role::StatusCode);
        let class = span.attributes.text(Role::ErrorType);
        let mut outcome = self.outcome(span.failed, status, class);
        if spans.exceptions && span.failed && class.is_empty() {
            span.events.read(|name, class| {
                if name == EXCEPTION && !class.is_empty() {
                    outcome = self.outcome(true, status, class);
                }
            });
        }
        outcome
    }
}

impl Spans {
    fn has_streamed_event(&self, span: &Span<'_>) -> bool {
        let mut found = false;
        if !self.streamed_events.is_empty() {
            span.events.read(|name, _| found |= self.streamed_events.iter().any(|event| **event == *name));
        }
        found
    }
}
