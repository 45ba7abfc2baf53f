//! What is sent through a proxy that knows no models (Envoy, nginx), and what its access log tells of it.
//!
//! The proxy tries a 500 once more and gives up on a slow model. A stream without token counts, one that the client left and
//! a failure have no tokens. Such a log tells no fallback.

use crate::driver::{Case, Plan, Sent};
use crate::scenario::{
    BROKEN, CANARY_MODEL, DEEPSEEK, Deployment, EMBEDDING, FLAKY, GPT_4O, LIMITED_ALONE, LLAMA, SLOW,
    TALKATIVE, tokens,
};
use crate::truth::{Cells, model};

/// Whether the proxy reads the answers' token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// It does, and logs them.
    Logged,
    /// It reads no answers.
    NotRead,
}

const CASES: [(Case, Deployment); 10] = [
    (Case::Plain, GPT_4O),
    (Case::Stream, LLAMA),
    (Case::StreamUsage, DEEPSEEK),
    (Case::Plain, CANARY_MODEL),
    (Case::Embedding, EMBEDDING),
    (Case::RateLimited, LIMITED_ALONE),
    (Case::Failed, BROKEN),
    (Case::Retried, FLAKY),
    (Case::TimedOut, SLOW),
    (Case::Left, TALKATIVE),
];

/// Every case that a plain proxy can have, and those in `more`, `each` times, in a fixed order that mixes them.
pub fn plans(each: u32, more: &[(Case, Deployment)]) -> Vec<Plan> {
    let cases: Vec<_> = CASES.iter().chain(more).copied().collect();
    let numbers = 0..each * u32::try_from(cases.len()).expect("few cases");
    numbers
        .zip(cases.iter().cycle())
        .map(|(number, (case, deployment))| {
            // Such a proxy changes no names: the client asks for the provider's own.
            let deployment = Deployment { alias: deployment.model, ..*deployment };
            Plan { number, case: *case, deployment, marked: number }
        })
        .collect()
}

/// What the log tells of what was sent.
pub fn expected(sent: &[Sent], told: Tokens) -> Cells {
    let mut cells = Cells::new();
    for Sent { plan, .. } in sent {
        let (outcome, attempts) = match plan.case {
            Case::RateLimited => ("rate_limited", 1),
            Case::Failed => ("server_error", 2),
            Case::TimedOut => ("server_error", 1),
            Case::Retried => ("ok", 2),
            Case::Left => ("cancelled", 1),
            Case::BadKey => ("client_error", 0),
            _ => ("ok", 1),
        };
        let (input, output) = match plan.case {
            _ if told == Tokens::NotRead => (0, 0),
            Case::Plain | Case::StreamUsage | Case::Retried => tokens(plan.marked),
            Case::Embedding => (tokens(plan.marked).0, 0),
            _ => (0, 0),
        };
        // A request that the proxy refuses itself has no model that it went to, and its body is not read.
        let (name, openness) =
            if plan.case == Case::BadKey { ("unlisted", "unknown") } else { model(&plan.deployment) };
        let streamed = match plan.case {
            Case::BadKey => "unknown",
            _ if plan.stream() => "yes",
            _ => "no",
        };
        let operation = if plan.case == Case::Embedding { "embeddings" } else { "chat" };
        let cell =
            cells.entry(format!("{name} {openness} {operation} {outcome} unknown {streamed}")).or_default();
        cell.iter_mut().zip([1, attempts, input, output]).for_each(|(sum, count)| *sum += count);
    }
    cells
}
