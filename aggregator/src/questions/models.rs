//! `models`: which models are served, how open and under which licence, by requests.

use serde_json::{Map, json};

use crate::answers::Kind::{Count, Name, Share};
use crate::answers::{
    AnswerError, Cell, Column, Document, Filter, FilterArguments, Format, Grid, Period, PeriodArguments,
    SelectionArguments, View, rfc3339,
};
use crate::split;
use crate::store::Store;

/// Which models.
#[derive(Clone, Debug, clap::Args)]
pub struct ModelsArguments {
    /// From when to when.
    #[command(flatten)]
    pub period: PeriodArguments,
    /// Which requests.
    #[command(flatten)]
    pub filter: FilterArguments,
    /// Which part of them.
    #[command(flatten)]
    pub selection: SelectionArguments,
    /// The models with most requests, this many; the last row sums the others.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Which models, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelsQuery {
    /// From when to when, on the hour.
    pub period: Period,
    /// Which requests.
    pub filter: Filter,
    /// Rows.
    pub limit: u32,
}

impl ModelsArguments {
    /// What they ask for. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn query(&self, now_s: u64) -> Result<ModelsQuery, AnswerError> {
        let period = self.period.hours(now_s, "")?;
        let filter = Filter { selection: self.selection.selection()?, ..self.filter.filter()? };
        Ok(ModelsQuery { period, filter, limit: self.limit })
    }
}

const MODELS: [Column; 11] = [
    ("model", "if(n.name = '', concat('#', toString(s.model)), n.name)", Name),
    ("family", "n.family", Name),
    ("developer", "n.developer", Name),
    ("openness", "s.openness", Name),
    ("licence", "s.licence", Name),
    ("requests", "s.all_requests", Count),
    ("share_of_requests", "s.all_requests / nullIf(sum(s.all_requests) OVER (), 0)", Share),
    ("input_tokens", "s.all_input", Count),
    ("share_of_input", "s.all_input / nullIf(sum(s.all_input) OVER (), 0)", Share),
    ("output_tokens", "s.all_output", Count),
    ("share_of_output", "s.all_output / nullIf(sum(s.all_output) OVER (), 0)", Share),
];

/// Asks ClickHouse.
///
/// # Errors
/// ClickHouse did not answer.
pub async fn query(store: &Store, query: &ModelsQuery) -> Result<Document, AnswerError> {
    let (table, time) = split::rollup_of(&query.period);
    let from = format!(
        "(SELECT model, openness, {licence} AS licence, sum(requests) AS all_requests, sum(input_tokens) AS all_input, \
         sum(output_tokens) AS all_output FROM {table} WHERE {period} AND {filter} GROUP BY model, openness, licence) AS s \
         LEFT JOIN {{database}}.models AS n ON n.id = s.model",
        licence = split::licence_on(time),
        period = query.period.covers_time(time),
        filter = query.filter.condition(),
    );
    let view = View {
        from: &from,
        columns: &MODELS,
        suppressed: "0",
        condition: "1",
        order: "s.all_requests DESC, s.model, s.openness, s.licence",
    };
    let mut grid = view.read(store, "models", "Models by requests").await?;
    shorten(&mut grid, query.limit as usize);
    let (from, to) = (rfc3339(query.period.from), rfc3339(query.period.to));
    let mut asked = Map::new();
    asked.insert("from".to_owned(), json!(from));
    asked.insert("to".to_owned(), json!(to));
    asked.insert("environments".to_owned(), json!(query.filter.environment_names()));
    asked.insert("vantage".to_owned(), json!(query.filter.vantage.name()));
    asked.insert("operations".to_owned(), json!(query.filter.operation_names()));
    asked.insert("outcome".to_owned(), json!(query.filter.outcome));
    asked.insert("selection".to_owned(), query.filter.selection.names());
    let notes = vec![
        "openness: as it was classified on the day; licence: what the register of now names for the day. A model has a row for each."
            .to_owned(),
    ];
    let heading = format!("{from} to {to} (UTC), {}, by model", query.filter.in_words());
    Ok(Document { heading, asked, tables: vec![grid], notes })
}

/// Keeps the first rows and sums the others in one.
fn shorten(grid: &mut Grid, limit: usize) {
    if grid.rows.len() <= limit {
        return;
    }
    let others = grid.rows.split_off(limit);
    let mut row = vec![Cell::text(format!("{} others", others.len()))];
    for column in 1..grid.columns.len() {
        let cells = others.iter().filter_map(|row| row.get(column));
        row.push(cells.fold(Cell::Nothing, |sum, cell| match (sum, cell) {
            (Cell::Count(sum), Cell::Count(count)) => Cell::Count(sum.saturating_add(*count)),
            (Cell::Share(sum), Cell::Share(share)) => Cell::Share(sum + share),
            (Cell::Nothing, Cell::Count(_) | Cell::Share(_)) => cell.clone(),
            (sum, _) => sum,
        }));
    }
    grid.push(row);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_one_row() {
        let mut grid = Grid::new("models", "", &["model", "family", "requests", "share"]);
        for (name, requests, share) in [("a", 5, 0.5), ("b", 3, 0.25), ("c", 2, 0.25)] {
            grid.push(vec![Cell::text(name), Cell::text("f"), Cell::Count(requests), Cell::Share(share)]);
        }
        shorten(&mut grid, 3);
        assert_eq!(grid.rows.len(), 3);
        shorten(&mut grid, 1);
        assert_eq!(grid.rows[1], [Cell::text("2 others"), Cell::Nothing, Cell::Count(5), Cell::Share(0.5)]);
    }
}
