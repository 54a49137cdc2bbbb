//! Every file of the tree: full, partial and left over, each must be what the leaves make it.

use std::collections::BTreeMap;

use tlog::{EntryBundle, TILE_WIDTH, Tile, TreeSize, tiles_between};

use super::bundles::Leaves;
use crate::directory::{LogDirectory, LogReadError};

/// Bytes of a hash.
const HASH: usize = 32;

/// A file and what is wrong with it: the first record that it concerns, if it concerns one.
type Wrong = (Option<u64>, String);

/// What is published below `tile`.
pub(super) struct Tiles {
    size: TreeSize,
    /// Tiles of leaves and bundles, by their index.
    leaves: BTreeMap<u64, Vec<Leaf>>,
    /// Tiles of higher levels.
    upper: Vec<Tile>,
    /// Files whose names are none of the log's.
    strange: Vec<String>,
    /// How many files are of a larger tree than the checkpoint's.
    beyond: usize,
    /// The hashes of each level above the leaves, one after the other.
    levels: Vec<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Leaf {
    Hashes(Tile),
    Entries(EntryBundle),
}

impl Tiles {
    /// Lists the files in `directory` of a log of `size`.
    pub(super) fn list(directory: &LogDirectory, size: TreeSize) -> Result<Self, LogReadError> {
        let mut own = Self {
            size,
            leaves: BTreeMap::new(),
            upper: Vec::new(),
            strange: Vec::new(),
            beyond: 0,
            levels: Vec::new(),
        };
        for name in directory.tile_files()? {
            let tile = Tile::from_path(&name);
            match (EntryBundle::from_path(&name), tile) {
                (Ok(bundle), _) => own.leaf(bundle.index(), Leaf::Entries(bundle)),
                (_, Ok(tile)) if tile.level() == 0 => own.leaf(tile.index(), Leaf::Hashes(tile)),
                (_, Ok(tile)) => own.upper.push(tile),
                _ => own.strange.push(name),
            }
        }
        Ok(own)
    }

    fn leaf(&mut self, index: u64, file: Leaf) {
        if index * u64::from(TILE_WIDTH) >= self.size.get() {
            self.beyond += 1;
        } else {
            self.leaves.entry(index).or_default().push(file);
        }
    }

    pub(super) fn remarks(&self) -> Vec<String> {
        let beyond = self.beyond;
        let remark = format!("{beyond} files are of a larger log than the checkpoint's");
        if beyond > 0 { vec![remark] } else { Vec::new() }
    }

    /// Checks every file with the leaves or entries of one bundle.
    pub(super) fn check_leaves(&mut self, directory: &LogDirectory, leaves: &Leaves) -> Vec<Wrong> {
        let bundle = leaves.bundle();
        let hashes: Vec<u8> = leaves.hashes().iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        let first = bundle.first().get();
        let mut wrong = Vec::new();
        for file in self.leaves.remove(&bundle.index()).unwrap_or_default() {
            wrong.extend(match file {
                Leaf::Hashes(tile) => {
                    let covers = |at: usize| first + at as u64;
                    self.check_tile(directory, tile, &hashes, covers)
                }
                Leaf::Entries(part) => self.check_part(directory, part, leaves),
            });
        }
        if let Some(tile) = Tile::in_tree(self.size, 0, bundle.index())
            && let Err(error) = directory.tile(tile)
        {
            wrong.push((Some(first), error.to_string()));
        }
        let tile = Tile::new(0, bundle.index(), TILE_WIDTH);
        if let Some(root) = tile.and_then(|tile| tile.root(&hashes)) {
            self.complete(0, *root.as_bytes());
        }
        wrong
    }

    /// Notes the root of a full tile at `level`, and what it completes.
    fn complete(&mut self, level: usize, root: [u8; HASH]) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        let hashes = &mut self.levels[level];
        hashes.extend_from_slice(&root);
        let full = HASH * usize::from(TILE_WIDTH);
        if hashes.len().is_multiple_of(full) {
            let index = (hashes.len() / full - 1) as u64;
            let bytes = &hashes[hashes.len() - full..];
            let tile = u8::try_from(level + 1).ok().and_then(|l| Tile::new(l, index, TILE_WIDTH));
            if let Some(root) = tile.and_then(|tile| tile.root(bytes)) {
                self.complete(level + 1, *root.as_bytes());
            }
        }
    }

    /// A tile must begin with `hashes`, as far as both go.
    fn check_tile(
        &mut self,
        directory: &LogDirectory,
        tile: Tile,
        hashes: &[u8],
        covers: impl Fn(usize) -> u64,
    ) -> Option<Wrong> {
        let bytes = match directory.read(&tile.to_string()) {
            Ok(bytes) if bytes.len() == tile.byte_len() => bytes,
            Ok(bytes) => {
                let what = format!("`{tile}` has {} bytes", bytes.len());
                return Some((Some(covers(0)), what));
            }
            Err(error) => return Some((Some(covers(0)), error.to_string())),
        };
        if bytes.len() > hashes.len() {
            self.beyond += 1;
        }
        let pairs = bytes.chunks(HASH).zip(hashes.chunks(HASH));
        let differs = pairs.take_while(|(one, other)| one == other).count();
        let common = bytes.len().min(hashes.len()) / HASH;
        let what = || format!("`{tile}` is not what the records hash to, from here on");
        (differs < common).then(|| (Some(covers(differs)), what()))
    }

    /// A partial bundle must be the beginning of the bundle.
    fn check_part(
        &mut self,
        directory: &LogDirectory,
        part: EntryBundle,
        leaves: &Leaves,
    ) -> Option<Wrong> {
        if part.width() == leaves.bundle().width() {
            return None;
        }
        if part.width() > leaves.bundle().width() {
            self.beyond += 1;
        }
        let first = part.first().get();
        let entries = match directory.bundle_readable(part) {
            Ok((entries, None)) => entries,
            Ok((entries, Some(error))) => {
                return Some((Some(first + entries.len() as u64), error.to_string()));
            }
            Err(error) => return Some((Some(first), error.to_string())),
        };
        let pairs = entries.iter().zip(leaves.hashes());
        let differs = pairs.clone().take_while(|(entry, leaf)| entry.leaf_hash() == **leaf).count();
        let what = || format!("`{part}` has another record here");
        (differs < pairs.len()).then(|| (Some(first + differs as u64), what()))
    }

    /// Checks the tiles above the leaves, and that none is missing.
    pub(super) fn check_upper(&mut self, directory: &LogDirectory) -> Vec<Wrong> {
        let mut wrong: Vec<Wrong> = std::mem::take(&mut self.strange)
            .into_iter()
            .map(|name| (None, format!("`{name}` is no file of a log")))
            .collect();
        for tile in std::mem::take(&mut self.upper) {
            let level = usize::from(tile.level());
            let hashes = self.levels.get(level - 1).cloned().unwrap_or_default();
            let start = usize::try_from(tile.index()).unwrap_or(usize::MAX);
            let start = start.saturating_mul(HASH * usize::from(TILE_WIDTH));
            let hashes = hashes.get(start..).unwrap_or_default();
            if hashes.is_empty() {
                self.beyond += 1;
                continue;
            }
            // How many leaves one hash of this level covers.
            let span = u64::from(TILE_WIDTH).saturating_pow(u32::from(tile.level()));
            let first = tile.index() * u64::from(TILE_WIDTH);
            let covers = move |at: usize| (first + at as u64).saturating_mul(span);
            wrong.extend(self.check_tile(directory, tile, hashes, covers));
        }
        for tile in tiles_between(TreeSize::new(0), self.size).filter(|tile| tile.level() > 0) {
            if let Err(error) = directory.tile(tile) {
                wrong.push((None, error.to_string()));
            }
        }
        wrong
    }
}
