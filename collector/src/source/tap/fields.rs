//! The allow-list of one kind of body: paths of fields, compiled into a tree.

use std::sync::OnceLock;

use super::json::Sink;
use super::needles::Needles;

/// Most containers between a document and a listed field.
pub(super) const MAX_DEPTH: usize = 8;
/// Longest key on a list.
pub(super) const LONGEST_KEY: usize = 64;

/// Why a path is not taken.
#[derive(Debug, thiserror::Error)]
#[error("{0}: write a path such as /usage/prompt_tokens, of at most 7 steps and 64 bytes a step")]
pub struct PathError(String);

/// How the value at a place is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A string, number or literal, whole; of a container only that it is there.
    Scalar(u8),
    /// A string in pieces: it holds an encoded document.
    Encoded,
}

/// The listed paths, as a tree.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    nodes: Vec<Node>,
    /// Made when it is first asked for, from all of them.
    needles: OnceLock<Needles>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<(Box<[u8]>, u16)>,
    want: Option<Want>,
}

/// The place of a document.
pub(super) const ROOT: u16 = 0;

impl Fields {
    /// Adds the place `path` (`/usage/prompt_tokens`).
    ///
    /// # Errors
    /// The path is none.
    pub fn add(&mut self, path: &str, want: Want) -> Result<(), PathError> {
        self.needles = OnceLock::new();
        let wrong = || PathError(path.to_owned());
        let steps: Vec<&str> = path.strip_prefix('/').ok_or_else(wrong)?.split('/').collect();
        if steps.len() >= MAX_DEPTH || steps.iter().any(|step| step.is_empty() || step.len() > LONGEST_KEY) {
            return Err(wrong());
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut node = usize::from(ROOT);
        for step in steps {
            let known = self.nodes[node].children.iter().find(|(key, _)| **key == *step.as_bytes());
            node = match known {
                Some((_, child)) => usize::from(*child),
                None => {
                    let child = self.nodes.len();
                    let number = u16::try_from(child).map_err(|_| wrong())?;
                    self.nodes.push(Node::default());
                    self.nodes[node].children.push((step.as_bytes().into(), number));
                    child
                }
            };
        }
        self.nodes[node].want = Some(want);
        Ok(())
    }

    /// Whether a whole document may tell something that `sink` does not know: else it need not be read.
    pub(super) fn may_tell(&self, document: &[u8], sink: &impl Sink) -> bool {
        self.needles.get_or_init(|| Needles::of(self)).may_tell(document, sink)
    }

    /// Every listed path by its steps, and how its value is handed on.
    pub(super) fn paths(&self) -> Vec<(Vec<&[u8]>, Want)> {
        let mut paths = Vec::new();
        let mut open = vec![(ROOT, Vec::new())];
        while let Some((node, steps)) = open.pop() {
            let Some(Node { children, want }) = self.nodes.get(usize::from(node)) else { continue };
            for (key, child) in children {
                let mut steps: Vec<&[u8]> = steps.clone();
                steps.push(key);
                open.push((*child, steps));
            }
            if let Some(want) = want {
                paths.push((steps, *want));
            }
        }
        paths
    }

    pub(super) fn child(&self, node: u16, key: &[u8]) -> Option<u16> {
        let node = self.nodes.get(usize::from(node))?;
        node.children.iter().find(|(name, _)| **name == *key).map(|(_, child)| *child)
    }

    pub(super) fn want(&self, node: u16) -> Option<Want> {
        self.nodes.get(usize::from(node)).and_then(|node| node.want)
    }

    pub(super) fn has_children(&self, node: u16) -> bool {
        self.nodes.get(usize::from(node)).is_some_and(|node| !node.children.is_empty())
    }
}
