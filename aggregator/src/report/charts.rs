//! Charts as SVG: shares as bars, shares over time as columns, and ranges.
//!
//! In: labels and shares between 0 and 1. Out: an SVG with a view box, to be put into a page. A colour in it is a name: the page's
//! style gives each its look in light, in dark and in print by `[fill="#..."]`; where there is no style, the colours are those for
//! light. A segment that is wide enough carries its share as text, so that no chart is read by colour alone; every chart stands above
//! a table of its numbers. Values outside 0 to 1 are drawn at the edge.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use weighbridge_catalog::Openness;

use crate::answers::{AnswerError, percent};

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Closed,
    Noncommercial,
    Restricted,
    Permissive,
    OpenSource,
    Unknown,
    Neutral,
}

impl Tone {
    /// Okabe and Ito's colours: told apart by colour-blind people, and black text is readable on each.
    const fn colour(self) -> RGBColor {
        match self {
            Tone::Closed => RGBColor(0xE6, 0x7A, 0x2E),
            Tone::Noncommercial => RGBColor(0xCC, 0x99, 0xBB),
            Tone::Restricted => RGBColor(0xF0, 0xD4, 0x42),
            Tone::Permissive => RGBColor(0x2F, 0xB3, 0x8C),
            Tone::OpenSource => RGBColor(0x56, 0xB4, 0xE9),
            Tone::Unknown => RGBColor(0xA8, 0xA8, 0xA8),
            Tone::Neutral => RGBColor(0x7F, 0xA8, 0xC9),
        }
    }

    /// All of them.
    pub(super) const ALL: [Tone; 7] = [
        Tone::Closed,
        Tone::Noncommercial,
        Tone::Restricted,
        Tone::Permissive,
        Tone::OpenSource,
        Tone::Unknown,
        Tone::Neutral,
    ];

    /// Its name in the page's style.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Tone::Closed => "closed",
            Tone::Noncommercial => "noncommercial",
            Tone::Restricted => "restricted",
            Tone::Permissive => "permissive",
            Tone::OpenSource => "open-source",
            Tone::Unknown => "unknown",
            Tone::Neutral => "neutral",
        }
    }

    /// As the page writes it.
    pub(super) fn hex(self) -> String {
        let RGBColor(red, green, blue) = self.colour();
        format!("#{red:02X}{green:02X}{blue:02X}")
    }

    pub(super) const fn of(openness: Openness) -> Tone {
        match openness {
            Openness::Closed => Tone::Closed,
            Openness::OpenNoncommercial => Tone::Noncommercial,
            Openness::OpenRestricted => Tone::Restricted,
            Openness::OpenPermissive => Tone::Permissive,
            Openness::OpenSource => Tone::OpenSource,
            Openness::Unknown => Tone::Unknown,
        }
    }
}

/// Text and axes; the page's own text colour.
const INK: RGBColor = RGBColor(0, 0, 0);
/// Text upon a bar.
const ON_BAR: RGBColor = RGBColor(0x11, 0x11, 0x11);
/// Lines behind the bars.
const RULE: RGBColor = RGBColor(0xD8, 0xD8, 0xD8);

const WIDTH: u32 = 760;
const LABELS: i32 = 240;
const MARGIN: i32 = 14;
const ROW: i32 = 30;
const AXIS: i32 = 30;
const COLUMNS_HEIGHT: i32 = 260;
/// Plotters draws a font of 1.24 times its size.
const TEXT: f64 = 13.0 * 1.24;
const SMALL: f64 = 12.0 * 1.24;
/// A label that fits its place.
const LABEL_CHARACTERS: usize = 29;
/// Labels below columns that do not run into one another.
const COLUMN_LABELS: usize = 8;

/// A drawn chart.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) width: u32,
    pub(super) height: u32,
    /// An `svg` element, every text in it escaped.
    pub(super) svg: String,
}

/// A bar of segments, or a column.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) segments: Vec<(Tone, f64)>,
}

/// A share with its bounds.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure = DrawingAreaErrorKind<std::io::Error>;

fn draw(height: i32, on: impl FnOnce(&Area<'_>) -> Result<(), Failure>) -> Result<Chart, AnswerError> {
    let height = height.unsigned_abs();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        on(&area).and_then(|()| area.present()).map_err(failed)?;
    }
    Ok(Chart { width: WIDTH, height, svg })
}

fn failed(failure: impl Display) -> AnswerError {
    AnswerError::Drawing(failure.to_string())
}

fn text<'a>(size: f64, colour: &'a RGBColor, h: HPos, v: VPos) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(colour).pos(Pos::new(h, v))
}

/// At most so many characters; one that was longer ends with an ellipsis.
pub(super) fn shortened(label: &str, characters: usize) -> String {
    if label.chars().count() <= characters {
        return label.to_owned();
    }
    let mut short: String = label.chars().take(characters.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Where a share lies between the labels and the right edge.
fn x_of(share: f64) -> i32 {
    let width = f64::from(WIDTH.cast_signed() - LABELS - 2 * MARGIN);
    LABELS + (share.clamp(0.0, 1.0) * width).round() as i32
}

/// Rules and percentages below rows.
fn percent_axis(area: &Area<'_>, bottom: i32) -> Result<(), Failure> {
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let x = x_of(share);
        area.draw(&PathElement::new(vec![(x, MARGIN / 2), (x, bottom)], RULE))?;
        let style = text(SMALL, &INK, HPos::Center, VPos::Top);
        area.draw(&Text::new(format!("{:.0}%", share * 100.0), (x, bottom + 6), style))?;
    }
    Ok(())
}

fn row_label(area: &Area<'_>, label: &str, y: i32) -> Result<(), Failure> {
    let style = text(TEXT, &INK, HPos::Right, VPos::Center);
    area.draw(&Text::new(shortened(label, LABEL_CHARACTERS), (LABELS - 10, y), style))
}

/// One horizontal bar per row, each from 0 to 100 %.
pub(super) fn bars(rows: &[Bar]) -> Result<Chart, AnswerError> {
    let bottom = MARGIN + ROW * row_count(rows.len());
    draw(bottom + AXIS, |area| {
        percent_axis(area, bottom)?;
        for (y, row) in (0..).map(|at| MARGIN + ROW * at).zip(rows) {
            row_label(area, &row.label, y + ROW / 2)?;
            let mut from = 0.0;
            for (tone, share) in row.segments.iter().filter(|(_, share)| *share > 0.0) {
                let (left, right) = (x_of(from), x_of(from + share));
                let corners = [(left, y + 4), (right.max(left + 1), y + ROW - 4)];
                area.draw(&Rectangle::new(corners, tone.colour().filled()))?;
                if row.segments.len() > 1 && right - left >= 44 {
                    let style = text(SMALL, &ON_BAR, HPos::Center, VPos::Center);
                    area.draw(&Text::new(percent(*share), ((left + right) / 2, y + ROW / 2), style))?;
                }
                from += share;
            }
            // A bar of one segment has its share beside it, also where there is no bar.
            if let [(_, share)] = row.segments.as_slice() {
                let (x, h) = if *share < 0.85 {
                    (x_of(*share) + 8, HPos::Left)
                } else {
                    (x_of(*share) - 8, HPos::Right)
                };
                let colour = if *share < 0.85 { &INK } else { &ON_BAR };
                let style = text(SMALL, colour, h, VPos::Center);
                area.draw(&Text::new(percent(*share), (x, y + ROW / 2), style))?;
            }
        }
        Ok(())
    })
}

/// One column per point of time, each from 0 to 100 %, first segment at the bottom.
pub(super) fn columns(rows: &[Bar]) -> Result<Chart, AnswerError> {
    let (left, top, bottom) = (56, MARGIN, MARGIN + COLUMNS_HEIGHT);
    let width = f64::from(WIDTH.cast_signed() - left - MARGIN) / f64::from(row_count(rows.len()));
    let y_of = |share: f64| bottom - (share.clamp(0.0, 1.0) * f64::from(COLUMNS_HEIGHT)).round() as i32;
    let every = rows.len().div_ceil(COLUMN_LABELS).max(1);
    draw(bottom + AXIS, |area| {
        for step in 0..=4 {
            let y = y_of(f64::from(step) / 4.0);
            area.draw(&PathElement::new(vec![(left, y), (WIDTH.cast_signed() - MARGIN, y)], RULE))?;
            let style = text(SMALL, &INK, HPos::Right, VPos::Center);
            area.draw(&Text::new(format!("{}%", step * 25), (left - 8, y), style))?;
        }
        for (at, row) in rows.iter().enumerate() {
            let x0 = left + (width * at as f64).round() as i32;
            let x1 = left + (width * (at + 1) as f64).round() as i32;
            let gap = i32::from(x1 - x0 >= 4);
            let mut from = 0.0;
            for (tone, share) in row.segments.iter().filter(|(_, share)| *share > 0.0) {
                let corners = [(x0, y_of(from + share)), ((x1 - gap).max(x0 + 1), y_of(from))];
                area.draw(&Rectangle::new(corners, tone.colour().filled()))?;
                from += share;
            }
            if at % every == 0 {
                let anchor = if rows.len() == 1 { (x0 + x1) / 2 } else { x0 };
                let h = if rows.len() == 1 { HPos::Center } else { HPos::Left };
                let style = text(SMALL, &INK, h, VPos::Top);
                area.draw(&Text::new(row.label.clone(), (anchor, bottom + 6), style))?;
            }
        }
        area.draw(&PathElement::new(vec![(left, top), (left, bottom)], INK))
    })
}

/// One row per share: a bar from its lower to its upper bound and a mark at the share.
pub(super) fn ranges(rows: &[Range]) -> Result<Chart, AnswerError> {
    let bottom = MARGIN + ROW * row_count(rows.len());
    draw(bottom + AXIS, |area| {
        percent_axis(area, bottom)?;
        for (y, row) in (0..).map(|at| MARGIN + ROW * at + ROW / 2).zip(rows) {
            row_label(area, &row.label, y)?;
            let (lower, value, upper) = (x_of(row.lower), x_of(row.value), x_of(row.upper));
            let corners = [(lower, y - 5), (upper.max(lower + 1), y + 5)];
            area.draw(&Rectangle::new(corners, Tone::Unknown.colour().filled()))?;
            area.draw(&Circle::new((value, y), 6, Tone::Permissive.colour().filled()))?;
            let at_edge = upper > WIDTH.cast_signed() - 90;
            let (x, h) = if at_edge { (lower - 12, HPos::Right) } else { (upper + 12, HPos::Left) };
            let style = text(SMALL, &INK, h, VPos::Center);
            area.draw(&Text::new(percent(row.value), (x, y), style))?;
        }
        Ok(())
    })
}

fn row_count(rows: usize) -> i32 {
    i32::try_from(rows.max(1)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, share: f64) -> Bar {
        Bar {
            label: label.to_owned(),
            segments: vec![(Tone::Permissive, share), (Tone::Closed, 1.0 - share)],
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let chart = bars(&[bar("<a & b>", 0.25)]).unwrap();
        let width = f64::from(WIDTH.cast_signed() - LABELS - 2 * MARGIN);
        let green = format!("width=\"{}\" height=\"{}\"", (width * 0.25).round(), ROW - 8);
        assert!(chart.svg.contains(&green), "{} not in {}", green, chart.svg);
        assert!(chart.svg.contains("&lt;a &amp; b&gt;") && !chart.svg.contains("<a"), "{}", chart.svg);
        assert!(chart.svg.contains("25.0%") && chart.svg.contains("75.0%"));
        assert!(chart.svg.contains(&Tone::Closed.hex()));
    }

    #[test]
    fn nothing_and_far_too_much_are_drawn() {
        for rows in [vec![], vec![bar("x", 7.0)], vec![bar("day", 0.5); 400]] {
            assert!(bars(&rows).unwrap().svg.ends_with("</svg>\n"));
            assert!(columns(&rows).unwrap().svg.ends_with("</svg>\n"));
        }
        let range = Range { label: "ß".repeat(60), value: 0.5, lower: 0.5, upper: 1.0 };
        let chart = ranges(&[range]).unwrap();
        assert!(chart.svg.contains("…") && !chart.svg.contains("NaN"), "{}", chart.svg);
    }
}
