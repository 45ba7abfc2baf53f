//! A client that sends a known mix of requests through a gateway, and remembers for each what came back.
//!
//! The mix is fixed by a seed. Every kind of request that the gateway's exporters treat in their own way is in
//! it several times; the rest are ordinary requests to open and closed models.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};

use crate::processes::http_client;
use crate::scenario::{
    BROKEN, CANARY_ALIAS, CANARY_MODEL, CLAUDE, DEEPSEEK, Deployment, EMBEDDING, FLAKY, GPT_4O, LIMITED,
    LIMITED_ALONE, LLAMA, PRIVATE, SLOW, TALKATIVE, canaries, mark,
};
use crate::upstream::Outcome;

/// Requests under way at a time.
const CONCURRENCY: usize = 8;
/// One request, at the outside.
const REQUEST_LIMIT: Duration = Duration::from_secs(90);
/// Retries that a request to a flaky model asks for.
const RETRIES: u32 = 2;
/// Pieces of a stream that are read before it is left.
const PIECES_BEFORE_LEAVING: usize = 3;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Case {
    /// An answer in one piece.
    Plain,
    /// A stream, without asking for token counts.
    Stream,
    /// A stream that asks for token counts.
    StreamUsage,
    /// An embedding.
    Embedding,
    /// Anthropic's own API at the gateway, `/v1/messages`.
    Messages,
    /// The same, streamed.
    MessagesStream,
    /// 429 of one model, then an answer of another.
    Fallback,
    /// The same, streamed.
    FallbackStream,
    /// 429, and no other model to try.
    RateLimited,
    /// 500.
    Failed,
    /// 500, then an answer of the same model.
    Retried,
    /// No answer in the gateway's time limit.
    TimedOut,
    /// A key that the gateway refuses.
    BadKey,
    /// A model that the gateway does not have.
    UnknownModel,
    /// A request that was sent before, answered from the cache.
    CacheHit,
    /// The same, streamed.
    CacheHitStream,
    /// A stream that the client leaves.
    Left,
}

/// One request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Its number; unique.
    pub number: u32,
    /// What it is about.
    pub case: Case,
    /// The model it asks for.
    pub deployment: Deployment,
    /// The number in its text; of a cache hit: that of the request it repeats.
    pub marked: u32,
}

/// What the client knows of a request afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What was sent.
    pub plan: Plan,
    /// The gateway's status.
    pub status: u16,
    /// Whether the client read the answer to its end.
    pub complete: bool,
    /// Input and output tokens, where the answer says so.
    pub tokens: Option<(u64, u64)>,
    /// The header `x-litellm-call-id`.
    pub call_id: Option<String>,
}

impl Plan {
    /// Whether the answer is streamed.
    pub fn stream(&self) -> bool {
        use Case::{CacheHitStream, FallbackStream, Left, MessagesStream, Stream, StreamUsage};
        matches!(self.case, Stream | StreamUsage | MessagesStream | FallbackStream | CacheHitStream | Left)
    }

    /// The status that the gateway must answer with.
    pub fn expected_status(&self) -> u16 {
        match self.case {
            Case::RateLimited => 429,
            Case::Failed => 500,
            Case::TimedOut => 408,
            Case::BadKey => 400, // without a database LiteLLM has no key but its own, and says 400
            Case::UnknownModel => 400,
            _ => 200,
        }
    }

    /// What the provider must see: models in order, and how each attempt ends.
    pub fn attempts(&self) -> Vec<(&'static str, Outcome)> {
        let model = self.deployment.model;
        match self.case {
            Case::Plain | Case::Stream | Case::StreamUsage | Case::Embedding => {
                vec![(model, Outcome::Answered)]
            }
            Case::Messages | Case::MessagesStream => vec![(model, Outcome::Answered)],
            Case::Fallback | Case::FallbackStream => {
                vec![(model, Outcome::RateLimited), (LLAMA.model, Outcome::Answered)]
            }
            Case::RateLimited => vec![(model, Outcome::RateLimited)],
            Case::Failed => vec![(model, Outcome::Failed)],
            Case::Retried => vec![(model, Outcome::Failed), (model, Outcome::Answered)],
            Case::TimedOut | Case::Left => vec![(model, Outcome::Left)],
            Case::BadKey | Case::UnknownModel | Case::CacheHit | Case::CacheHitStream => vec![],
        }
    }

    /// The model that a request with an answer was served by; none where no model answered.
    pub fn served(&self) -> Option<&'static str> {
        self.attempts().last().filter(|(_, outcome)| *outcome == Outcome::Answered).map(|(model, _)| *model)
    }
}

/// The mix: every special case `each` times, then ordinary requests up to `total`, in an order fixed by `seed`.
/// Cache hits come last, because what they repeat must have been answered.
pub fn plans(seed: u64, each: u32, total: u32) -> Vec<Plan> {
    let special = [
        (Case::Embedding, EMBEDDING),
        (Case::Messages, CLAUDE),
        (Case::MessagesStream, CLAUDE),
        (Case::Messages, LLAMA),
        (Case::MessagesStream, LLAMA),
        (Case::Fallback, LIMITED),
        (Case::FallbackStream, LIMITED),
        (Case::RateLimited, LIMITED_ALONE),
        (Case::Failed, BROKEN),
        (Case::Retried, FLAKY),
        (Case::TimedOut, SLOW),
        (Case::BadKey, GPT_4O),
        (Case::UnknownModel, GPT_4O),
        (Case::Left, TALKATIVE),
    ];
    let ordinary = [GPT_4O, CLAUDE, LLAMA, DEEPSEEK, PRIVATE, CANARY_MODEL, CANARY_ALIAS];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cases: Vec<(Case, Deployment)> =
        special.iter().flat_map(|case| (0..each).map(|_| *case)).collect();
    let hits = 2 * each as usize;
    while cases.len() + hits < total as usize {
        let case = [Case::Plain, Case::Plain, Case::Stream, Case::StreamUsage][random.usize(..4)];
        cases.push((case, ordinary[cases.len() % ordinary.len()]));
    }
    random.shuffle(&mut cases);
    let plan = |(number, (case, deployment)): (usize, (Case, Deployment))| {
        let number = u32::try_from(number).expect("few requests");
        Plan { number, case, deployment, marked: number }
    };
    let mut plans: Vec<Plan> = cases.into_iter().enumerate().map(plan).collect();
    for (original, hit) in [(Case::Plain, Case::CacheHit), (Case::StreamUsage, Case::CacheHitStream)] {
        // The last ones: LiteLLM's cache in memory forgets all but the last 200 answers.
        let last = plans.iter().rev().filter(|plan| plan.case == original);
        let repeated: Vec<Plan> = last.copied().take(each as usize).collect();
        assert_eq!(
            repeated.len(),
            each as usize,
            "the total is too small for {each} cache hits of each kind"
        );
        for plan in repeated {
            let number = u32::try_from(plans.len()).expect("few requests");
            plans.push(Plan { number, case: hit, ..plan });
        }
    }
    plans
}

/// Sends all of them to the gateway at `url`; the result is in the order of their numbers.
pub async fn drive(url: &str, plans: &[Plan]) -> Vec<Sent> {
    let client = http_client();
    let is_hit = |plan: &&Plan| matches!(plan.case, Case::CacheHit | Case::CacheHitStream);
    let (hits, first): (Vec<&Plan>, Vec<&Plan>) = plans.iter().partition(is_hit);
    let mut sent = Vec::with_capacity(plans.len());
    for batch in [first, hits] {
        let requests = batch.into_iter().map(|plan| send(&client, url, *plan));
        sent.extend(stream::iter(requests).buffer_unordered(CONCURRENCY).collect::<Vec<_>>().await);
    }
    sent.sort_by_key(|sent| sent.plan.number);
    sent
}

/// Sends one request and reads its answer, or as much of it as the case wants.
pub async fn send(client: &reqwest::Client, url: &str, plan: Plan) -> Sent {
    let (path, body) = request(plan);
    let key = if plan.case == Case::BadKey { canaries::BAD_KEY } else { canaries::KEY };
    let request = client
        .post(format!("{url}{path}"))
        .timeout(REQUEST_LIMIT)
        .header("authorization", format!("Bearer {key}"))
        // A connection that is just given back is handed to a request that waits for one, even without a pool, and the gateway may
        // be closing it: then that request has no answer.
        .header("connection", "close")
        .header("x-acme-team", canaries::HEADER)
        .json(&body);
    let answer = request
        .send()
        .await
        .unwrap_or_else(|error| panic!("{plan:?}: the gateway did not answer: {error:?}"));
    let status = answer.status().as_u16();
    let header = answer.headers().get("x-litellm-call-id");
    let call_id = header.and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    if plan.case == Case::Left {
        let mut pieces = answer.bytes_stream();
        for _ in 0..PIECES_BEFORE_LEAVING {
            pieces.next().await.expect("a stream to leave").expect("a piece of a stream");
        }
        return Sent { plan, status, complete: false, tokens: None, call_id };
    }
    let text =
        answer.text().await.unwrap_or_else(|error| panic!("{plan:?}: the answer broke off: {error:?}"));
    Sent { plan, status, complete: true, tokens: read_tokens(plan, &text), call_id }
}

fn request(plan: Plan) -> (&'static str, Value) {
    let text = format!("{} please, {}", canaries::PROMPT, mark(plan.marked));
    let model = match plan.case {
        Case::UnknownModel => canaries::UNKNOWN_MODEL,
        _ => plan.deployment.alias,
    };
    if plan.case == Case::Embedding {
        return ("/v1/embeddings", json!({"model": model, "input": text, "user": canaries::USER}));
    }
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 64});
    if plan.stream() {
        body["stream"] = json!(true);
    }
    if matches!(plan.case, Case::Messages | Case::MessagesStream) {
        body["metadata"] = json!({"user_id": canaries::USER});
        return ("/v1/messages", body);
    }
    body["user"] = json!(canaries::USER);
    match plan.case {
        // A hit must repeat the whole request.
        Case::StreamUsage | Case::CacheHitStream => body["stream_options"] = json!({"include_usage": true}),
        Case::Retried => body["num_retries"] = json!(RETRIES),
        _ => {}
    }
    ("/v1/chat/completions", body)
}

/// The last token counts in an answer, plain or streamed.
fn read_tokens(plan: Plan, text: &str) -> Option<(u64, u64)> {
    let objects: Vec<Value> = if plan.stream() {
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
    } else {
        serde_json::from_str(text).into_iter().collect()
    };
    let (mut input, mut output) = (None, None);
    for usage in objects.iter().flat_map(|object| [&object["usage"], &object["message"]["usage"]]) {
        let count = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64());
        input = count(["prompt_tokens", "input_tokens"]).filter(|count| *count > 0).or(input);
        output = count(["completion_tokens", "output_tokens"]).filter(|count| *count > 0).or(output);
    }
    input.map(|input| (input, output.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_the_same_for_the_same_seed_and_holds_every_case() {
        let one = plans(1, 3, 300);
        assert_eq!(one.len(), 300);
        assert_eq!(one, plans(1, 3, 300));
        assert_ne!(one, plans(2, 3, 300));
        for case in [Case::Fallback, Case::Left, Case::CacheHit, Case::CacheHitStream, Case::BadKey] {
            assert_eq!(one.iter().filter(|plan| plan.case == case).count(), 3, "{case:?}");
        }
        assert!(one.iter().enumerate().all(|(index, plan)| plan.number as usize == index));
    }
}
