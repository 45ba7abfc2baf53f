//! What a report says, before it has a form: sections with sentences, a figure, tables, and the command that gives the same figures.

use super::charts::{Bar, Range, Tone};
use crate::answers::{Grid, percent};

/// The whole of it.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) title: String,
    /// Period and filter, in a sentence.
    pub(super) scope: String,
    pub(super) sections: Vec<Section>,
}

/// A question and its answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    /// Stable, for links and tests.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// The answer in one sentence.
    pub(super) statement: Option<String>,
    pub(super) paragraphs: Vec<String>,
    pub(super) figure: Option<Figure>,
    pub(super) tables: Vec<Grid>,
    pub(super) notes: Vec<String>,
    /// Commands that print the section's tables.
    pub(super) commands: Vec<String>,
}

/// What a chart shows; each has a text alternative.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) caption: String,
    pub(super) plot: Plot,
    pub(super) legend: Vec<(Tone, &'static str)>,
}

#[derive(Clone, Debug)]
pub(super) enum Plot {
    Bars(Vec<Bar>),
    Columns(Vec<Bar>),
    Ranges(Vec<Range>),
}

/// More than this is told by its ends; the table has the rest.
const DESCRIBED: usize = 12;

impl Figure {
    pub(super) fn has_rows(&self) -> bool {
        match &self.plot {
            Plot::Bars(rows) | Plot::Columns(rows) => !rows.is_empty(),
            Plot::Ranges(rows) => !rows.is_empty(),
        }
    }

    fn name_of(&self, tone: Tone) -> &'static str {
        self.legend.iter().find(|(own, _)| *own == tone).map_or("", |(_, name)| name)
    }

    fn bar(&self, bar: &Bar) -> String {
        let segments = bar.segments.iter().filter(|(_, share)| *share > 0.0);
        let parts: Vec<String> = segments
            .map(|(tone, share)| format!("{} {}", self.name_of(*tone), percent(*share)).trim().to_owned())
            .collect();
        let parts = if parts.is_empty() { percent(0.0) } else { parts.join(", ") };
        format!("{}: {parts}", bar.label)
    }

    /// The chart in words.
    pub(super) fn description(&self) -> String {
        let lines: Vec<String> = match &self.plot {
            Plot::Bars(bars) | Plot::Columns(bars) => bars.iter().map(|bar| self.bar(bar)).collect(),
            Plot::Ranges(ranges) => ranges
                .iter()
                .map(|range| {
                    let (lower, upper) = (percent(range.lower), percent(range.upper));
                    format!("{}: {}, between {lower} and {upper}", range.label, percent(range.value))
                })
                .collect(),
        };
        let kind = match self.plot {
            Plot::Bars(_) => "Bars of shares",
            Plot::Columns(_) => "Columns of shares over time",
            Plot::Ranges(_) => "Shares with their bounds",
        };
        match lines.as_slice() {
            [first, .., last] if lines.len() > DESCRIBED => {
                format!(
                    "{kind}, {} of them. First {first}. Last {last}. The table below has all.",
                    lines.len()
                )
            }
            _ => format!("{kind}. {}.", lines.join(". ")),
        }
    }
}
