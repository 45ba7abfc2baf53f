//! The matcher: a name in, a verdict out.
//!
//! Order, first that decides wins:
//! 1. The envelope: not a name, a private resource, a fine-tune (`envelope.rs`).
//! 2. The last path segment, alone and together with the one before it (`deepseek/r1`), then up to three segments before
//!    it (`llama-3-8b/snapshots/4f1c...`). A match starts at the first token, after at most `MAX_HOST_WORDS` words of hosts.
//! 3. A base inside the last segment (`olafangensan-glm-4.7-flash-heretic`): open families only, and only with a version.
//! 4. A brand whose model no rule names: the family is known, its openness is not.
//! 5. An organisation that publishes weights only.
//!
//! Of several matches the heaviest wins. Guards (`guard.rs`) throw out ordinary words that look like brands.
//! Guarantees: pure, no allocation, time linear in the name: every start walks at most the trie's depth.

use arrayvec::ArrayVec;

use crate::envelope::Envelope;
use crate::guard;
use crate::lexicon::{OUTSIDE, Symbol, flag};
use crate::tables::{Rule, Tables, rule_flag};
use crate::token::{Kind, Piece, Pieces};
use crate::{Openness, Reason};

/// Tokens looked at in one segment together with the one before it. No model of any list has more than 24.
pub(crate) const MAX_TOKENS: usize = 64;
/// Words of hosts that may stand before a model's name (`us.gov.anthropic.`, `databricks-meta-`).
const MAX_HOST_WORDS: usize = 4;
/// Segments in which a model's name is looked for.
const MAX_LOOKED_AT: usize = 4;

/// A token of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) symbol: Symbol,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// At most two letters long (`7b`).
    pub(crate) short: bool,
}

/// What the matcher says of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// Row of the model.
    pub(crate) model: Option<u16>,
    pub(crate) family: &'static str,
    /// Row of the developer.
    pub(crate) developer: Option<u16>,
    /// Openness when no model is known.
    pub(crate) openness: Openness,
    pub(crate) reason: Reason,
}

/// Tokens of two neighbouring segments on the stack.
pub(crate) struct Tokens {
    tokens: ArrayVec<Token, MAX_TOKENS>,
    /// There is a path before the last segment.
    pathed: bool,
    /// The name does not fit; nothing is proven about what was cut.
    overflow: bool,
}

/// A rule that holds at a place.
#[derive(Clone, Copy)]
pub(crate) struct Match {
    pub(crate) rule: &'static Rule,
    /// First token of the match.
    pub(crate) start: usize,
}

impl Verdict {
    /// A verdict that names nothing.
    pub(crate) const fn nothing(reason: Reason) -> Verdict {
        Verdict { model: None, family: "", developer: None, openness: Openness::Unknown, reason }
    }
}

impl Rule {
    /// Whether a bit of `rule_flag` is set.
    #[inline]
    pub(crate) fn has(&self, bit: u8) -> bool {
        self.flags & bit != 0
    }

    /// Row of the model, if the pattern proves more than the family.
    fn model(&self) -> Option<u16> {
        (!self.has(rule_flag::FAMILY)).then(|| self.names.get())
    }
}

impl Match {
    fn is_versioned_and_strong(&self) -> bool {
        self.rule.has(rule_flag::VERSIONED) && !self.rule.has(rule_flag::WEAK)
    }
}

impl Tables {
    /// What the register says of `name`.
    pub(crate) fn look_up(&self, name: &str) -> Verdict {
        let mut envelope = Envelope::new();
        if !envelope.open(name) {
            return Verdict::nothing(Reason::Unmatched);
        }
        if envelope.opaque {
            return Verdict::nothing(Reason::Opaque);
        }
        let mut tokens = Tokens { tokens: ArrayVec::new(), pathed: false, overflow: false };
        for number in 0..MAX_LOOKED_AT.min(envelope.segments()) {
            tokens.clear();
            if number + 1 < envelope.segments() {
                tokens.pathed = true;
                tokens.add_if_known(self, &envelope, number + 1);
            }
            let boundary = tokens.tokens.len();
            tokens.add(self, &envelope, number);
            if tokens.overflow {
                return Verdict::nothing(Reason::Unmatched);
            }
            let found = self
                .leading(&tokens, boundary)
                .filter(|found| number == 0 || found.is_versioned_and_strong());
            let inside = match found {
                Some(found) if found.rule.model().is_some() => None,
                _ if number == 0 => self.base_inside(&tokens, boundary),
                _ => None,
            };
            match (inside, found) {
                (Some(inside), _) => return self.verdict(inside, &tokens, true),
                (None, Some(found)) => {
                    // `Undi95/Mistral-11B-OmniMix`: a brand proves less than an organisation that publishes weights only.
                    let brand_only = found.rule.model().is_none() && !found.rule.has(rule_flag::ROUTER);
                    let organisation =
                        if brand_only && number == 0 { self.organisation(&envelope) } else { None };
                    return organisation.filter(|(_, sized)| !sized).map_or_else(
                        || self.verdict(found, &tokens, envelope.fine_tune || number > 0),
                        |(verdict, _)| verdict,
                    );
                }
                (None, None) => {}
            }
        }
        self.organisation(&envelope)
            .map_or_else(|| Verdict::nothing(guard::silence(&envelope)), |(verdict, _)| verdict)
    }

    /// The heaviest match at the start of the segment, or across the boundary before it.
    fn leading(&self, tokens: &Tokens, boundary: usize) -> Option<Match> {
        let mut best = None;
        if boundary > 0 {
            self.walk(tokens, 0, boundary, &mut best);
        }
        for start in (boundary..tokens.tokens.len()).take(MAX_HOST_WORDS + 1) {
            self.walk(tokens, start, start, &mut best);
            if tokens.tokens[start].flags & flag::HOST == 0 {
                break;
            }
        }
        best
    }

    /// A versioned open base further inside the segment.
    fn base_inside(&self, tokens: &Tokens, boundary: usize) -> Option<Match> {
        let all = tokens.all();
        if !all[boundary.min(all.len())..]
            .iter()
            .any(|token| token.kind == Kind::Size || token.flags & flag::DERIVED != 0)
        {
            return None;
        }
        (boundary + 1..tokens.tokens.len()).find_map(|start| {
            let mut best = None;
            self.walk(tokens, start, start, &mut best);
            best.filter(|found: &Match| found.is_versioned_and_strong() && found.rule.has(rule_flag::OPEN))
        })
    }

    /// Walks the trie from `start` and keeps in `best` the heaviest rule that reaches beyond token `beyond`.
    fn walk(&self, tokens: &Tokens, start: usize, beyond: usize, best: &mut Option<Match>) {
        let all = tokens.all();
        let mut node = 0;
        for (at, token) in all.iter().enumerate().skip(start) {
            if token.symbol == OUTSIDE {
                return;
            }
            let Some(next) = self.next(node, token.symbol) else { return };
            node = next;
            if at < beyond {
                continue;
            }
            let place = usize::from(node);
            let (first, last) = (self.rules_at[place].get(), self.rules_at[place + 1].get());
            for rule in &self.rules[usize::from(first)..usize::from(last)] {
                // The heaviest come first.
                if best.is_some_and(|found| rule.weight <= found.rule.weight) {
                    break;
                }
                if guard::holds(rule, rule.conditions.of(self.conditions), &all[at + 1..], tokens.pathed) {
                    *best = Some(Match { rule, start });
                    break;
                }
            }
        }
    }

    fn verdict(&self, found: Match, tokens: &Tokens, derived: bool) -> Verdict {
        let rule = found.rule;
        if rule.has(rule_flag::ROUTER) {
            return Verdict::nothing(Reason::Router);
        }
        let family = match rule.model() {
            Some(model) => self.models[usize::from(model)].family.get(),
            None => rule.names.get(),
        };
        let family = &self.families[usize::from(family)];
        let rest = &tokens.all()[found.start..];
        let reason = match rule.model() {
            None => Reason::Unmatched,
            Some(_) if rule.has(rule_flag::ALIAS) => Reason::Alias,
            Some(_) if derived || rest.iter().any(|token| token.flags & flag::DERIVED != 0) => {
                Reason::Derived
            }
            Some(_) => Reason::Matched,
        };
        Verdict {
            model: rule.model(),
            family: self.text(family.name),
            developer: Some(family.developer.get()),
            openness: Openness::Unknown,
            reason,
        }
    }

    /// An organisation before the name that publishes weights only, and whether only names with a size count.
    fn organisation(&self, envelope: &Envelope) -> Option<(Verdict, bool)> {
        let name = envelope.segment(1)?;
        let place = self.organisations.binary_search_by(|known| known.name.bytes(self).cmp(name)).ok()?;
        let organisation = &self.organisations[place];
        let sized = Pieces::of(envelope.segment(0)?).any(|piece| piece.kind == Kind::Size);
        let only_sized = organisation.sized != 0;
        let verdict = Verdict {
            model: None,
            family: "",
            developer: Some(organisation.developer.get()),
            openness: Openness::from_number(u64::from(organisation.openness)).unwrap_or_default(),
            reason: Reason::Matched,
        };
        (sized || !only_sized).then_some((verdict, only_sized))
    }
}

impl Tokens {
    /// The tokens.
    fn all(&self) -> &[Token] {
        &self.tokens
    }

    fn clear(&mut self) {
        self.tokens.clear();
        (self.pathed, self.overflow) = (false, false);
    }

    /// Adds the tokens of a segment.
    fn add(&mut self, tables: &Tables, envelope: &Envelope, number: usize) {
        let range = envelope.range(number);
        let segment = &envelope.text()[range.clone()];
        for piece in Pieces::of(segment) {
            let key = envelope.key(range.start + piece.start, piece.end - piece.start);
            let token = token(tables, segment, key, piece);
            self.overflow |= self.tokens.try_push(token).is_err();
        }
    }

    /// Adds the tokens of the segment before, if all of them together begin a pattern; none otherwise, which is the rule.
    fn add_if_known(&mut self, tables: &Tables, envelope: &Envelope, number: usize) {
        let range = envelope.range(number);
        let segment = &envelope.text()[range.clone()];
        let mut node = 0;
        for piece in Pieces::of(segment) {
            let key = envelope.key(range.start + piece.start, piece.end - piece.start);
            let token = token(tables, segment, key, piece);
            match tables.next(node, token.symbol) {
                Some(next) if token.symbol != OUTSIDE => node = next,
                _ => return self.tokens.clear(),
            }
            self.overflow |= self.tokens.try_push(token).is_err();
        }
    }
}

/// The token of a piece of `segment`, whose first letters are `key`.
#[inline(always)]
fn token(tables: &Tables, segment: &[u8], key: u64, piece: Piece) -> Token {
    let symbol = tables.symbol(&segment[piece.start..piece.end], key);
    Token { symbol, kind: piece.kind, flags: tables.flags(symbol), short: piece.end - piece.start <= 2 }
}
