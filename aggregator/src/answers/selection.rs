//! A part of the traffic: the filters of the dashboards on the terminal.
//!
//! In: names as typed. Out: numbers and names of enumerations. A name that is not of the register or the enumeration is an error that
//! lists what is, or says how to find it. Nothing selected: everything.

use std::collections::BTreeMap;

use serde_json::Value;
use weighbridge_catalog::{Hosting, embedded};
use weighbridge_proto::v1::GatewayProduct;

use super::{AnswerError, refuse};

/// Which part, as it is typed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SelectionArguments {
    /// Gateway products, separated by commas: litellm, kong, vllm and so on.
    #[arg(long)]
    pub product: Option<String>,
    /// Who runs the weights, separated by commas: self_hosted, first_party, third_party, marketplace, unknown.
    #[arg(long)]
    pub hosting: Option<String>,
    /// Providers of the register, separated by commas, or `unlisted`.
    #[arg(long)]
    pub provider: Option<String>,
    /// Makers of the register, separated by commas: all of their models.
    #[arg(long)]
    pub developer: Option<String>,
    /// Models of the register, separated by commas, or `unlisted`.
    #[arg(long)]
    pub model: Option<String>,
}

/// Which part, checked: for each column the values that count, and the option that asks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    conditions: BTreeMap<&'static str, Vec<String>>,
    options: Vec<(&'static str, String)>,
}

impl SelectionArguments {
    /// The part they ask for.
    ///
    /// # Errors
    /// The first option that names nothing.
    pub fn selection(&self) -> Result<Selection, AnswerError> {
        let mut selection = Selection::default();
        selection.add("--product", "gateway_product", self.product.as_deref(), |name| {
            let product = GatewayProduct::from_name(name);
            let names =
                || GatewayProduct::ALL.iter().map(|product| product.name()).collect::<Vec<_>>().join(", ");
            product
                .map(|product| vec![format!("'{}'", product.name())])
                .ok_or_else(|| format!("none of {}", names()))
        })?;
        selection.add("--hosting", "hosting", self.hosting.as_deref(), |name| {
            let hosting = Hosting::ALL.into_iter().find(|hosting| hosting.as_str() == name);
            let names = || Hosting::ALL.map(Hosting::as_str).join(", ");
            hosting
                .map(|hosting| vec![format!("'{}'", hosting.as_str())])
                .ok_or_else(|| format!("none of {}", names()))
        })?;
        selection.add("--provider", "provider", self.provider.as_deref(), |name| {
            let provider = embedded().providers().find(|provider| provider.name == name);
            numbers(name, provider.map(|provider| u32::from(provider.id.0))).ok_or_else(|| {
                "no provider of the register; `split --by provider` names those that served".to_owned()
            })
        })?;
        // Two options for one column: both must hold.
        selection.add("--developer", "toUInt32(model)", self.developer.as_deref(), |name| {
            let made = embedded().models().filter(|model| model.developer() == name);
            let made: Vec<String> = made.map(|model| model.id().0.to_string()).collect();
            let none = "no maker of the register; `split --by developer` names those whose models served";
            if made.is_empty() { Err(none.to_owned()) } else { Ok(made) }
        })?;
        selection.add("--model", "model", self.model.as_deref(), |name| {
            numbers(name, embedded().model_named(name).map(|model| model.id().0)).ok_or_else(|| {
                "no model of the register; `models` names those that served, and \
                 `weighbridge-collector classify` what a gateway's name means"
                    .to_owned()
            })
        })?;
        Ok(selection)
    }
}

/// Number 0 is `unlisted`.
fn numbers(name: &str, found: Option<u32>) -> Option<Vec<String>> {
    let number = if name == "unlisted" { Some(0) } else { found };
    number.map(|number| vec![number.to_string()])
}

impl Selection {
    fn add(
        &mut self,
        option: &'static str,
        column: &'static str,
        given: Option<&str>,
        values_of: impl Fn(&str) -> Result<Vec<String>, String>,
    ) -> Result<(), AnswerError> {
        let Some(given) = given else { return Ok(()) };
        let mut values = Vec::new();
        for name in given.split(',').map(str::trim) {
            let found =
                values_of(name).map_err(|problem| refuse(option, format!("{name:?} is {problem}")))?;
            values.extend(found);
        }
        self.conditions.insert(column, values);
        self.options.push((option, given.split(',').map(str::trim).collect::<Vec<_>>().join(",")));
        Ok(())
    }

    /// Begins with ` AND`, or is empty where everything counts.
    pub(crate) fn condition(&self) -> String {
        let conditions = self.conditions.iter();
        conditions.map(|(column, values)| format!(" AND {column} IN ({})", values.join(", "))).collect()
    }

    /// The options that make it, each with a blank before it.
    pub(crate) fn as_options(&self) -> String {
        self.options.iter().map(|(option, names)| format!(" {option} {names}")).collect()
    }

    /// The names that were asked for, by option.
    pub(crate) fn names(&self) -> Value {
        let named = self.options.iter().map(|(option, names)| {
            (option.trim_start_matches('-').to_owned(), names.split(',').collect::<Vec<_>>().into())
        });
        Value::Object(named.collect())
    }

    /// In words, each with a comma before it.
    pub(crate) fn in_words(&self) -> String {
        let word = |(option, names): &(&str, String)| format!(", {} {names}", option.trim_start_matches('-'));
        self.options.iter().map(word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers_and_wrong_ones_say_what_there_is() {
        let asked = SelectionArguments {
            product: Some("litellm, kong".to_owned()),
            hosting: Some("self_hosted".to_owned()),
            provider: Some("unlisted".to_owned()),
            model: Some("gpt-oss-120b,unlisted".to_owned()),
            ..SelectionArguments::default()
        };
        let selection = asked.selection().unwrap();
        let number = embedded().model_named("gpt-oss-120b").unwrap().id().0;
        assert_eq!(
            selection.condition(),
            format!(
                " AND gateway_product IN ('litellm', 'kong') AND hosting IN ('self_hosted') AND model IN ({number}, 0) AND provider IN (0)"
            )
        );
        assert_eq!(
            selection.as_options(),
            " --product litellm,kong --hosting self_hosted --provider unlisted --model gpt-oss-120b,unlisted"
        );
        assert_eq!(SelectionArguments::default().selection().unwrap(), Selection::default());
        assert_eq!(Selection::default().condition(), "");
        let wrong = |product: &str, model: &str, developer: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let arguments = SelectionArguments {
                product: some(product),
                model: some(model),
                developer: some(developer),
                ..SelectionArguments::default()
            };
            arguments.selection().unwrap_err().to_string()
        };
        assert!(wrong("lite", "", "").starts_with("--product: \"lite\" is none of "));
        assert!(wrong("", "' OR 1", "").contains("--model: \"' OR 1\" is no model of the register"));
        assert!(wrong("", "", "nobody").contains("--developer"));
    }

    #[test]
    fn a_maker_is_all_of_its_models() {
        let asked =
            SelectionArguments { developer: Some("OpenAI".to_owned()), ..SelectionArguments::default() };
        let condition = asked.selection().unwrap().condition();
        let made = embedded().models().filter(|model| model.developer() == "OpenAI").count();
        assert!(made > 10 && condition.matches(',').count() == made - 1, "{condition}");
    }
}
