//! Reads a payload whole into what it would count, by signal and encoding: nothing is counted here.

use super::{Accepted, Encoding, Intake, Now, Signal};
use crate::discard::{Refusal, Tally};
use crate::profile::access_log::Rules;
use crate::profile::{Discard, Profile};
use crate::source::access_log::{self, Record, Scanner};
use crate::source::keys::{AllowList, Common};
use crate::source::otlp::SeriesHasher;
use crate::source::{als, otlp, webhook};

impl Intake {
    pub(super) fn stage_traces(
        &mut self,
        profile: Profile,
        encoding: Encoding,
        payload: &[u8],
        now: Now,
        tally: &mut Tally,
        accepted: &mut Accepted,
    ) -> Result<(), Refusal> {
        let Intake { mapper, staged, .. } = self;
        let each = |span: &otlp::Span<'_>| {
            let observation = profile
                .span(span, mapper)
                .and_then(|item| Ok(now.check(span.end_unix_nano).map(|()| item)?));
            stage(observation, staged, tally, accepted);
        };
        match profile {
            Profile::Litellm | Profile::Genai => read_spans(encoding, payload, &Common, each),
            Profile::Data(data) => read_spans(encoding, payload, data.rules().keys(), each),
        }
    }

    pub(super) fn stage_metrics(
        &mut self,
        profile: Profile,
        encoding: Encoding,
        payload: &[u8],
        now: Now,
        tally: &mut Tally,
        accepted: &mut Accepted,
    ) -> Result<(), Refusal> {
        let Intake { mapper, staged_points, .. } = self;
        // The same key for every payload of this process, so that a series keeps its hash.
        let hasher = mapper.hasher.clone();
        let wanted = |metric: &str| profile.wants_metric(metric);
        let each = |point: &otlp::Point<'_>| {
            let staged = profile
                .point(point, mapper)
                .and_then(|item| Ok(now.check(point.time_unix_nano).map(|()| item)?));
            stage(staged, staged_points, tally, accepted);
        };
        match profile {
            Profile::Litellm | Profile::Genai => {
                read_metrics(encoding, payload, &Common, (&hasher, wanted), each)
            }
            Profile::Data(data) => {
                read_metrics(encoding, payload, data.rules().keys(), (&hasher, wanted), each)
            }
        }
    }

    pub(super) fn stage_records(
        &mut self,
        profile: Profile,
        payload: &[u8],
        now: Now,
        tally: &mut Tally,
        accepted: &mut Accepted,
    ) -> Result<(), Refusal> {
        let Intake { mapper, staged, .. } = self;
        webhook::read_records(payload, |record| {
            let observation = record.map_err(Discard::Refuse).and_then(|record| {
                let observation = profile.record(&record, mapper)?;
                let end = record.end_time.unwrap_or(0.0);
                now.check((end * 1e9) as u64)?;
                Ok(observation)
            });
            stage(observation, staged, tally, accepted);
        })
    }

    pub(super) fn stage_log(
        &mut self,
        signal: Signal,
        encoding: Encoding,
        payload: &[u8],
        (rules, now): (&'static Rules, Now),
        tally: &mut Tally,
        accepted: &mut Accepted,
    ) -> Result<(), Refusal> {
        let Intake { mapper, staged, scanner, .. } = self;
        let mut map = |read: Result<&Record<'_>, Discard>| {
            let observation = read.and_then(|record| {
                let (observation, unix_nano) = rules.observation(record, mapper)?;
                now.check(unix_nano)?;
                Ok(observation)
            });
            stage(observation, staged, tally, accepted);
        };
        match (signal, encoding) {
            (Signal::AccessLog | Signal::Webhook, Encoding::Json | Encoding::JsonLines) => {
                let scanner = scanner.get_or_insert_with(|| Scanner::new(rules.fields()));
                let mut record = Record::default();
                let each = |line: Result<_, Refusal>| {
                    let read = line.and_then(|line| scanner.scan(line, &mut record));
                    map(read.map(|()| &record).map_err(Discard::Refuse));
                };
                if encoding == Encoding::Json {
                    return access_log::each_record(payload, each);
                }
                access_log::each_line(payload, each);
                Ok(())
            }
            (Signal::Logs, Encoding::Protobuf) => {
                otlp::read_logs(payload, rules.fields(), |record| map(record.map_err(Discard::Refuse)))
            }
            (Signal::Logs, _) => {
                otlp::json::read_logs(payload, rules.fields(), |record| map(record.map_err(Discard::Refuse)))
            }
            (Signal::Als, Encoding::Protobuf) => als::read_entries(payload, rules.als_fields(), |entry| {
                map(entry.map_err(|reason| match reason {
                    als::NotEntry::Skip(skip) => Discard::Skip(skip),
                    als::NotEntry::Refuse(refusal) => Discard::Refuse(refusal),
                }));
            }),
            _ => Err(Refusal::ContentType),
        }
    }
}

#[inline]
fn read_spans(
    encoding: Encoding,
    payload: &[u8],
    keys: &impl AllowList,
    each: impl FnMut(&otlp::Span<'_>),
) -> Result<(), Refusal> {
    match encoding {
        Encoding::Protobuf => otlp::read_spans(payload, keys, each),
        Encoding::Json | Encoding::JsonLines => otlp::json::read_spans(payload, keys, each),
    }
}

fn read_metrics(
    encoding: Encoding,
    payload: &[u8],
    keys: &impl AllowList,
    (hasher, wanted): (&SeriesHasher, impl Fn(&str) -> bool),
    each: impl FnMut(&otlp::Point<'_>),
) -> Result<(), Refusal> {
    match encoding {
        Encoding::Protobuf => otlp::read_metrics(payload, keys, hasher, wanted, each),
        Encoding::Json | Encoding::JsonLines => otlp::json::read_metrics(payload, keys, hasher, wanted, each),
    }
}

fn stage<T>(item: Result<T, Discard>, staged: &mut Vec<T>, tally: &mut Tally, accepted: &mut Accepted) {
    tally.receive();
    match item {
        Ok(item) => {
            staged.push(item);
            accepted.counted += 1;
        }
        Err(Discard::Skip(reason)) => {
            tally.skip(reason);
            accepted.skipped += 1;
        }
        Err(Discard::Refuse(refusal)) => {
            tally.refuse(refusal);
            accepted.refused += 1;
            accepted.first_refusal.get_or_insert(refusal);
        }
    }
}
