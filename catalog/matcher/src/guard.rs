//! Guards: when a pattern that fits the tokens still proves nothing.
//!
//! A private name that opens with a brand's word (`falcon-hr-helper`, `o3-ozone-monitor`) must stay unknown, and a
//! fine-tune of open weights that carries a closed brand's word (`claude-distill-7b`) must not count as closed.

use crate::Reason;
use crate::envelope::Envelope;
use crate::lexicon::flag;
use crate::matcher::Token;
use crate::tables::{Condition, Rule, condition_kind, rule_flag};
use crate::token::Kind;

/// Whether `rule`, whose prefix fits, holds with `rest` after it. `pathed`: the name has a path before its last segment.
pub(crate) fn holds(rule: &Rule, conditions: &[Condition], rest: &[Token], pathed: bool) -> bool {
    conditions.iter().all(|condition| match condition.kind {
        condition_kind::LATER => rest.iter().any(|token| token.symbol == condition.symbol.get()),
        condition_kind::SIZED => size_follows(rest),
        condition_kind::ENDS => rest.iter().all(known),
        _ => rest.is_empty(),
    }) && proves(rule, conditions, rest, pathed)
}

/// Whether the first number after the prefix is a parameter count: `3-coder-30b`, `3-0.6b`, but not `3.9-27b`, which is another
/// version. One digit before a one-digit count is taken for a decimal.
fn size_follows(rest: &[Token]) -> bool {
    let mut numbers = rest.iter().filter(|token| token.kind != Kind::Word);
    match numbers.next() {
        Some(Token { kind: Kind::Size, .. }) => true,
        Some(_) => numbers.next().is_some_and(|token| token.kind == Kind::Size && token.short),
        None => false,
    }
}

/// Numbers, parameter counts and the register's qualifiers.
fn known(token: &Token) -> bool {
    token.kind != Kind::Word || token.flags & (flag::QUALIFIER | flag::DERIVED) != 0
}

fn proves(rule: &Rule, conditions: &[Condition], rest: &[Token], pathed: bool) -> bool {
    // A parameter count, or a word for a conversion of weights: it names weights.
    let weights = rest.iter().any(|token| token.kind == Kind::Size || token.flags & flag::DERIVED != 0);
    if rule.has(rule_flag::NEVER_SIZED) && weights {
        // No closed model of this family tells its size: these are somebody's weights, named after it.
        return false;
    }
    if rule.has(rule_flag::OPEN) && weights {
        return true;
    }
    let named = |token: &Token| {
        let later = |condition: &Condition| {
            condition.kind == condition_kind::LATER && condition.symbol.get() == token.symbol
        };
        known(token) || conditions.iter().any(later)
    };
    let ordinary_words = rest.iter().filter(|token| !named(token)).count();
    if rule.has(rule_flag::WEAK) {
        // A number after an ordinary word proves nothing: `heron-3-bay`.
        return ordinary_words == 0;
    }
    if rule.has(rule_flag::VERSIONED) {
        // `gpt-4-you-gifts`, `gemini-3-payroll`: a sentence goes on after the number. Behind a vendor or a host one word is a
        // variant that the register does not know yet (`openai/gpt-5-atlas`).
        return if pathed { ordinary_words < rest.len().max(2) } else { ordinary_words == 0 };
    }
    rest.first().is_none_or(named) && (ordinary_words == 0 || pathed && versioned(rest))
}

fn versioned(rest: &[Token]) -> bool {
    rest.iter().any(|token| token.kind != Kind::Word)
}

/// Why nothing was found: a name that is only a number or hexadecimal digits is opaque, any other is unmatched.
pub(crate) fn silence(envelope: &Envelope) -> Reason {
    const SHORTEST_HASH: usize = 8;
    let Some(core) = envelope.segment(0) else { return Reason::Unmatched };
    let digits = core.iter().filter(|byte| byte.is_ascii_digit()).count();
    let only_hexadecimal = core.iter().all(|&byte| byte.is_ascii_hexdigit() || byte == b'-');
    let hash = only_hexadecimal && digits > 0 && core.len() >= SHORTEST_HASH;
    let deployment =
        envelope.text().windows(b"/deployedmodels/".len()).any(|part| part == b"/deployedmodels/");
    // An OpenAI assistant, a Volcengine endpoint.
    let endpoint = core.starts_with(b"asst_")
        || core.strip_prefix(b"ep-").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
    if hash || digits == core.len() || deployment || endpoint { Reason::Opaque } else { Reason::Unmatched }
}
