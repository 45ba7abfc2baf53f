//! `source.access_log`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use crate::intake::Signal;
use crate::profile::access_log::LogProfile;

/// A gateway's access log. Exactly one of `file`, `stdin`, `http_listen`, the two of OTLP, and `als_listen`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLogSource {
    /// Whose log it is.
    pub profile: LogProfile,
    /// A file of JSON lines that is followed over rotation and truncation.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Where a file begins that the collector never saw: at its end, or at its beginning.
    #[serde(default)]
    pub start_at: StartAt,
    /// JSON lines on standard input; its end is the collector's.
    #[serde(default)]
    pub stdin: bool,
    /// Address of the HTTP receiver, `POST /access-log`.
    #[serde(default)]
    pub http_listen: Option<SocketAddr>,
    /// Address of the OTLP/gRPC receiver, for logs.
    #[serde(default)]
    pub otlp_grpc_listen: Option<SocketAddr>,
    /// Address of the OTLP/HTTP receiver, for logs.
    #[serde(default)]
    pub otlp_http_listen: Option<SocketAddr>,
    /// Address of the receiver of Envoy's gRPC access log.
    #[serde(default)]
    pub als_listen: Option<SocketAddr>,
}

/// Where a file begins that the collector never saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    /// After what is there: old lines are not this window's traffic.
    #[default]
    End,
    /// With the first line.
    Beginning,
}

impl AccessLogSource {
    pub(super) fn signal(&self) -> Signal {
        if self.als_listen.is_some() {
            Signal::Als
        } else if self.otlp_grpc_listen.is_some() || self.otlp_http_listen.is_some() {
            Signal::Logs
        } else {
            Signal::AccessLog
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let has_otlp = self.otlp_grpc_listen.is_some() || self.otlp_http_listen.is_some();
        let given = [
            self.file.is_some(),
            self.stdin,
            self.http_listen.is_some(),
            has_otlp,
            self.als_listen.is_some(),
        ];
        match given.into_iter().filter(|given| *given).count() {
            1 => Ok(()),
            _ => Err(ConfigError::Value {
                field: "source.access_log",
                fix: "give exactly one of file, stdin: true, http_listen, otlp_grpc_listen or otlp_http_listen, als_listen"
                    .to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Source};

    #[test]
    fn an_access_log_has_one_input() {
        let with = |fields: &str| {
            let text = format!(
                "data_folder: /tmp/w\nenvironment: production\nsource: {{access_log: {{{fields}}}}}\n\
                 uplink: {{endpoint: 'http://127.0.0.1:1'}}\n"
            );
            Config::parse(&text, |_| None)
        };
        let config = with("profile: kong, file: /var/log/kong.log").unwrap();
        assert_eq!(
            (config.signal(), config.dialect().unwrap().to_string().as_str()),
            (Signal::AccessLog, "access-log profile kong")
        );
        let Source::AccessLog(log) = &config.source else { panic!("access log") };
        assert_eq!(log.start_at, StartAt::End);
        with("profile: envoy, stdin: true").unwrap();
        with("profile: envoy, http_listen: '127.0.0.1:4319'").unwrap();
        assert_eq!(with("profile: envoy, als_listen: '127.0.0.1:4320'").unwrap().signal(), Signal::Als);
        let otlp = "profile: envoy, otlp_grpc_listen: '127.0.0.1:4317', otlp_http_listen: '127.0.0.1:4318'";
        assert_eq!(with(otlp).unwrap().signal(), Signal::Logs);
        let faults = [
            ("profile: kong", "source.access_log: give exactly one of file"),
            ("profile: kong, stdin: true, file: x", "source.access_log: give exactly one of file"),
            ("profile: king, stdin: true", "access_log.profile: king: write one of agentgateway"),
            ("profile: kong, files: x", "files"),
        ];
        for (fields, expected) in faults {
            let error = with(fields).unwrap_err().to_string();
            assert!(error.contains(expected), "{fields}: {error}");
        }
    }
}
