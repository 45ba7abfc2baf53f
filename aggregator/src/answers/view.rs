//! Reads a view into a table of an answer: columns are declared, once, with the kind of their values.

use clickhouse::Row;
use serde::Deserialize;

use super::{AnswerError, Cell, Grid, asked};
use crate::store::Store;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Count,
    Share,
    Change,
    Number,
}

/// Stable name, expression over the view's columns, kind.
pub(crate) type Column = (&'static str, &'static str, Kind);

/// A view and what is wanted of it.
pub(crate) struct View<'a> {
    /// A view, or a subquery in brackets. `{database}` is filled in.
    pub(crate) from: &'a str,
    pub(crate) columns: &'a [Column],
    /// 1 in rows whose numbers are not told; `0` where all are.
    pub(crate) suppressed: &'static str,
    pub(crate) condition: &'a str,
    pub(crate) order: &'static str,
}

#[derive(Row, Deserialize)]
struct Found {
    is_suppressed: u8,
    names: Vec<String>,
    counts: Vec<Option<u64>>,
    numbers: Vec<Option<f64>>,
}

impl View<'_> {
    fn statement(&self) -> String {
        let of = |kinds: &[Kind], wrap: &dyn Fn(&str) -> String| {
            let expressions = self.columns.iter().filter(|(_, _, kind)| kinds.contains(kind));
            expressions.map(|(_, sql, _)| wrap(sql)).collect::<Vec<_>>().join(", ")
        };
        format!(
            "SELECT toUInt8({suppressed}) AS is_suppressed, CAST([{names}], 'Array(String)') AS names, \
             CAST([{counts}], 'Array(Nullable(UInt64))') AS counts, \
             CAST([{numbers}], 'Array(Nullable(Float64))') AS numbers FROM {from} WHERE {condition} ORDER BY {order}",
            suppressed = self.suppressed,
            names = of(&[Kind::Name], &|sql| format!("toString({sql})")),
            counts = of(&[Kind::Count], &|sql| format!("CAST({sql}, 'Nullable(UInt64)')")),
            numbers = of(&[Kind::Share, Kind::Change, Kind::Number], &|sql| {
                format!("CAST({sql}, 'Nullable(Float64)')")
            }),
            from = self.from,
            condition = self.condition,
            order = self.order,
        )
    }

    /// The view's rows under the condition.
    pub(crate) async fn read(
        &self,
        store: &Store,
        name: &'static str,
        title: &str,
    ) -> Result<Grid, AnswerError> {
        let rows: Vec<Found> = store.rows(&self.statement()).await.map_err(asked)?;
        let names: Vec<&'static str> = self.columns.iter().map(|(name, _, _)| *name).collect();
        let mut grid = Grid::new(name, title, &names);
        rows.into_iter().for_each(|row| grid.push(self.row(row)));
        Ok(grid)
    }

    fn row(&self, found: Found) -> Vec<Cell> {
        let (mut names, mut counts, mut numbers) =
            (found.names.into_iter(), found.counts.into_iter(), found.numbers.into_iter());
        let mut cell = |kind| match kind {
            Kind::Name => names.next().map_or(Cell::Nothing, Cell::Text),
            Kind::Count => Cell::count(counts.next().flatten()),
            Kind::Share => Cell::share(numbers.next().flatten()),
            Kind::Change => Cell::change(numbers.next().flatten()),
            Kind::Number => Cell::number(numbers.next().flatten()),
        };
        let cells = self.columns.iter().map(|(_, _, kind)| match (cell(*kind), found.is_suppressed) {
            (Cell::Nothing, 1) => Cell::Suppressed,
            (cell, _) => cell,
        });
        cells.collect()
    }
}
