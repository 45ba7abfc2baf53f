//! `source.otlp`: what a profile can count, and where it can stand.

use weighbridge_proto::v1::Vantage;

use super::{ConfigError, OtlpSignal, OtlpSource};

impl OtlpSource {
    pub(super) fn check(&self, vantage: Vantage) -> Result<(), ConfigError> {
        let fail = |field, fix: String| Err(ConfigError::Value { field, fix });
        if self.grpc_listen.is_none() && self.http_listen.is_none() {
            return fail("source.otlp", "give grpc_listen or http_listen an address".to_owned());
        }
        let wants_spans = self.signal == OtlpSignal::Traces;
        if !self.profile.reads(wants_spans) {
            let (told, other) = if wants_spans { ("spans", "metrics") } else { ("metrics", "traces") };
            let name = self.profile.name();
            return fail("source.otlp.signal", format!("no {told} of {name} are understood; write {other}"));
        }
        // Its requests pass a gateway that may be counted, so the split must not sum them.
        if self.profile.vantage() == Some(Vantage::Client) && vantage == Vantage::Gateway {
            let name = self.profile.name();
            return fail("vantage", format!("{name} tells what applications see; write client"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::profile::Profile;

    fn with(profile: &str, signal: &str, vantage: &str) -> Result<Config, ConfigError> {
        let text = format!(
            "data_folder: /tmp/w\nenvironment: production\nvantage: {vantage}\n\
             source: {{otlp: {{profile: {profile}, signal: {signal}}}}}\nuplink: {{endpoint: 'http://127.0.0.1:1'}}\n"
        );
        Config::parse(&text, |_| None)
    }

    #[test]
    fn every_profile_is_taken_for_what_it_understands() {
        for profile in Profile::all() {
            let vantage = profile.vantage().unwrap_or(Vantage::Gateway).name();
            for (signal, spans) in [("traces", true), ("metrics", false)] {
                let taken = with(profile.name(), signal, vantage);
                assert_eq!(taken.is_ok(), profile.reads(spans), "{} {signal}", profile.name());
                if let Err(error) = taken {
                    assert!(error.to_string().contains("source.otlp.signal: no "), "{error}");
                }
            }
        }
    }

    #[test]
    fn faults_name_the_field_and_the_fix() {
        let error = with("king", "traces", "gateway").unwrap_err().to_string();
        assert!(error.contains("otlp.profile: king: write one of litellm, genai, agentgateway"), "{error}");
        let error = with("openllmetry", "traces", "gateway").unwrap_err().to_string();
        assert!(error.contains("vantage: openllmetry tells what applications see; write client"), "{error}");
        with("kong", "metrics", "client").unwrap();
    }
}
