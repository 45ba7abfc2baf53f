//! Which requests an answer is about.
//!
//! Unless asked otherwise: served requests (the served model decides, and a request that failed was served by none), chat and text
//! completion (an embedding or a rerank is counted in millions by one index run and in units that do not compare), every
//! environment, counted at gateways (the same request seen at a gateway and at the server behind it is one request).

use serde::Serialize;
use weighbridge_proto::v1::{Environment, Operation, Vantage};

use super::{AnswerError, Selection, refuse};

/// Which requests.
#[derive(Clone, Debug, clap::Args)]
pub struct FilterArguments {
    /// Where the gateway runs, separated by commas, or `all`: production, staging, development, unknown.
    #[arg(long, default_value = "all")]
    pub environment: String,
    /// Where the requests were counted: gateway, server or client. The vantages overlap, so one at a time.
    #[arg(long, default_value = "gateway")]
    pub vantage: String,
    /// What was asked for, separated by commas, or `all`: chat, text_completion, embeddings, rerank, image, audio, other.
    #[arg(long, default_value = "chat,text_completion")]
    pub operation: String,
    /// Requests that were served, or all.
    #[arg(long, value_enum, default_value_t)]
    pub outcome: OutcomeFilter,
}

impl Default for FilterArguments {
    fn default() -> FilterArguments {
        FilterArguments {
            environment: "all".to_owned(),
            vantage: "gateway".to_owned(),
            operation: "chat,text_completion".to_owned(),
            outcome: OutcomeFilter::Ok,
        }
    }
}

/// Which outcomes count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeFilter {
    /// Those that were served.
    #[default]
    Ok,
    /// All.
    All,
}

/// Which requests, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Where the gateway runs; not empty.
    pub environments: Vec<Environment>,
    /// Where the requests were counted.
    pub vantage: Vantage,
    /// What was asked for; not empty.
    pub operations: Vec<Operation>,
    /// How they ended.
    pub outcome: OutcomeFilter,
    /// Which part of them.
    pub selection: Selection,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            environments: Environment::ALL.to_vec(),
            vantage: Vantage::Gateway,
            operations: vec![Operation::Chat, Operation::TextCompletion],
            outcome: OutcomeFilter::Ok,
            selection: Selection::default(),
        }
    }
}

impl FilterArguments {
    /// The filter they ask for.
    ///
    /// # Errors
    /// The first option that names nothing.
    pub fn filter(&self) -> Result<Filter, AnswerError> {
        Ok(Filter {
            environments: environments(&self.environment)?,
            vantage: Vantage::from_name(&self.vantage).ok_or_else(|| {
                refuse("--vantage", format!("{:?} is none of gateway, server, client", self.vantage))
            })?,
            operations: named(
                "--operation",
                &self.operation,
                Operation::ALL,
                Operation::name,
                Operation::from_name,
            )?,
            outcome: self.outcome,
            selection: Selection::default(),
        })
    }
}

/// Environments by name, or `all`.
pub(crate) fn environments(text: &str) -> Result<Vec<Environment>, AnswerError> {
    named("--environment", text, Environment::ALL, Environment::name, Environment::from_name)
}

fn named<T: Copy + PartialEq>(
    option: &'static str,
    text: &str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
    from_name: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, AnswerError> {
    if text == "all" {
        return Ok(all.to_vec());
    }
    let mut values = Vec::new();
    for name in text.split(',').map(str::trim) {
        let value = from_name(name).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|value| name_of(*value)).collect();
            refuse(option, format!("{name:?} is none of all, {}", names.join(", ")))
        })?;
        if !values.contains(&value) {
            values.push(value);
        }
    }
    Ok(values)
}

fn quoted(names: impl Iterator<Item = &'static str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

impl Filter {
    /// As a condition on the columns of ledger, rollups and views that have them.
    pub(crate) fn condition(&self) -> String {
        let mut condition = format!("vantage = '{}'", self.vantage.name());
        condition.push_str(&self.environment_condition());
        condition.push_str(&self.operation_condition());
        if self.outcome == OutcomeFilter::Ok {
            condition.push_str(" AND outcome = 'ok'");
        }
        condition.push_str(&self.selection.condition());
        condition
    }

    /// Begins with ` AND`, or is empty where every environment counts.
    pub(crate) fn environment_condition(&self) -> String {
        if self.environments.len() == Environment::ALL.len() {
            return String::new();
        }
        let names = quoted(self.environments.iter().map(|environment| environment.name()));
        format!(" AND environment IN ({names})")
    }

    /// As `environment_condition`, for operations.
    pub(crate) fn operation_condition(&self) -> String {
        if self.operations.len() == Operation::ALL.len() {
            return String::new();
        }
        format!(" AND operation IN ({})", quoted(self.operation_names().into_iter()))
    }

    /// Names of the environments.
    pub fn environment_names(&self) -> Vec<&'static str> {
        self.environments.iter().map(|environment| environment.name()).collect()
    }

    /// Names of the operations.
    pub fn operation_names(&self) -> Vec<&'static str> {
        self.operations.iter().map(|operation| operation.name()).collect()
    }

    /// The options that make it, each with a blank before it; nothing for what is so anyway.
    pub fn as_options(&self) -> String {
        let otherwise = Filter::default();
        let mut options = String::new();
        if self.environments != otherwise.environments {
            options.push_str(&format!(" --environment {}", self.environment_names().join(",")));
        }
        if self.vantage != otherwise.vantage {
            options.push_str(&format!(" --vantage {}", self.vantage.name()));
        }
        if self.operations.len() == Operation::ALL.len() {
            options.push_str(" --operation all");
        } else if self.operations != otherwise.operations {
            options.push_str(&format!(" --operation {}", self.operation_names().join(",")));
        }
        if self.outcome == OutcomeFilter::All {
            options.push_str(" --outcome all");
        }
        options.push_str(&self.selection.as_options());
        options
    }

    /// In words.
    pub fn in_words(&self) -> String {
        let outcome = match self.outcome {
            OutcomeFilter::Ok => "served requests",
            OutcomeFilter::All => "requests of every outcome",
        };
        let environment = match self.environments.len() == Environment::ALL.len() {
            true => "every environment".to_owned(),
            false => self.environment_names().join(", "),
        };
        format!(
            "{outcome} of {} in {environment} at vantage {}{}",
            self.operation_names().join(", "),
            self.vantage.name(),
            self.selection.in_words()
        )
    }
}
