//! What a compiler keeps from one policy set to the next, by digest.

use std::collections::HashMap;

use model::Sha256Digest;

/// What the last set needed, and what the one that is being compiled does. So it never holds more than
/// two sets may, and whatever the last one did not need is forgotten.
// The order of the maps reaches nothing: they are looked into by key.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    last: HashMap<Sha256Digest, T>,
    now: HashMap<Sha256Digest, T>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { last: HashMap::new(), now: HashMap::new() }
    }
}

impl<T: Clone> Kept<T> {
    /// What is kept under `digest`, which must name everything that `make` depends on; what is not kept
    /// is made. Failures are not kept.
    pub(crate) fn get<E>(
        &mut self,
        digest: Sha256Digest,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(known) = self.now.get(&digest) {
            return Ok(known.clone());
        }
        let value = match self.last.get(&digest) {
            Some(known) => known.clone(),
            None => make()?,
        };
        self.now.insert(digest, value.clone());
        Ok(value)
    }

    /// A new set is begun: what one that failed needed is forgotten.
    pub(crate) fn begin(&mut self) {
        self.now.clear();
    }

    /// The set is whole: what it did not need is forgotten.
    pub(crate) fn end(&mut self) {
        self.last = std::mem::take(&mut self.now);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.last.len() + self.now.len()
    }
}
