//! What must be counted: the client's and the provider's truth of a drive, as cells.
//!
//! Written from the case of each request and what LiteLLM 1.106.2 was measured to tell of it, not from what the collector
//! does. Where LiteLLM tells less than happened, the table below says so.
//!
//! | case | spans V2 | metrics V2 | webhook, spans V1 |
//! |---|---|---|---|
//! | bad key, unknown model | not told | not told | a refused request, no attempt |
//! | cache hit | not told | its tokens only | told as a hit: not counted |
//! | failed request | request and attempt | attempt only | request and attempt |
//! | fallback and streaming | told | not told | told |
//! | stream with a fallback | no token counts | no token counts | no token counts |
//! | stream that the client left | a success with estimated tokens | the same | the same |

use std::collections::BTreeMap;

use crate::driver::{Case, Plan, Sent};
use crate::scenario::{CANARY_MODEL, Deployment, EMBEDDING, LLAMA, PRIVATE, TALKATIVE, tokens};

/// What LiteLLM exports, as far as it differs in what it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Spans of the first integration.
    SpansV1,
    /// Spans of the second integration.
    SpansV2,
    /// Metrics of the second integration.
    Metrics,
    /// Webhook events.
    Webhook,
    /// `/metrics` pages.
    Pages,
}

/// Requests, attempts, input and output tokens.
pub type Counts = [u64; 4];

/// Cells by `model openness operation outcome choice streaming`.
pub type Cells = BTreeMap<String, Counts>;

/// The register's name and the openness of a provider's model, by hand.
pub fn model(deployment: &Deployment) -> (&'static str, &'static str) {
    match deployment.model {
        "gpt-4o" => ("gpt-4o", "closed"),
        "gpt-4o-mini" => ("gpt-4o-mini", "closed"),
        "gpt-4.1" => ("gpt-4.1", "closed"),
        "gpt-4.1-mini" => ("gpt-4.1-mini", "closed"),
        "o3" => ("o3", "closed"),
        "claude-sonnet-4-5-20250929" => ("claude-sonnet-4.5", "closed"),
        "claude-opus-4-1-20250805" => ("claude-opus-4.1", "closed"),
        "text-embedding-3-small" => ("text-embedding-3-small", "closed"),
        "meta-llama/Llama-3.3-70B-Instruct" => ("llama-3.3", "open-restricted"),
        "deepseek-chat" => ("deepseek-chat", "open-permissive"),
        "Qwen/Qwen3-32B" => ("qwen-3", "open-permissive"),
        "mistralai/Mistral-Small-24B-Instruct-2501" => ("mistral-small-3", "open-permissive"),
        name if name == PRIVATE.model || name == CANARY_MODEL.model => ("unlisted", "unknown"),
        other => panic!("{other} has no entry"),
    }
}

/// Name of the model whose token counts LiteLLM estimates.
pub fn estimated_model() -> &'static str {
    model(&TALKATIVE).0
}

/// Events that the webhook makes of a plan: one an attempt, one for what reached no model.
pub fn events(plan: &Plan) -> usize {
    plan.attempts().len().max(1)
}

/// A figure that several of LiteLLM's inputs tell in the same sense, so that they must be equal in it, model by model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Requests that a model answered.
    Served,
    /// Requests that reached a model and failed.
    Failed,
    /// Requests that LiteLLM refused itself.
    Refused,
    /// Attempts, by how they ended.
    Attempts,
    /// Input and output tokens of answers, whichever way they came.
    Tokens,
}

/// Which inputs agree in what. What is left out differs by nature: metrics know no failed request (they count attempts, and a
/// request that failed is not told from one that another model answered); spans and metrics begin behind the checks that
/// refuse; metrics and pages count the tokens of an answer from the cache like any other, and have no sign of it. By operation,
/// choice and streaming they are not comparable: pages tell no operation and no streaming, metrics no choice either.
pub const AGREEMENTS: &[(Figure, &[Told])] = &[
    (Figure::Served, &[Told::SpansV2, Told::Metrics, Told::Webhook, Told::Pages]),
    (Figure::Failed, &[Told::SpansV2, Told::Webhook, Told::Pages]),
    (Figure::Refused, &[Told::Webhook, Told::Pages]),
    (Figure::Attempts, &[Told::SpansV2, Told::Metrics, Told::Webhook, Told::Pages]),
    (Figure::Tokens, &[Told::SpansV2, Told::Webhook]),
    (Figure::Tokens, &[Told::Metrics, Told::Pages]),
];

/// One figure of some cells, by `model openness outcome`.
pub fn figure(cells: &Cells, figure: Figure) -> BTreeMap<String, Vec<u64>> {
    let mut sums = BTreeMap::new();
    for (key, [requests, attempts, input, output]) in cells {
        let words: Vec<&str> = key.split(' ').collect();
        let [model, openness, _operation, outcome, _choice, _streaming] = words[..] else {
            panic!("{key} is no cell")
        };
        let told = match figure {
            Figure::Served if outcome == "ok" => vec![*requests],
            Figure::Failed if matches!(outcome, "rate_limited" | "server_error") => vec![*requests],
            Figure::Refused if outcome == "client_error" => vec![*requests],
            Figure::Attempts => vec![*attempts],
            Figure::Tokens => vec![*input, *output],
            _ => continue,
        };
        if told.iter().all(|count| *count == 0) {
            continue;
        }
        let sum = sums.entry(format!("{model} {openness} {outcome}")).or_insert_with(|| vec![0; told.len()]);
        sum.iter_mut().zip(told).for_each(|(sum, count)| *sum += count);
    }
    sums
}

/// What must be counted of what was sent.
pub fn expected(told: Told, sent: &[Sent]) -> Cells {
    let mut cells = Cells::new();
    for sent in sent {
        add_plan(told, &sent.plan, &mut cells);
    }
    cells.retain(|_, counts| *counts != [0; 4]);
    cells
}

/// What LiteLLM's page tells of a plan: requests and, in series of their own, attempts and tokens. No operation and no streaming;
/// fallbacks under first choice, as LiteLLM tells them after the request, on a later page if one falls between.
fn add_pages(plan: &Plan, cells: &mut Cells) {
    let deployment = &plan.deployment;
    let (input, output) = tokens(plan.marked);
    let mut add = |to: &Deployment, outcome: &str, choice: &str, counts: Counts| {
        let (name, openness) = model(to);
        let cell = cells.entry(format!("{name} {openness} chat {outcome} {choice} unknown")).or_default();
        cell.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    };
    match plan.case {
        Case::Embedding => {
            add(deployment, "ok", "first", [1, 0, 0, 0]);
            add(deployment, "ok", "unknown", [0, 1, input, 0]);
        }
        Case::Plain | Case::Stream | Case::StreamUsage | Case::Messages | Case::MessagesStream => {
            add(deployment, "ok", "first", [1, 0, 0, 0]);
            add(deployment, "ok", "unknown", [0, 1, input, output]);
        }
        Case::Fallback | Case::FallbackStream => {
            add(deployment, "rate_limited", "unknown", [0, 1, 0, 0]);
            add(&LLAMA, "ok", "first", [1, 0, 0, 0]);
            let told = if plan.stream() { [0, 1, 0, 0] } else { [0, 1, input, output] };
            add(&LLAMA, "ok", "unknown", told);
        }
        Case::RateLimited | Case::Failed | Case::TimedOut => {
            let outcome = if plan.case == Case::RateLimited { "rate_limited" } else { "server_error" };
            add(deployment, outcome, "first", [1, 0, 0, 0]);
            add(deployment, outcome, "unknown", [0, 1, 0, 0]);
        }
        Case::Retried => {
            add(deployment, "server_error", "unknown", [0, 1, 0, 0]);
            add(deployment, "ok", "first", [1, 0, 0, 0]);
            add(deployment, "ok", "unknown", [0, 1, input, output]);
        }
        Case::Left => {
            add(deployment, "ok", "first", [1, 0, 0, 0]);
            add(deployment, "ok", "unknown", [0, 1, 0, 0]);
        }
        // Taken off requests and attempts; the tokens of a replay cannot be told from others.
        Case::CacheHit | Case::CacheHitStream => add(deployment, "ok", "unknown", [0, 0, input, output]),
        Case::BadKey | Case::UnknownModel => {
            let cell =
                cells.entry("unlisted unknown chat client_error first unknown".to_owned()).or_default();
            cell[0] += 1;
        }
    }
}

fn add_plan(told: Told, plan: &Plan, cells: &mut Cells) {
    if told == Told::Pages {
        return add_pages(plan, cells);
    }
    let deployment = &plan.deployment;
    let (input, output) = tokens(plan.marked);
    let streamed = if plan.stream() { "yes" } else { "no" };
    // A failure has no answer that could be streamed; only V1 says what was asked for.
    let asked = if told == Told::SpansV1 { streamed } else { "no" };
    let fails = u64::from(told != Told::Metrics);
    let mut add = |to: &Deployment, outcome: &str, choice: &str, streaming: &str, counts: Counts| {
        let (name, openness) = model(to);
        let operation = if *to == EMBEDDING { "embeddings" } else { "chat" };
        let (choice, streaming) =
            if told == Told::Metrics { ("unknown", "unknown") } else { (choice, streaming) };
        let cell =
            cells.entry(format!("{name} {openness} {operation} {outcome} {choice} {streaming}")).or_default();
        cell.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    };
    match plan.case {
        Case::Embedding => add(deployment, "ok", "first", "no", [1, 1, input, 0]),
        Case::Plain | Case::Stream | Case::StreamUsage | Case::Messages | Case::MessagesStream => {
            add(deployment, "ok", "first", streamed, [1, 1, input, output]);
        }
        Case::Fallback | Case::FallbackStream => {
            add(deployment, "rate_limited", "first", asked, [0, 1, 0, 0]);
            let answer = if plan.stream() { [1, 1, 0, 0] } else { [1, 1, input, output] };
            add(&LLAMA, "ok", "fallback", streamed, answer);
        }
        Case::RateLimited => add(deployment, "rate_limited", "first", "no", [fails, 1, 0, 0]),
        Case::Failed | Case::TimedOut => add(deployment, "server_error", "first", "no", [fails, 1, 0, 0]),
        Case::Retried => {
            add(deployment, "server_error", "first", "no", [0, 1, 0, 0]);
            add(deployment, "ok", "first", "no", [1, 1, input, output]);
        }
        Case::Left => add(deployment, "ok", "first", "yes", [1, 1, 0, 0]),
        Case::CacheHit | Case::CacheHitStream if told == Told::Metrics => {
            add(deployment, "ok", "first", streamed, [0, 0, input, output]);
        }
        Case::CacheHit | Case::CacheHitStream => {}
        Case::BadKey | Case::UnknownModel if matches!(told, Told::SpansV1 | Told::Webhook) => {
            let cell = cells.entry("unlisted unknown chat client_error first no".to_owned()).or_default();
            cell[0] += 1;
        }
        Case::BadKey | Case::UnknownModel => {}
    }
}
