//! What the lines of one log have in common: the same keys in the same order, other values.
//!
//! A `Shape` is how one line was made: its values, each with the bytes that stood before it (`,"usage":{"input_tokens":`). A line
//! that has the same bytes between its values, and values where they were, is made in the same way, so what is wanted of
//! its values is known without looking at a key. `replay` reads such a line in one pass and accepts nothing that the walk over
//! the tree of keys would refuse or read otherwise: where it meets anything else it gives up, and the walk reads the line.
//! Memory: a few kilobytes a shape, `MAX_SHAPES` of them; nothing is allocated for a line whose shape is known.

use std::ops::Range;

use super::bytes::{Literal, next_special};
use super::fields::{Point, Slot};
use super::record::{Record, Value};
use super::scan::{levels, word};
use super::text::Text;

/// Shapes that are remembered: success, stream, error, and what else a gateway writes.
const MAX_SHAPES: usize = 8;
/// A line with more values is not remembered.
const MAX_VALUES: usize = 128;
/// A line of unknown shape is worth so many of a known one: when there are more of them than that, learning does not pay.
const MISS_COST: u32 = 8;
/// Credit at most, and at the beginning.
const MAX_CREDIT: u32 = 64 * MISS_COST;
/// Lines that are walked without learning when the credit is used up.
const PAUSE_LINES: u32 = 4_096;

/// The shapes of the lines so far.
#[derive(Debug)]
pub(super) struct Shapes<'f> {
    shapes: Vec<Shape<'f>>,
    /// The shapes in the order in which they are tried; one that fits moves up by one place.
    order: Vec<usize>,
    /// How many first steps two shapes have in common.
    common: [[u8; MAX_SHAPES]; MAX_SHAPES],
    draft: Draft<'f>,
    credit: u32,
    paused: u32,
}

#[derive(Debug)]
struct Shape<'f> {
    steps: Vec<Step<'f>>,
    /// After the last value.
    end: Box<[u8]>,
    constants: Vec<(Slot, i64)>,
}

#[derive(Debug)]
struct Step<'f> {
    /// What stands before the value, with the quote if it was a string.
    before: Literal,
    /// Bytes of that quote: `"`, or `\\"` in a document in a string.
    quote_bytes: usize,
    /// What is wanted of the value, if that is only the value itself.
    slot: Option<Slot>,
    /// What is wanted of it otherwise.
    point: Option<&'f Point>,
    depth: u32,
    /// In a document in a string.
    is_inner: bool,
}

/// How the line at hand is made, as far as it was walked.
#[derive(Debug)]
pub(super) struct Draft<'f> {
    values: Vec<Found<'f>>,
    constants: Vec<(Slot, i64)>,
    is_wanted: bool,
}

#[derive(Debug)]
struct Found<'f> {
    at: Range<usize>,
    point: Option<&'f Point>,
    depth: u32,
    is_inner: bool,
}

/// How far a line is made as a shape says: the steps that fit, and the position after them.
#[derive(Clone, Copy)]
struct Reached {
    steps: usize,
    at: usize,
}

impl Default for Shapes<'_> {
    fn default() -> Self {
        Shapes {
            shapes: Vec::new(),
            order: Vec::new(),
            common: [[0; MAX_SHAPES]; MAX_SHAPES],
            draft: Draft::off(),
            credit: MAX_CREDIT,
            paused: 0,
        }
    }
}

impl<'f> Shapes<'f> {
    /// Reads `line` if it has a known shape. If not, `record` may hold some of it.
    #[inline]
    pub(super) fn replay<'a>(&mut self, line: &'a [u8], record: &mut Record<'a>) -> bool {
        let Some(first) = self.order.first() else { return false };
        match self.shapes[*first].replay(Reached { steps: 0, at: 0 }, line, record) {
            Ok(()) => {
                self.credit = (self.credit + 1).min(MAX_CREDIT);
                true
            }
            Err(reached) => self.replay_others(reached, line, record),
        }
    }

    #[inline(never)]
    fn replay_others<'a>(&mut self, mut reached: Reached, line: &'a [u8], record: &mut Record<'a>) -> bool {
        for place in 1..self.order.len() {
            let (before, index) = (self.order[place - 1], self.order[place]);
            // What the other shape read is read in this one too, or has to be read again.
            if usize::from(self.common[before][index]) < reached.steps {
                record.clear();
                reached = Reached { steps: 0, at: 0 };
            }
            match self.shapes[index].replay(reached, line, record) {
                Ok(()) => {
                    self.order.swap(place - 1, place);
                    self.credit = (self.credit + 1).min(MAX_CREDIT);
                    return true;
                }
                Err(further) => reached = further,
            }
        }
        false
    }

    /// For the walk over a line whose shape is not known.
    pub(super) fn draft(&mut self) -> &mut Draft<'f> {
        self.draft.values.clear();
        self.draft.constants.clear();
        self.draft.is_wanted = self.paused == 0;
        &mut self.draft
    }

    /// Remembers the shape of the line that was walked.
    pub(super) fn learn(&mut self, line: &[u8]) {
        if self.paused > 0 {
            self.paused -= 1;
            return;
        }
        self.credit = self.credit.saturating_sub(MISS_COST);
        if self.credit == 0 {
            *self = Shapes { paused: PAUSE_LINES, ..Shapes::default() };
            return;
        }
        let Some(shape) = self.draft.shape(line) else { return };
        let index = if self.shapes.len() < MAX_SHAPES {
            self.shapes.push(shape);
            self.order.push(self.shapes.len() - 1);
            self.shapes.len() - 1
        } else {
            // In the place of the one that is tried last.
            let index = self.order[MAX_SHAPES - 1];
            self.shapes[index] = shape;
            index
        };
        for other in 0..self.shapes.len() {
            let steps = self.shapes[index].steps.iter().zip(&self.shapes[other].steps);
            // At most `MAX_VALUES`.
            let common = steps.take_while(|(one, other)| one.is(other)).count() as u8;
            (self.common[index][other], self.common[other][index]) = (common, common);
        }
    }
}

impl Shape<'_> {
    /// Reads a line that fits as far as `from`.
    #[inline]
    fn replay<'a>(&self, from: Reached, line: &'a [u8], record: &mut Record<'a>) -> Result<(), Reached> {
        let mut at = from.at;
        let mut steps = self.steps.get(from.steps..).unwrap_or_default().iter();
        while let Some(step) = steps.next() {
            let Some(after) = step.replay(line, at, record) else {
                return Err(Reached { steps: self.steps.len() - steps.as_slice().len() - 1, at });
            };
            at = after;
        }
        if line.get(at..) != Some(&self.end) {
            return Err(Reached { steps: self.steps.len(), at });
        }
        self.constants.iter().for_each(|(slot, number)| record.set(*slot, Value::Int(*number)));
        Ok(())
    }
}

impl Step<'_> {
    fn is(&self, other: &Step<'_>) -> bool {
        let point = |step: &Step<'_>| step.point.map(|point| std::ptr::from_ref(point).cast::<()>());
        self.before == other.before
            && (self.slot, self.depth, self.is_inner) == (other.slot, other.depth, other.is_inner)
            && point(self) == point(other)
    }

    /// The position after the value, if at `at` stands what comes before it.
    #[inline(always)]
    fn replay<'a>(&self, line: &'a [u8], at: usize, record: &mut Record<'a>) -> Option<usize> {
        let Some(start) = self.before.at(line, at) else { return self.replay_no_string(line, at, record) };
        if self.quote_bytes == 0 {
            return self.replay_value(line, start, record);
        }
        let end = next_special(line, start)?;
        if self.is_inner {
            if line.get(end..)?.first_chunk() != Some(b"\\\"") {
                return self.replay_string(Text::<true>(line), start - 2, record);
            }
        } else if *line.get(end)? != b'"' {
            return self.replay_string(Text::<false>(line), start - 1, record);
        }
        self.set(record, Value::Text(line.get(start..end)?))?;
        Some(end + self.quote_bytes)
    }

    /// Where a string was, another value may be.
    #[inline(never)]
    fn replay_no_string<'a>(&self, line: &'a [u8], at: usize, record: &mut Record<'a>) -> Option<usize> {
        let at = self.before.at_without_last(self.quote_bytes, line, at)?;
        self.replay_value(line, at, record)
    }

    #[inline(always)]
    fn replay_value<'a>(&self, line: &'a [u8], at: usize, record: &mut Record<'a>) -> Option<usize> {
        match line.get(at)? {
            b'-' | b'0'..=b'9' => {
                let after = Text::<false>(line).token(at)?;
                self.set(record, Value::Number(line.get(at..after)?))?;
                Some(after)
            }
            // Nothing is kept of it.
            b'n' if line.get(at..at + 5)?.split_last().is_some_and(is_null) => Some(at + 4),
            b'"' if !self.is_inner => self.replay_string(Text::<false>(line), at, record),
            b'\\' if self.is_inner => self.replay_string(Text::<true>(line), at, record),
            b'"' | b'\\' => None,
            b'{' | b'[' => self.replay_nested(line, at),
            _ => self.replay_word(line, at, record),
        }
    }

    #[inline(always)]
    fn set<'a>(&self, record: &mut Record<'a>, value: Value<'a>) -> Option<()> {
        match self.slot {
            Some(slot) => record.set(slot, value),
            None => {
                if let Some(point) = self.point {
                    // The document in a string has a shape of its own.
                    if point.json.is_some() && matches!(value, Value::Text(_) | Value::Escaped(..)) {
                        return None;
                    }
                    point.set(record, value);
                }
            }
        }
        Some(())
    }

    #[inline(never)]
    fn replay_string<'a, const INNER: bool>(
        &self,
        text: Text<'a, INNER>,
        at: usize,
        record: &mut Record<'a>,
    ) -> Option<usize> {
        let written = text.string(at)?;
        let raw = text.0.get(written.start..written.end)?;
        let value = if written.has_escapes { Value::Escaped(raw, levels(text)) } else { Value::Text(raw) };
        self.set(record, value)?;
        Some(written.after)
    }

    #[inline(never)]
    fn replay_word<'a>(&self, line: &'a [u8], at: usize, record: &mut Record<'a>) -> Option<usize> {
        let after = Text::<false>(line).token(at)?;
        if self.slot.is_some() || self.point.is_some() {
            self.set(record, word(line.get(at..after)?)?)?;
        }
        Some(after)
    }

    #[inline(never)]
    fn replay_nested(&self, line: &[u8], at: usize) -> Option<usize> {
        // It has fields or elements that may be wanted.
        if self.slot.is_some() || self.point.is_some() {
            return None;
        }
        if self.is_inner {
            Text::<true>(line).skip_value(at, self.depth)
        } else {
            Text::<false>(line).skip_value(at, self.depth)
        }
    }
}

/// `null` and what ends it.
#[inline(always)]
fn is_null((end, word): (&u8, &[u8])) -> bool {
    word == b"null" && matches!(end, b',' | b'}')
}

impl<'f> Draft<'f> {
    /// One that takes no notes.
    pub(super) fn off() -> Draft<'f> {
        Draft { values: Vec::new(), constants: Vec::new(), is_wanted: false }
    }

    /// The line has a value here.
    #[inline]
    pub(super) fn value(&mut self, at: Range<usize>, is_inner: bool, depth: u32, point: Option<&'f Point>) {
        if self.is_wanted {
            self.values.push(Found { at, point, depth, is_inner });
        }
    }

    /// The line's shape says what a role is.
    pub(super) fn constant(&mut self, slot: Slot, number: i64) {
        if self.is_wanted {
            self.constants.push((slot, number));
        }
    }

    /// Such lines are walked.
    pub(super) fn give_up(&mut self) {
        self.is_wanted = false;
    }

    /// How many values there are.
    pub(super) fn mark(&self) -> usize {
        self.values.len()
    }

    /// Takes back the last value, if it came after `mark`.
    pub(super) fn forget_last(&mut self, mark: usize) {
        if self.values.len() > mark {
            self.values.pop();
        }
    }

    fn shape(&self, line: &[u8]) -> Option<Shape<'f>> {
        if !self.is_wanted || self.values.len() > MAX_VALUES {
            return None;
        }
        let mut steps = Vec::with_capacity(self.values.len());
        let mut from = 0;
        for Found { at, point, depth, is_inner } in &self.values {
            let quote_bytes = match line.get(at.start)? {
                b'"' => 1,
                b'\\' => 2,
                _ => 0,
            };
            let before = Literal::new(line.get(from..at.start + quote_bytes)?);
            let slot = point.and_then(Point::only_slot);
            let point = point.filter(|_| slot.is_none());
            steps.push(Step { before, quote_bytes, slot, point, depth: *depth, is_inner: *is_inner });
            from = at.end;
        }
        let constants = self.constants.clone();
        Some(Shape { steps, end: line.get(from..)?.into(), constants })
    }
}
