//! Variables of a dashboard, and what Grafana's and the plugin's frontend do with them before a query leaves the browser.
//!
//! In goes a panel's SQL and what is selected; out comes SQL with the backend's macros only. The order is the plugin's: first
//! `$__conditionalAll`, then the variables. The rules, from the plugin's `CHDatasource.ts` (4.20) and Grafana's variable formats:
//!
//! - `$__conditionalAll(condition, $v)` is `1=1` when `v` is All or empty, else the condition. The last call is expanded first. Arguments are
//!   split at commas outside brackets; quotes are not known. A call whose arguments are not two ends the expansion.
//! - `${v:singlequote}`: each value in single quotes, `'` inside as `\'`, joined by commas. `${v:raw}`: as it is.
//! - `$v`, `${v}`: one value as it is; several in single quotes, joined by commas, nothing escaped.
//! - All without a value of its own means every option. A name that is no variable stays as it is.

use std::collections::BTreeMap;

/// What is selected of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// One value of a variable that holds one.
    One(String),
    /// Several of a variable that may hold several.
    Many(Vec<String>),
    /// All of these options.
    All(Vec<String>),
}

impl Selection {
    fn values(&self) -> &[String] {
        match self {
            Selection::One(value) => std::slice::from_ref(value),
            Selection::Many(values) | Selection::All(values) => values,
        }
    }

    fn is_all_or_empty(&self) -> bool {
        match self {
            Selection::One(value) => value.is_empty(),
            Selection::Many(values) => values.is_empty(),
            Selection::All(_) => true,
        }
    }

    fn formatted(&self, format: Option<&str>) -> Result<String, String> {
        let values = self.values();
        Ok(match (format, self) {
            (Some("singlequote"), _) => {
                let quoted: Vec<String> =
                    values.iter().map(|value| format!("'{}'", value.replace('\'', "\\'"))).collect();
                quoted.join(",")
            }
            (Some("raw") | None, Selection::One(value)) => value.clone(),
            (Some("raw"), _) => values.join(","),
            (None, _) => format!("'{}'", values.join("','")),
            (Some(other), _) => return Err(format!("the format {other} is not known here")),
        })
    }
}

/// Name to selection.
pub type Variables = BTreeMap<String, Selection>;

/// What the frontend makes of a query.
///
/// # Errors
/// A `$__conditionalAll` that the plugin would leave, or a format that is not known here, in words.
pub fn interpolate(sql: &str, variables: &Variables) -> Result<String, String> {
    fill(&conditional_all(sql, variables)?, variables)
}

const MACRO: &str = "$__conditionalAll(";

/// Expands `$__conditionalAll`.
///
/// # Errors
/// A call whose arguments are not two.
pub fn conditional_all(sql: &str, variables: &Variables) -> Result<String, String> {
    let mut sql = sql.to_owned();
    while let Some(at) = sql.rfind(MACRO) {
        let inside = &sql[at + MACRO.len()..];
        let Some((arguments, length)) = split_arguments(inside) else {
            return Err(format!("not closed: {}", &sql[at..]));
        };
        let [condition, variable] = arguments[..] else {
            return Err(format!("{} arguments instead of 2: {}", arguments.len(), &sql[at..]));
        };
        let name = variable.trim().trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
        let open = variables.get(name).is_some_and(Selection::is_all_or_empty);
        let phrase = if open { "1=1".to_owned() } else { condition.to_owned() };
        sql.replace_range(at..at + MACRO.len() + length, &phrase);
    }
    Ok(sql)
}

/// Arguments up to the closing bracket, and the length with it.
pub(super) fn split_arguments(inside: &str) -> Option<(Vec<&str>, usize)> {
    let (mut depth, mut start, mut found) = (1, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 1 => {
                found.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            found.push(&inside[start..at]);
            return Some((found, at + 1));
        }
    }
    None
}

fn fill(sql: &str, variables: &Variables) -> Result<String, String> {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let reference = Reference::at_start(&rest[at..]);
        let found = reference.as_ref().and_then(|found| Some((found, variables.get(found.name)?)));
        match (found, &reference) {
            (Some((reference, selection)), _) => {
                out.push_str(&selection.formatted(reference.format)?);
                rest = &rest[at + reference.length..];
            }
            (None, Some(reference)) => {
                out.push_str(&rest[at..at + reference.length]);
                rest = &rest[at + reference.length..];
            }
            (None, None) => {
                out.push('$');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// A mention of a variable: `$name`, `${name}` or `${name:format}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// The name.
    pub name: &'a str,
    /// The format after the colon.
    pub format: Option<&'a str>,
    /// Bytes of the mention.
    pub length: usize,
}

impl<'a> Reference<'a> {
    /// The mention that `text` begins with.
    pub fn at_start(text: &'a str) -> Option<Reference<'a>> {
        let after = text.strip_prefix('$')?;
        if let Some(inside) = after.strip_prefix('{') {
            let end = inside.find('}')?;
            let (name, format) = match inside[..end].split_once(':') {
                Some((name, format)) => (name, Some(format)),
                None => (&inside[..end], None),
            };
            return Some(Reference { name, format, length: end + 3 });
        }
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        (end > 0).then(|| Reference { name: &after[..end], format: None, length: end + 1 })
    }

    /// Every mention in `text`, macros (`$__name`) and fields of data links included.
    pub fn all(text: &'a str) -> Vec<Reference<'a>> {
        text.match_indices('$').filter_map(|(at, _)| Reference::at_start(&text[at..])).collect()
    }
}
