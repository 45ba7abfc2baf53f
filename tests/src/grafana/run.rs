//! Asks a real ClickHouse what a panel asks, and judges the answer as the plugin and Grafana would take it.

use serde_json::Value;

use super::board::{Dashboard, Target, list, text};
use super::macros::{self, TimeRange};
use super::variables::{self, Selection, Variables};
use crate::processes::http_client;

/// No panel may read more.
pub const ROWS_READ_LIMIT: u64 = 2_000_000;
/// Points that a panel of usual width shows.
const POINTS: i64 = 1_000;

/// What ClickHouse answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Name and type of each column.
    pub columns: Vec<(String, String)>,
    /// Rows, each a list of values.
    pub rows: Vec<Vec<Value>>,
    /// Rows that ClickHouse read.
    pub rows_read: u64,
}

impl Answer {
    /// Whether there is nothing to show: no row, or null everywhere.
    pub fn is_empty(&self) -> bool {
        self.rows.iter().flatten().all(Value::is_null)
    }

    /// Columns that hold nothing but null and 0: a filter that never holds, or data that the test does not have.
    pub fn dead_columns(&self) -> Vec<&str> {
        let alive = |value: &Value| !value.is_null() && value.as_f64() != Some(0.0);
        let dead = |at: &usize| !self.rows.iter().any(|row| alive(&row[*at]));
        let names = self.columns.iter().map(|(name, _)| name.as_str()).enumerate();
        names.filter(|(at, _)| dead(at)).map(|(_, name)| name).collect()
    }

    /// The first value of a column.
    pub fn value(&self, column: &str) -> Option<f64> {
        let at = self.columns.iter().position(|(name, _)| name == column)?;
        self.rows.first()?.get(at)?.as_f64()
    }
}

/// Asks; the server's message on an error. `url` may carry a user and settings.
///
/// # Errors
/// ClickHouse refused.
pub async fn ask(url: &str, sql: &str) -> Result<Answer, String> {
    let join = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{join}default_format=JSONCompactStrings&wait_end_of_query=1");
    let answer = http_client().post(url).body(sql.to_owned()).send().await;
    let answer = answer.map_err(|error| error.to_string())?;
    let summary = answer.headers().get("X-ClickHouse-Summary").and_then(|value| value.to_str().ok());
    let summary: Value = serde_json::from_str(summary.unwrap_or("{}")).map_err(|error| error.to_string())?;
    let (status, body) = (answer.status(), answer.text().await.map_err(|error| error.to_string())?);
    if !status.is_success() {
        return Err(body);
    }
    let body: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let columns: Vec<(String, String)> = list(&body["meta"])
        .iter()
        .map(|column| (text(&column["name"]).to_owned(), text(&column["type"]).to_owned()))
        .collect();
    let row =
        |row: &Value| list(row).iter().zip(&columns).map(|(value, (_, kind))| typed(value, kind)).collect();
    let rows = list(&body["data"]).iter().map(row).collect();
    Ok(Answer { rows, columns, rows_read: text(&summary["read_rows"]).parse().unwrap_or(0) })
}

/// A value of text as a number where its type is one; NaN and infinity stay text, so that they are seen.
fn typed(value: &Value, kind: &str) -> Value {
    // How this format writes null.
    if kind.contains("Nullable") && text(value) == "\u{1d3a}\u{1d41}\u{1d38}\u{1d38}" {
        return Value::Null;
    }
    let is_number =
        !kind.contains("Enum") && ["Int", "Float", "Decimal"].iter().any(|name| kind.contains(name));
    let number = value.as_str().filter(|_| is_number).and_then(|text| text.parse::<f64>().ok());
    number.and_then(serde_json::Number::from_f64).map_or_else(|| value.clone(), Value::Number)
}

/// Seconds of an interval such as `1m`, `28d`.
fn interval_s(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        other => panic!("{text:?}: an interval in {other:?}"),
    };
    number.parse::<i64>().unwrap_or_else(|_| panic!("{text:?} is no interval")) * unit
}

/// The range with the interval that Grafana would choose for the panel: the smallest allowed, or what gives a thousand points.
pub fn with_interval(range: TimeRange, panel: &Value, variables: &Variables) -> TimeRange {
    let smallest = variables::interpolate(text(&panel["interval"]), variables).unwrap_or_default();
    let smallest = if smallest.is_empty() { 1 } else { interval_s(&smallest) };
    let wanted = (range.to_ms - range.from_ms) / 1000 / POINTS;
    let steps = [1, 10, 60, 300, 600, 1_800, 3_600, 10_800, 43_200, 86_400, 604_800];
    let wanted = steps.into_iter().find(|step| *step >= wanted).unwrap_or(86_400);
    TimeRange { interval_ms: smallest.max(wanted) * 1000, ..range }
}

/// Expands a query fully.
///
/// # Errors
/// What cannot be expanded.
pub fn expand(sql: &str, range: TimeRange, variables: &Variables) -> Result<String, String> {
    macros::expand(&variables::interpolate(sql, variables)?, range)
}

/// How variables are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All wherever that is possible, the first option elsewhere, text boxes empty.
    All,
    /// The last option of each variable, text boxes with this text.
    One(String),
    /// One value that no option has, in every variable that holds several, and in the text boxes.
    Odd(String),
}

/// Selects values of all variables of a dashboard, in their order, asking ClickHouse for the options. Gives the rows of each query too.
///
/// # Errors
/// A query of a variable that fails or gives no option.
pub async fn select(
    url: &str,
    board: &Dashboard,
    range: TimeRange,
    choice: &Choice,
) -> Result<Variables, String> {
    let mut chosen = Variables::new();
    for variable in board.variables() {
        let name = text(&variable["name"]);
        let options: Vec<String> = match text(&variable["type"]) {
            "query" => options(url, text(&variable["query"]["rawSql"]), range, &chosen)
                .await
                .map_err(|error| format!("{}: ${name}: {error}", board.file))?,
            "custom" => list(&variable["options"])
                .iter()
                .map(|option| text(&option["value"]).to_owned())
                .filter(|value| value != "$__all")
                .collect(),
            _ => vec![text(&variable["current"]["value"]).to_owned()],
        };
        let first = options.first().cloned().unwrap_or_default();
        let last = options.last().cloned().unwrap_or_default();
        let selection = match (variable["multi"] == true, text(&variable["type"]), choice) {
            (true, _, Choice::All) => Selection::All(options),
            (true, _, Choice::One(_)) => Selection::Many(vec![last]),
            (true, _, Choice::Odd(odd)) => Selection::Many(vec![odd.clone()]),
            (false, "custom", Choice::One(_)) => Selection::One(last),
            (false, "textbox", Choice::One(words) | Choice::Odd(words)) => Selection::One(words.clone()),
            (false, ..) => Selection::One(first),
        };
        chosen.insert(name.to_owned(), selection);
    }
    Ok(chosen)
}

async fn options(url: &str, sql: &str, range: TimeRange, chosen: &Variables) -> Result<Vec<String>, String> {
    let answer = ask(url, &expand(sql, range, chosen)?).await?;
    if answer.columns.len() != 1 || !answer.columns[0].1.contains("String") {
        return Err(format!("not one column of text: {:?}", answer.columns));
    }
    Ok(answer.rows.iter().map(|row| text(&row[0]).to_owned()).collect())
}

/// What every panel and variable asks of a period with All selected, expanded: for a bench. Names are `file: panel (query)`.
///
/// # Errors
/// A query that cannot be expanded, or a variable without options.
pub async fn statements(url: &str, range: TimeRange) -> Result<Vec<(String, String)>, String> {
    let mut all = Vec::new();
    // The period ends now, whenever the bench runs: how far back fine rollups go counts from there.
    let now = format!("toDateTime({})", range.to_ms / 1000);
    for mut board in super::board::dashboards().into_iter().filter(|board| !board.is_prometheus()) {
        board.json = serde_json::from_str(&board.json.to_string().replace("now()", &now))
            .map_err(|error| format!("{}: {error}", board.file))?;
        let chosen = select(url, &board, range, &Choice::All).await?;
        let file = board.file.trim_end_matches(".json");
        for (name, sql) in board.variable_queries() {
            all.push((format!("{file}: ${name}"), expand(sql, range, &chosen)?));
        }
        for target in board.targets() {
            let range = with_interval(range, target.panel, &chosen);
            all.push((format!("{file}: {}", target.name()), expand(target.sql(), range, &chosen)?));
        }
    }
    Ok(all)
}

/// What is wrong with an answer, in words; nothing when it can be shown.
pub fn judge(target: Target<'_>, answer: &Answer) -> Vec<String> {
    let mut wrong = Vec::new();
    if answer.rows_read > ROWS_READ_LIMIT {
        wrong.push(format!("reads {} rows", answer.rows_read));
    }
    if target.is_series() {
        series(answer, &mut wrong);
    }
    let mut names: Vec<&str> = answer.columns.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() != answer.columns.len() {
        wrong.push("two columns of one name".to_owned());
    }
    for (at, (name, _)) in answer.columns.iter().enumerate() {
        let bounds = bounds(target.panel, name);
        for value in answer.rows.iter().map(|row| &row[at]) {
            if ["nan", "inf", "-inf"].contains(&text(value)) {
                wrong.push(format!("{name} is {value}"));
            }
            if let (Some((min, max)), Some(number)) = (bounds, value.as_f64())
                && !(min..=max).contains(&number)
            {
                wrong.push(format!("{name} is {number}, outside {min} to {max}"));
            }
        }
    }
    wrong.dedup();
    wrong
}

fn series(answer: &Answer, wrong: &mut Vec<String>) {
    let first = answer.columns.first();
    if !first.is_some_and(|(name, kind)| name == "time" && kind.starts_with("DateTime")) {
        wrong.push(format!("the first column is {first:?}, not a DateTime named time"));
    }
    let texts = answer.columns[1..].iter().filter(|(_, kind)| kind.contains("String")).count();
    let numbers = answer.columns.len() - 1 - texts;
    if numbers == 0 || texts > 1 || (texts == 1 && numbers != 1) {
        wrong.push(format!("neither wide nor long: {:?}", answer.columns));
    }
    let times: Vec<&str> = answer.rows.iter().map(|row| text(&row[0])).collect();
    if !times.is_sorted() {
        wrong.push("not sorted by time".to_owned());
    }
    if texts == 0 && times.windows(2).any(|pair| pair[0] == pair[1]) {
        wrong.push("a time twice".to_owned());
    }
}

/// Bounds of a column that is a share: of its own override, else of the panel.
fn bounds(panel: &Value, column: &str) -> Option<(f64, f64)> {
    let defaults = &panel["fieldConfig"]["defaults"];
    let own = list(&panel["fieldConfig"]["overrides"])
        .iter()
        .find(|field| field["matcher"]["options"] == column)
        .map(|field| list(&field["properties"]))
        .unwrap_or_default();
    let get = |key: &str| {
        own.iter()
            .find(|property| property["id"] == key)
            .map_or_else(|| defaults[key].clone(), |property| property["value"].clone())
    };
    (get("unit") == "percentunit" && column != "time")
        .then(|| Some((get("min").as_f64()?, get("max").as_f64()?)))?
}
