//! Tap profiles: what passes through the tap says about requests, as data. Two kinds of YAML files:
//!
//! * `collector/profiles/api/*.yaml`: an API as it goes over the wire: its paths, and where bodies tell the model, the tokens, an
//!   error.
//! * `collector/profiles/tap/*.yaml`: a server that speaks some of them, and what its response headers say.
//!
//! A new server or API is a file and an example. What a file may hold is said at its type below.

mod exchange;
mod route;
mod socket;

pub use exchange::{End, Exchange, Head};
pub use socket::{Reply, Session};

use serde::Deserialize;
use weighbridge_proto::v1::{GatewayProduct, Operation};

use super::embedded::{self, API, Embedded, TAP};
use crate::message::names_of;
use crate::source::tap::BodyFields;
use crate::source::tap::fields::PathError;
use route::{Pattern, PatternError};
use socket::{SocketApi, SocketFile};

static APIS: Embedded<Api, { API.len() }> = Embedded::new(API, |text| Api::parse(text).ok());
static SERVERS: Embedded<Server, { TAP.len() }> = Embedded::new(TAP, |text| Server::parse(text).ok());

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not YAML, an unknown field, a value of the wrong kind.
    #[error("tap profile: {0}")]
    Parse(String),
    /// A place in a body.
    #[error("tap profile {name}: {source}")]
    Path {
        /// The file's name.
        name: String,
        /// What is wrong.
        source: PathError,
    },
    /// A path of the API.
    #[error("tap profile {name}: routes: {source}")]
    Route {
        /// The file's name.
        name: String,
        /// What is wrong.
        source: PatternError,
    },
    /// A word that is not in its vocabulary, or too many of something.
    #[error("tap profile {name}: {field}: {fix}")]
    Value {
        /// The file's name.
        name: String,
        /// The field.
        field: &'static str,
        /// What to write instead.
        fix: String,
    },
}

/// `collector/profiles/api/*.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiFile {
    api: String,
    /// Sources, versions, what it cannot tell: for people.
    #[serde(rename = "notes")]
    _notes: Vec<String>,
    routes: Vec<RouteFile>,
    #[serde(default)]
    request: RequestFile,
    #[serde(default)]
    answer: AnswerFile,
    socket: Option<SocketFile>,
}

/// A path that asks a model for something. Only POST.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFile {
    /// The last steps of the path. `{model}` and `{alias}` stand for one step, or for its part before a `:`; an alias is the
    /// operator's own word and is not the name of a model.
    path: String,
    operation: String,
    /// Whether the answer is streamed, where the request's body does not say it.
    #[serde(default)]
    stream: StreamFile,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StreamFile {
    /// If the body asks for it.
    #[default]
    Asked,
    /// Unless the body says no.
    DefaultYes,
    Yes,
    No,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RequestFile {
    model: Vec<String>,
    stream: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnswerFile {
    model: Vec<String>,
    /// Terms that add up; of each, the places where it may stand.
    input_tokens: Vec<Vec<String>>,
    output_tokens: Vec<Vec<String>>,
    /// Places that hold something only when the request failed.
    error: Vec<String>,
    /// Strings that hold further documents in base64.
    encoded: Vec<String>,
    /// Words that say: this was no inference.
    no_inference: Option<WordsFile>,
    headers: AnswerHeaders,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WordsFile {
    fields: Vec<String>,
    words: Vec<String>,
}

/// Response headers that tell tokens where the body does not.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnswerHeaders {
    input_tokens: Option<String>,
    output_tokens: Option<String>,
}

/// `collector/profiles/tap/*.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerFile {
    name: String,
    gateway_product: String,
    #[serde(rename = "notes")]
    _notes: Vec<String>,
    /// APIs it speaks; all, if none is named.
    #[serde(default)]
    apis: Vec<String>,
    /// Provider label of what it serves.
    #[serde(default)]
    provider: String,
    #[serde(default)]
    upstream: UpstreamKind,
    #[serde(default)]
    headers: ServerHeaders,
    /// Values of the header `cache` that mean: no model was asked.
    #[serde(default)]
    cache_hits: Vec<String>,
}

/// What the tap stands before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UpstreamKind {
    /// The model's server or provider: its address says who hosts.
    #[default]
    Server,
    /// Another gateway: its address says nothing of the model's place.
    Gateway,
}

/// Response headers of a gateway.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServerHeaders {
    /// Provider that answered.
    provider: Option<String>,
    /// Attempts after the first.
    retries: Option<String>,
    /// Place of the target that answered; above 0 is a fallback.
    target: Option<String>,
    cache: Option<String>,
}

/// One API, compiled.
#[derive(Debug)]
struct Api {
    routes: Vec<Route>,
    request: BodyFields,
    answer: BodyFields,
    /// Which terms of the answer are input; the later ones are output.
    input_terms: u8,
    terms: u8,
    headers: AnswerHeaders,
    socket: Option<SocketApi>,
}

#[derive(Debug)]
struct Route {
    pattern: Pattern,
    operation: Operation,
    stream: StreamFile,
}

/// A server, compiled.
#[derive(Debug)]
struct Server {
    file: ServerFile,
    product: GatewayProduct,
    apis: Vec<&'static Api>,
}

/// One of the tap profiles.
#[derive(Clone, Copy, Debug)]
pub struct TapProfile(&'static Server);

impl PartialEq for TapProfile {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl<'de> Deserialize<'de> for TapProfile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        TapProfile::from_name(&name).ok_or_else(|| {
            let names = TapProfile::names();
            serde::de::Error::custom(format!("tap.profile: {name}: write one of {names}"))
        })
    }
}

impl TapProfile {
    /// Every profile that comes with the collector.
    pub fn all() -> impl Iterator<Item = TapProfile> {
        SERVERS.all().map(TapProfile)
    }

    /// The profile with this name.
    pub fn from_name(name: &str) -> Option<TapProfile> {
        SERVERS.get(name).map(TapProfile)
    }

    /// The names of all profiles, for messages.
    pub fn names() -> String {
        embedded::names(TAP)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        &self.0.file.name
    }

    /// Whether it stands before a model's server, not before another gateway.
    pub fn is_before_server(self) -> bool {
        self.0.file.upstream == UpstreamKind::Server
    }

    /// What reports call the product.
    pub fn gateway_product(self) -> GatewayProduct {
        self.0.product
    }
}

impl Api {
    fn parse(text: &str) -> Result<Api, ProfileError> {
        let file: ApiFile = parse(text)?;
        let name = file.api;
        let path = |source| ProfileError::Path { name: name.clone(), source };
        let value = |field, fix| ProfileError::Value { name: name.clone(), field, fix };
        let mut routes = Vec::new();
        for route in &file.routes {
            let pattern = Pattern::parse(&route.path)
                .map_err(|source| ProfileError::Route { name: name.clone(), source })?;
            let operation = Operation::from_name(&route.operation).ok_or_else(|| {
                value(
                    "routes.operation",
                    format!("write one of {}", names_of(Operation::ALL, |value| value.name())),
                )
            })?;
            routes.push(Route { pattern, operation, stream: route.stream });
        }
        let (mut request, mut answer) = (BodyFields::default(), BodyFields::default());
        request.model(&file.request.model).map_err(path)?;
        request.stream(&file.request.stream).map_err(path)?;
        answer.model(&file.answer.model).map_err(path)?;
        answer.error(&file.answer.error).map_err(path)?;
        answer.encoded(&file.answer.encoded).map_err(path)?;
        if let Some(words) = &file.answer.no_inference {
            answer.mark(&words.fields, &words.words).map_err(path)?;
        }
        let mut terms = 0;
        for term in file.answer.input_tokens.iter().chain(&file.answer.output_tokens) {
            let number = answer.term(term).map_err(path)?;
            terms =
                1 + number.ok_or_else(|| value("answer", "write at most 8 terms of tokens".to_owned()))?;
        }
        let input_terms = file.answer.input_tokens.len() as u8;
        let socket = file.socket.map(|socket| SocketApi::new(&name, socket)).transpose()?;
        Ok(Api { routes, request, answer, input_terms, terms, headers: file.answer.headers, socket })
    }
}

impl Server {
    fn parse(text: &str) -> Result<Server, ProfileError> {
        let file: ServerFile = parse(text)?;
        let value = |field, fix| ProfileError::Value { name: file.name.clone(), field, fix };
        let product = GatewayProduct::from_name(&file.gateway_product).ok_or_else(|| {
            value(
                "gateway_product",
                format!("write one of {}", names_of(GatewayProduct::ALL, |value| value.name())),
            )
        })?;
        let known = |name: &String| {
            let unknown = || value("apis", format!("{name}: write some of {}", embedded::names(API)));
            APIS.get(name).ok_or_else(unknown)
        };
        let mut apis = file.apis.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        if apis.is_empty() {
            apis = APIS.all().collect();
        }
        Ok(Server { file, product, apis })
    }

    /// The API and route that a path belongs to, and the name in it: that with the most steps.
    fn route(&self, path: &str) -> Option<(&'static Api, &'static Route, route::Named)> {
        let path = route::Path::new(path);
        let mut best = None;
        for api in &self.apis {
            for route in &api.routes {
                let is_longer = best.as_ref().is_none_or(|(_, known, _): &(_, &Route, _)| {
                    route.pattern.steps() > known.pattern.steps()
                });
                if is_longer && let Some(named) = route.pattern.matches(&path) {
                    best = Some((*api, route, named));
                }
            }
        }
        best
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ProfileError> {
    serde_saphyr::from_str(text).map_err(|error| ProfileError::Parse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_parses() {
        for (name, text) in API {
            Api::parse(text).unwrap();
            assert_eq!(parse::<ApiFile>(text).unwrap().api, *name, "the file's name");
        }
        for (name, text) in TAP {
            assert_eq!(Server::parse(text).unwrap().file.name, *name, "the file's name");
        }
        assert_eq!(TapProfile::all().count(), TAP.len());
        assert_eq!(TapProfile::from_name("ollama").unwrap().gateway_product(), GatewayProduct::Ollama);
    }

    #[test]
    fn paths_find_their_api() {
        let auto = TapProfile::from_name("auto").unwrap().0;
        let cases = [
            ("/v1/chat/completions", "openai chat"),
            ("/compatible-mode/v1/chat/completions?x=/v1/messages", "openai chat"),
            ("/v1/completions", "openai text_completion"),
            ("/v1/responses", "openai chat"),
            ("/openai/deployments/prod/chat/completions?api-version=2024-10-21", "azure-openai chat"),
            ("/v1/messages", "anthropic chat"),
            ("/anthropic/v1/messages", "anthropic chat"),
            ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "gemini chat gemini-2.5-flash"),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4@20250514:rawPredict",
                "vertex chat claude-sonnet-4@20250514",
            ),
            (
                "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/converse-stream",
                "bedrock chat us.anthropic.claude-sonnet-4-20250514-v1:0",
            ),
            ("/v2/chat", "cohere chat"),
            ("/api/chat", "ollama chat"),
            ("/api/embed", "ollama embeddings"),
            ("/embed", "tei embeddings"),
            ("/generate_stream", "tgi text_completion"),
            ("/completion", "llama-cpp text_completion"),
            ("/v1/rerank", "openai rerank"),
            ("/rerank", "tei rerank"),
        ];
        for (path, expected) in cases {
            let (api, route, named) = auto.route(path).unwrap_or_else(|| panic!("{path}"));
            let name = API.iter().find(|(name, _)| std::ptr::eq(APIS.get(name).unwrap(), api)).unwrap().0;
            let told = format!("{name} {} {}", route.operation.name(), named.model.unwrap_or_default());
            assert_eq!(told.trim(), expected, "{path}");
        }
        let others = [
            "/",
            "/v1/models",
            "/v1/messages/count_tokens",
            "/v1/responses/input_tokens",
            "/api/tags",
            "/api/pull",
            "/v1/messages/batches",
            "/xchat/completionsx",
            "/v1beta/models/gemini-2.5-flash:countTokens",
            "/tokenize",
            "/models/:generateContent",
        ];
        for path in others {
            assert!(auto.route(path).is_none(), "{path}");
        }
        let ollama = TapProfile::from_name("ollama").unwrap().0;
        assert!(ollama.route("/v2/chat").is_none(), "no API of Ollama");
    }

    #[test]
    fn faults_name_the_field_and_the_fix() {
        let api = "api: x\nnotes: []\nroutes: [{path: a/b, operation: chat}]\n";
        Api::parse(api).unwrap();
        let faults = [
            (api.replace("a/b", "/a"), "routes: /a: write"),
            (api.replace("chat", "talk"), "routes.operation: write one of chat"),
            (format!("{api}answer: {{model: [model]}}\n"), "model: write a path"),
            (
                format!("{api}answer: {{input_tokens: [[/1],[/2],[/3],[/4],[/5],[/6],[/7],[/8],[/9]]}}\n"),
                "at most 8",
            ),
            (format!("{api}colour: red\n"), "colour"),
            (
                format!(
                    "{api}socket: {{routes: [], kind: [/type], begins: [], ends: [], status: [], outcomes: {{x: odd}}, \
                     model: [], input_tokens: [], output_tokens: []}}\n"
                ),
                "socket.outcomes: odd: write one of",
            ),
        ];
        for (text, expected) in faults {
            let error = Api::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let server = "name: x\ngateway_product: other\nnotes: []\n";
        let faults = [
            (server.replace("other", "odd"), "gateway_product: write one of other"),
            (format!("{server}apis: [soap]\n"), "apis: soap: write some of"),
        ];
        for (text, expected) in faults {
            let error = Server::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
