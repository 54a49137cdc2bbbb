//! Checkpoints from elsewhere: what somebody saw of this log before, and kept.

use std::collections::BTreeMap;

use tlog::note::VerifierKey;
use tlog::{Checkpoint, Hash, Tree, TreeSize};

use super::VerifyError;
use crate::anchor::{anchored, is_anchors};

/// What was signed of this log before, by size.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    roots: BTreeMap<u64, Vec<Hash>>,
    /// How many entries of the file are not whole, or not signed by the key.
    unread: usize,
    /// The greatest size at which the tree was as it was signed.
    agreed: u64,
    /// A fork shows at every later checkpoint; it is told once.
    has_forked: bool,
}

impl Earlier {
    /// Reads one checkpoint, or a file of anchors.
    pub(super) fn read(bytes: &[u8], key: &VerifierKey) -> Result<Self, VerifyError> {
        let not_signed = |why: String| VerifyError::NotSigned { which: "earlier checkpoint", why };
        let mut earlier = Self::default();
        if !is_anchors(bytes) {
            let checkpoint = Checkpoint::open(bytes, key);
            earlier.add(&checkpoint.map_err(|error| not_signed(error.to_string()))?);
            return Ok(earlier);
        }
        let (notes, unread) = anchored(bytes, |note| Checkpoint::open(note, key).is_ok());
        earlier.unread = unread;
        for checkpoint in notes.into_iter().filter_map(|note| Checkpoint::open(note, key).ok()) {
            earlier.add(&checkpoint);
        }
        if earlier.roots.is_empty() {
            return Err(not_signed("the file has no checkpoint of this log".to_owned()));
        }
        Ok(earlier)
    }

    fn add(&mut self, checkpoint: &Checkpoint) {
        let roots = self.roots.entry(checkpoint.size().get()).or_default();
        if !roots.contains(&checkpoint.root()) {
            roots.push(checkpoint.root());
        }
    }

    pub(super) fn count(&self) -> usize {
        self.roots.values().map(Vec::len).sum()
    }

    pub(super) fn remarks(&self) -> Vec<String> {
        let unread = self.unread;
        let remark = format!("{unread} anchors are torn, or not signed by the key: not compared");
        if unread > 0 { vec![remark] } else { Vec::new() }
    }

    /// A log never gets shorter than a checkpoint that somebody holds.
    pub(super) fn cut_off(&self, size: TreeSize) -> Option<(u64, String)> {
        let (longest, _) = self.roots.last_key_value()?;
        let what =
            format!("truncated: a checkpoint of {longest} records was signed, this has {size}");
        (*longest > size.get()).then_some((size.get(), what))
    }

    /// What is wrong if a checkpoint of the size of `tree` was signed for another tree.
    pub(super) fn differs(&mut self, tree: &Tree) -> Option<(u64, String)> {
        let size = tree.size().get();
        let roots = self.roots.get(&size)?;
        if let [_, _, ..] = roots.as_slice() {
            let what =
                format!("split view: {} checkpoints of {size} records were signed", roots.len());
            return Some((size.saturating_sub(1), what));
        }
        if roots.contains(&tree.root()) {
            self.agreed = size;
            return None;
        }
        let agreed = self.agreed;
        let what = format!(
            "forked: the first {size} records are not those of the earlier checkpoint; \
             the first {agreed} are as they were"
        );
        let told = std::mem::replace(&mut self.has_forked, true);
        (!told).then_some((size.saturating_sub(1), what))
    }
}
