//! The counts of a report and their packed form, layout 1 of `Report.cells`.
//!
//! `Report.cells` is one flat list of varints, in this order:
//!
//! ```text
//! group  = model_delta  origin  n  cell{n}          groups ascend by (model, provider, openness, hosting, operation)
//! model_delta = model - model of the group before (the first group: model)
//! origin = provider << 9 | openness << 6 | hosting << 3 | operation
//! n      = number of cells in the group, at least 1
//! cell   = head  requests  [attempts]  [input_tokens  output_tokens]      cells ascend by shape
//! head   = shape << 2 | tokens_follow << 1 | attempts_follow
//! shape  = choice << 5 | streaming << 3 | outcome
//! attempts are left out when equal to requests, the two token sums when both are 0.
//! ```
//!
//! Guarantees: `unpack(pack(cells)) == cells` for any set of cells with distinct keys; the packed form is canonical, so equal
//! sets have equal bytes. `unpack` refuses everything that `pack` would not have written: a number outside its enumeration,
//! a key twice or out of order, an empty cell, a count of 2^53 or more, a list that ends early, more than `MAX_CELLS`.

use prost::encoding::decode_varint;
use weighbridge_catalog::{Hosting, ModelId, Openness, ProviderId};

use crate::v1::{Choice, Operation, Outcome, Streaming};

/// Most cells in one report. With 1,000 models in use and ten shapes each a window stays under it; the collector splits
/// nothing and counts what does not fit under `unlisted`.
pub const MAX_CELLS: usize = 10_000;

/// Counts stay under 2^53, so that every language and JSON reads them exactly.
pub const COUNT_LIMIT: u64 = 1 << 53;

/// What is counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellKey {
    /// The served model.
    pub model: ModelId,
    /// Who was asked to serve it.
    pub provider: ProviderId,
    /// Openness of the model's weights on the day of the window.
    pub openness: Openness,
    /// Who runs the weights.
    pub hosting: Hosting,
    /// What was asked for.
    pub operation: Operation,
    /// Whether it was the gateway's first choice.
    pub choice: Choice,
    /// Whether the answer was streamed.
    pub streaming: Streaming,
    /// How it ended.
    pub outcome: Outcome,
}

impl CellKey {
    /// All fields in one number, distinct for distinct keys: every enumeration fits its bits (a test walks them).
    fn number(&self) -> u64 {
        u64::from(self.model.0) << 32
            | u64::from(self.provider.0) << 16
            | (self.openness as u64) << 13
            | (self.hosting as u64) << 10
            | (self.operation as u64) << 7
            | (self.choice as u64) << 5
            | (self.streaming as u64) << 3
            | self.outcome as u64
    }
}

impl std::hash::Hash for CellKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.number());
    }
}

/// What is counted. Each count is below `COUNT_LIMIT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Client requests with a final outcome.
    pub requests: u64,
    /// Tries at an upstream, the last one included. Never added to requests.
    pub attempts: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
}

impl Counts {
    /// Adds `other`, staying below `COUNT_LIMIT`.
    pub fn add(&mut self, other: &Counts) {
        let sum = |a: u64, b: u64| a.saturating_add(b).min(COUNT_LIMIT - 1);
        self.requests = sum(self.requests, other.requests);
        self.attempts = sum(self.attempts, other.attempts);
        self.input_tokens = sum(self.input_tokens, other.input_tokens);
        self.output_tokens = sum(self.output_tokens, other.output_tokens);
    }

    /// Nothing was counted.
    pub fn is_zero(&self) -> bool {
        *self == Counts::default()
    }
}

/// One key with its counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What was counted.
    pub key: CellKey,
    /// How much.
    pub counts: Counts,
}

/// Why packed cells were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellsError {
    /// The list ends inside a group.
    #[error("cells: the list ends inside a group")]
    Truncated,
    /// A number outside its enumeration or range.
    #[error("cells: {0} is out of range")]
    Range(&'static str),
    /// Groups or cells not strictly ascending: a key twice, or a writer that is not canonical.
    #[error("cells: keys are not strictly ascending")]
    Order,
    /// A cell without counts, or a group without cells.
    #[error("cells: a cell or group is empty")]
    Empty,
    /// More than `MAX_CELLS`.
    #[error("cells: more than {MAX_CELLS} cells")]
    TooMany,
}

const OPERATION_BITS: u32 = 3;
const HOSTING_BITS: u32 = 3;
const OPENNESS_BITS: u32 = 3;
const OUTCOME_BITS: u32 = 3;
const STREAMING_BITS: u32 = 2;
const CHOICE_BITS: u32 = 2;
const ATTEMPTS_FOLLOW: u64 = 1;
const TOKENS_FOLLOW: u64 = 2;
const FLAG_BITS: u32 = 2;

fn origin(key: &CellKey) -> u64 {
    let packed = (u64::from(key.provider.0) << OPENNESS_BITS) | key.openness as u64;
    let packed = (packed << HOSTING_BITS) | key.hosting as u64;
    (packed << OPERATION_BITS) | key.operation as u64
}

fn shape(key: &CellKey) -> u64 {
    let packed = ((key.choice as u64) << STREAMING_BITS) | key.streaming as u64;
    (packed << OUTCOME_BITS) | key.outcome as u64
}

/// Packs cells with distinct keys, in any order. Cells without counts are left out.
pub fn pack(cells: &[Cell]) -> Vec<u64> {
    let mut sorted: Vec<&Cell> = cells.iter().filter(|cell| !cell.counts.is_zero()).collect();
    sorted.sort_unstable_by_key(|cell| (cell.key.model, origin(&cell.key), shape(&cell.key)));
    let mut packed = Vec::with_capacity(sorted.len() * 5);
    let mut model = 0;
    let same_group = |a: &&Cell, b: &&Cell| a.key.model == b.key.model && origin(&a.key) == origin(&b.key);
    for group in sorted.chunk_by(same_group) {
        let key = &group[0].key;
        packed.extend([u64::from(key.model.0 - model), origin(key), group.len() as u64]);
        model = key.model.0;
        for cell in group {
            pack_cell(cell, &mut packed);
        }
    }
    packed
}

fn pack_cell(cell: &Cell, packed: &mut Vec<u64>) {
    let counts = &cell.counts;
    let attempts_follow = counts.attempts != counts.requests;
    let tokens_follow = counts.input_tokens != 0 || counts.output_tokens != 0;
    let mut head = shape(&cell.key) << FLAG_BITS;
    head |= if attempts_follow { ATTEMPTS_FOLLOW } else { 0 };
    head |= if tokens_follow { TOKENS_FOLLOW } else { 0 };
    packed.extend([head, counts.requests]);
    if attempts_follow {
        packed.push(counts.attempts);
    }
    if tokens_follow {
        packed.extend([counts.input_tokens, counts.output_tokens]);
    }
}

/// Unpacks `Report.cells`, in ascending order of keys.
///
/// # Errors
/// Everything that `pack` would not have written, see the module.
pub fn unpack(packed: &[u64]) -> Result<Vec<Cell>, CellsError> {
    unpack_numbers(&mut packed.iter().copied().map(Ok), packed.len())
}

/// Unpacks `Report.cells` as it is encoded: the varints of the packed field, without its tag and length.
///
/// # Errors
/// As `unpack`; `Truncated` also for what is no varint.
pub fn unpack_encoded(mut encoded: &[u8]) -> Result<Vec<Cell>, CellsError> {
    // Counts and token sums are rarely of one byte.
    let numbers_guessed = encoded.len() / 2;
    let mut numbers = std::iter::from_fn(|| {
        (!encoded.is_empty()).then(|| decode_varint(&mut encoded).map_err(|_| CellsError::Truncated))
    });
    unpack_numbers(&mut numbers, numbers_guessed)
}

/// `guessed` numbers, about.
fn unpack_numbers(
    numbers: &mut impl Iterator<Item = Result<u64, CellsError>>,
    guessed: usize,
) -> Result<Vec<Cell>, CellsError> {
    // A cell is two to five numbers and a group three: a fourth is seldom far off.
    let mut cells = Vec::with_capacity((guessed / 4).min(MAX_CELLS));
    let mut previous: Option<(u64, u64)> = None;
    while let Some(delta) = numbers.next().transpose()? {
        let model = previous.map_or(Some(delta), |(model, _)| model.checked_add(delta));
        let model = model.filter(|model| *model <= u64::from(u32::MAX)).ok_or(CellsError::Range("model"))?;
        let origin = next(numbers)?;
        if previous.is_some_and(|before| before >= (model, origin)) {
            return Err(CellsError::Order);
        }
        previous = Some((model, origin));
        let n = next(numbers)?;
        if n == 0 {
            return Err(CellsError::Empty);
        }
        if n > (MAX_CELLS - cells.len()) as u64 {
            return Err(CellsError::TooMany);
        }
        unpack_group(model as u32, origin, n, numbers, &mut cells)?;
    }
    Ok(cells)
}

fn unpack_group(
    model: u32,
    origin: u64,
    n: u64,
    numbers: &mut impl Iterator<Item = Result<u64, CellsError>>,
    cells: &mut Vec<Cell>,
) -> Result<(), CellsError> {
    let mut rest = origin;
    let operation =
        Operation::from_number(low(&mut rest, OPERATION_BITS)).ok_or(CellsError::Range("operation"))?;
    let hosting = Hosting::from_number(low(&mut rest, HOSTING_BITS)).ok_or(CellsError::Range("hosting"))?;
    let openness =
        Openness::from_number(low(&mut rest, OPENNESS_BITS)).ok_or(CellsError::Range("openness"))?;
    let provider = u16::try_from(rest).map_err(|_| CellsError::Range("provider"))?;
    let mut previous = None;
    for _ in 0..n {
        let mut head = next(numbers)?;
        let flags = low(&mut head, FLAG_BITS);
        let shape = head;
        if previous.is_some_and(|before| before >= shape) {
            return Err(CellsError::Order);
        }
        previous = Some(shape);
        let outcome =
            Outcome::from_number(low(&mut head, OUTCOME_BITS)).ok_or(CellsError::Range("outcome"))?;
        let streaming =
            Streaming::from_number(low(&mut head, STREAMING_BITS)).ok_or(CellsError::Range("streaming"))?;
        let choice = Choice::from_number(low(&mut head, CHOICE_BITS)).ok_or(CellsError::Range("choice"))?;
        if head != 0 {
            return Err(CellsError::Range("shape"));
        }
        let (model, provider) = (ModelId(model), ProviderId(provider));
        let key = CellKey { model, provider, openness, hosting, operation, choice, streaming, outcome };
        cells.push(Cell { key, counts: unpack_counts(flags, numbers)? });
    }
    Ok(())
}

fn unpack_counts(
    flags: u64,
    numbers: &mut impl Iterator<Item = Result<u64, CellsError>>,
) -> Result<Counts, CellsError> {
    let requests = next(numbers)?;
    let attempts = if flags & ATTEMPTS_FOLLOW != 0 { next(numbers)? } else { requests };
    let tokens_follow = flags & TOKENS_FOLLOW != 0;
    let input_tokens = if tokens_follow { next(numbers)? } else { 0 };
    let output_tokens = if tokens_follow { next(numbers)? } else { 0 };
    let counts = Counts { requests, attempts, input_tokens, output_tokens };
    if [requests, attempts, input_tokens, output_tokens].iter().any(|count| *count >= COUNT_LIMIT) {
        return Err(CellsError::Range("count"));
    }
    let redundant = (flags & ATTEMPTS_FOLLOW != 0 && attempts == requests)
        || (tokens_follow && input_tokens == 0 && output_tokens == 0);
    if counts.is_zero() || redundant {
        return Err(CellsError::Empty);
    }
    Ok(counts)
}

fn next(numbers: &mut impl Iterator<Item = Result<u64, CellsError>>) -> Result<u64, CellsError> {
    numbers.next().unwrap_or(Err(CellsError::Truncated))
}

/// Takes the lowest `bits` off `number`.
fn low(number: &mut u64, bits: u32) -> u64 {
    let value = *number & ((1 << bits) - 1);
    *number >>= bits;
    value
}
