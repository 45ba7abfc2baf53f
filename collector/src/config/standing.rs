//! Where a collector stands, and what one configuration must not count twice: `vantage`, `behind_gateway`, `gateway_id`, and
//! addresses that are given twice.
//!
//! A split sums one vantage, `gateway`; what `server` and `client` count is a cross-check beside it. A model server that clients
//! ask directly is the only place where its traffic is seen, so its collector counts as a gateway unless told otherwise.
//! `behind_gateway: true` tells otherwise: the vantage becomes `server`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use weighbridge_proto::v1::Vantage;

use super::{Config, ConfigError, OtlpSignal, Source};
use crate::message::names_of;
use crate::profile::{Profile, rules};

/// Most letters of a `gateway_id`: it names a file.
const MAX_GATEWAY_ID: usize = 64;

/// How well an input tells the requests of one gateway, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precedence {
    /// An event log or webhook: one record a request, with its final status.
    EventLog,
    /// Counters of the gateway.
    GatewayCounters,
    /// Spans of the gateway.
    GatewaySpans,
    /// Counters of the model server.
    ServerCounters,
    /// Metrics of an application's SDK.
    SdkMetrics,
    /// Spans of an application's SDK.
    SdkSpans,
}

impl Precedence {
    /// The whole order, for messages.
    pub const ORDER: &'static str = "event log or webhook with final status, gateway counters, gateway spans, server counters, \
        SDK metrics, SDK spans";

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Precedence::EventLog => "event log or webhook",
            Precedence::GatewayCounters => "gateway counters",
            Precedence::GatewaySpans => "gateway spans",
            Precedence::ServerCounters => "server counters",
            Precedence::SdkMetrics => "SDK metrics",
            Precedence::SdkSpans => "SDK spans",
        }
    }
}

impl Config {
    /// Where the collector stands.
    ///
    /// # Errors
    /// Not one of the names, or `behind_gateway` says otherwise.
    pub fn vantage(&self) -> Result<Vantage, ConfigError> {
        let written = match &self.vantage {
            None => None,
            Some(name) => Some(Vantage::from_name(name).ok_or_else(|| ConfigError::Value {
                field: "vantage",
                fix: format!("write one of {}", names_of(Vantage::ALL, |value| value.name())),
            })?),
        };
        match (self.behind_gateway, written) {
            (false, written) => Ok(written.unwrap_or(Vantage::Gateway)),
            (true, None | Some(Vantage::Server)) => Ok(Vantage::Server),
            (true, Some(other)) => Err(ConfigError::Value {
                field: "behind_gateway",
                fix: format!(
                    "true means vantage server, but vantage: {} is written; remove one of the two lines",
                    other.name()
                ),
            }),
        }
    }

    /// How well the source tells the requests of its gateway.
    pub fn precedence(&self) -> Precedence {
        let is_sdk = |profile: Profile| {
            profile != Profile::Litellm && self.vantage().is_ok_and(|vantage| vantage == Vantage::Client)
        };
        match &self.source {
            Source::Webhook(_) | Source::AccessLog(_) | Source::Tap(_) => Precedence::EventLog,
            Source::Prometheus(prometheus) => {
                let vantage = rules::named(&prometheus.profile).map(|profile| profile.vantage);
                if vantage.is_ok_and(|vantage| vantage == Vantage::Server.name()) {
                    Precedence::ServerCounters
                } else {
                    Precedence::GatewayCounters
                }
            }
            Source::Otlp(otlp) => match (otlp.signal, is_sdk(otlp.profile)) {
                (OtlpSignal::Metrics, false) => Precedence::GatewayCounters,
                (OtlpSignal::Traces, false) => Precedence::GatewaySpans,
                (OtlpSignal::Metrics, true) => Precedence::SdkMetrics,
                (OtlpSignal::Traces, true) => Precedence::SdkSpans,
            },
        }
    }

    /// What is read, in the words of the configuration.
    pub fn source_name(&self) -> String {
        let source = match &self.source {
            Source::Otlp(otlp) => match otlp.signal {
                OtlpSignal::Traces => "otlp traces",
                OtlpSignal::Metrics => "otlp metrics",
            },
            Source::Webhook(_) => "webhook",
            Source::Prometheus(_) => "prometheus",
            Source::AccessLog(_) => "access_log",
            Source::Tap(_) => "tap",
        };
        format!("{source}, profile {}", self.profile())
    }

    /// Whether a counted gateway may stand in front of what is read.
    pub fn may_stand_behind_gateway(&self) -> bool {
        match &self.source {
            Source::Prometheus(prometheus) => {
                rules::named(&prometheus.profile).is_ok_and(|profile| profile.may_stand_behind_gateway())
            }
            Source::Tap(tap) => tap.profile.is_before_server(),
            Source::Otlp(_) | Source::Webhook(_) | Source::AccessLog(_) => false,
        }
    }

    /// A note for the contributor when a model server counts as a gateway and nobody said that it should.
    pub fn standing_note(&self) -> Option<&'static str> {
        (self.vantage.is_none() && !self.behind_gateway && self.may_stand_behind_gateway()).then_some(
            "a model server is counted as a gateway; if a gateway in front of it is counted too, write behind_gateway: true, \
             else its requests count twice",
        )
    }

    /// Every address that is listened on, with its field.
    fn listening(&self) -> Vec<(&'static str, SocketAddr)> {
        let of_source: Vec<(&'static str, Option<SocketAddr>)> = match &self.source {
            Source::Otlp(otlp) => vec![
                ("source.otlp.grpc_listen", otlp.grpc_listen),
                ("source.otlp.http_listen", otlp.http_listen),
            ],
            Source::Webhook(webhook) => vec![("source.webhook.listen", Some(webhook.listen))],
            Source::Prometheus(_) => Vec::new(),
            Source::Tap(tap) => vec![("source.tap.listen", Some(tap.listen))],
            Source::AccessLog(log) => vec![
                ("source.access_log.http_listen", log.http_listen),
                ("source.access_log.otlp_grpc_listen", log.otlp_grpc_listen),
                ("source.access_log.otlp_http_listen", log.otlp_http_listen),
                ("source.access_log.als_listen", log.als_listen),
            ],
        };
        let of_source = of_source.into_iter().filter_map(|(field, address)| Some((field, address?)));
        of_source.chain([("admin.listen", self.admin.listen)]).collect()
    }

    /// Checks all of the above.
    pub(super) fn check_standing(&self) -> Result<(), ConfigError> {
        let fail = |field, fix: String| Err(ConfigError::Value { field, fix });
        self.vantage()?;
        if self.behind_gateway && !self.may_stand_behind_gateway() {
            return fail(
                "behind_gateway",
                format!(
                    "is for model servers, and {} is none; write vantage: server if its requests are counted at another gateway",
                    self.source_name()
                ),
            );
        }
        let is_id = |id: &str| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (1..=MAX_GATEWAY_ID).contains(&id.len())
                && id.bytes().all(is_letter)
                && id.as_bytes()[0].is_ascii_alphanumeric()
        };
        if self.gateway_id.as_deref().is_some_and(|id| !is_id(id)) {
            return fail(
                "gateway_id",
                format!("write 1 to {MAX_GATEWAY_ID} of letters, digits, - _ and ., a letter or digit first"),
            );
        }
        if self.claims_folder.is_some() && self.gateway_id.is_none() {
            return fail("claims_folder", "write gateway_id too; without it nothing is claimed".to_owned());
        }
        let listening = self.listening();
        for (place, (field, address)) in listening.iter().enumerate() {
            let same = |(_, other): &&(&str, SocketAddr)| overlap(*address, *other);
            if let Some((other, _)) = listening[..place].iter().find(same) {
                return fail(field, format!("{address} is {other} too; give each its own port"));
            }
        }
        Ok(())
    }
}

/// Whether two sockets cannot both listen. Port 0 is any free one.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (is_any || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(source: &str, lines: &str) -> Result<Config, ConfigError> {
        let text = format!(
            "data_folder: /tmp/w\nenvironment: production\nsource: {{{source}}}\n\
             uplink: {{endpoint: 'http://127.0.0.1:1'}}\n{lines}\n"
        );
        Config::parse(&text, |_| None)
    }

    fn page(profile: &str) -> String {
        format!("prometheus: {{profile: {profile}, targets: [{{url: 'http://127.0.0.1:8000/metrics'}}]}}")
    }

    #[test]
    fn a_model_server_counts_as_gateway_until_it_is_said_to_stand_behind_one() {
        let servers =
            ["vllm", "sglang", "tgi", "triton", "nim", "dynamo", "ray-serve", "kserve", "llm-d", "smg"];
        for profile in rules::NAMES {
            let alone = with(&page(profile), "").unwrap();
            assert_eq!(alone.vantage().unwrap(), Vantage::Gateway, "{profile}");
            let behind = with(&page(profile), "behind_gateway: true");
            match behind {
                Ok(behind) => assert_eq!(behind.vantage().unwrap(), Vantage::Server, "{profile}"),
                Err(error) => assert!(error.to_string().contains("write vantage: server"), "{error}"),
            }
            assert_eq!(alone.may_stand_behind_gateway(), servers.contains(profile), "{profile}");
            assert_eq!(alone.standing_note().is_some(), servers.contains(profile), "{profile}");
        }
        let both = with(&page("vllm"), "behind_gateway: true\nvantage: server").unwrap();
        assert_eq!(both.vantage().unwrap(), Vantage::Server);
        assert_eq!(both.standing_note(), None);
        assert_eq!(with(&page("vllm"), "vantage: gateway").unwrap().standing_note(), None, "it was said");
    }

    #[test]
    fn faults_name_the_field_and_the_fix() {
        let webhook = "webhook: {profile: litellm, listen: '127.0.0.1:4319'}";
        let two_pages = "prometheus: {profile: vllm, targets: [{url: 'http://h:1/metrics'}, {url: 'http://h:1/metrics/'}]}";
        let vllm = page("vllm");
        let faults = [
            (
                vllm.as_str(),
                "behind_gateway: true\nvantage: gateway",
                "behind_gateway: true means vantage server",
            ),
            (&vllm, "behind_gateway: true\nvantage: client", "vantage: client is written"),
            (
                webhook,
                "behind_gateway: true",
                "behind_gateway: is for model servers, and webhook, profile litellm",
            ),
            (webhook, "gateway_id: 'a/b'", "gateway_id: write 1 to 64"),
            (webhook, "gateway_id: ''", "gateway_id: write 1 to 64"),
            (webhook, "claims_folder: /run/w", "claims_folder: write gateway_id too"),
            (
                webhook,
                "admin: {listen: '0.0.0.0:4319'}",
                "admin.listen: 0.0.0.0:4319 is source.webhook.listen too",
            ),
            (
                "otlp: {profile: genai, signal: traces, http_listen: '127.0.0.1:4317'}",
                "",
                "source.otlp.http_listen: 127.0.0.1:4317 is source.otlp.grpc_listen too",
            ),
            (two_pages, "", "http://h:1/metrics and http://h:1/metrics/ are one page"),
        ];
        for (source, lines, expected) in faults {
            let error = with(source, lines).unwrap_err().to_string();
            assert!(error.contains(expected), "{lines}: {error}");
        }
        with(webhook, "admin: {listen: '127.0.0.2:4319'}").unwrap();
    }

    #[test]
    fn precedence_is_that_of_the_survey() {
        let otlp = |profile: &str, signal: &str| format!("otlp: {{profile: {profile}, signal: {signal}}}");
        let cases = [
            ("access_log: {profile: kong, stdin: true}".to_owned(), "", Precedence::EventLog),
            ("webhook: {profile: litellm}".to_owned(), "", Precedence::EventLog),
            (page("litellm"), "", Precedence::GatewayCounters),
            (otlp("litellm", "metrics"), "", Precedence::GatewayCounters),
            (otlp("litellm", "traces"), "", Precedence::GatewaySpans),
            (page("vllm"), "", Precedence::ServerCounters),
            (otlp("genai", "metrics"), "vantage: client", Precedence::SdkMetrics),
            (otlp("genai", "traces"), "vantage: client", Precedence::SdkSpans),
        ];
        let mut ranks = Vec::new();
        for (source, lines, expected) in cases {
            let precedence = with(&source, lines).unwrap().precedence();
            assert_eq!(precedence, expected, "{source}");
            assert!(Precedence::ORDER.contains(precedence.name()), "{}", precedence.name());
            ranks.push(precedence);
        }
        assert!(ranks.is_sorted(), "{ranks:?}");
    }
}
