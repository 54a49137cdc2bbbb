//! Tiles and bundles: their names, which there are, what is in them.

use std::convert::Infallible;

use crate::support::{Published, entry, leaves, naive_root};
use expect_test::{Expect, expect};
use tlog::{
    BundleError, Entry, EntryBundle, LeafIndex, MAX_ENTRY_BYTES, MAX_LEVEL, TILE_WIDTH, Tile,
    TileReadError, TiledTree, TreeSize, bundles_between, tiles_between,
};

#[track_caller]
fn check_path(level: u8, index: u64, width: u16, path: &str) {
    let tile = Tile::new(level, index, width).expect("a tile");
    assert_eq!(tile.to_string(), path);
    assert_eq!(Tile::from_path(path), Ok(tile));
}

#[test]
fn the_paths_of_c2sp() {
    check_path(0, 0, 256, "tile/0/000");
    check_path(0, 1_234_067, 256, "tile/0/x001/x234/067");
    check_path(0, 1_234_067, 12, "tile/0/x001/x234/067.p/12");
    check_path(1, 999, 1, "tile/1/999.p/1");
    check_path(2, 1_000, 255, "tile/2/x001/000.p/255");
    check_path(7, 0, 127, "tile/7/000.p/127");
    let bundle = EntryBundle::new(1_234_067, 8).expect("a bundle");
    assert_eq!(bundle.to_string(), "tile/entries/x001/x234/067.p/8");
    assert_eq!(EntryBundle::from_path(&bundle.to_string()), Ok(bundle));
    assert_eq!(bundle.first(), LeafIndex::new(315_921_152));
}

#[test]
fn other_spellings_of_paths_are_refused() {
    for path in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/0",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/x000/001",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/1/",
        "tile/0/00a",
        "tile/0/+01",
        "tile/0/000.p/1.p/1",
        "tile/0/../000",
        "tile/0/X001/000",
        "tile/0/٠٠٠",
        "tile/7/001",
        "tile/entries/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert!(Tile::from_path(path).is_err(), "{path}");
    }
    for path in ["tile/entries/", "tile/entries/0", "tile/0/000", "entries/000"] {
        assert!(EntryBundle::from_path(path).is_err(), "{path}");
    }
    assert!(Tile::from_path(&format!("tile/0/{}000", "x000/".repeat(1000))).is_err());
}

#[test]
fn a_tile_has_a_least_and_a_greatest_width_index_and_level() {
    assert!(Tile::new(0, 0, 0).is_none());
    assert!(Tile::new(0, 0, TILE_WIDTH).is_some());
    assert!(Tile::new(0, 0, TILE_WIDTH + 1).is_none());
    assert!(Tile::new(MAX_LEVEL, 0, 1).is_some());
    assert!(Tile::new(MAX_LEVEL, 1, 1).is_none());
    assert!(Tile::new(MAX_LEVEL + 1, 0, 1).is_none());
    assert!(Tile::new(0, u64::MAX >> 8, 1).is_some());
    assert!(Tile::new(0, (u64::MAX >> 8) + 1, 1).is_none());
}

#[expect(clippy::needless_pass_by_value, reason = "`expect!` is written in place")]
#[track_caller]
fn check_between(old: u64, new: u64, expected: Expect) {
    let (old, new) = (TreeSize::new(old), TreeSize::new(new));
    let tiles = tiles_between(old, new).map(|tile| tile.to_string());
    let bundles = bundles_between(old, new).map(|bundle| bundle.to_string());
    expected.assert_eq(&tiles.chain(bundles).collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_to_publish_between_two_sizes() {
    check_between(0, 0, expect![""]);
    check_between(5, 5, expect![""]);
    check_between(
        0,
        1,
        expect![[r"
        tile/0/000.p/1
        tile/entries/000.p/1"]],
    );
    check_between(
        255,
        256,
        expect![[r"
        tile/0/000
        tile/1/000.p/1
        tile/entries/000"]],
    );
    check_between(
        256,
        300,
        expect![[r"
        tile/0/001.p/44
        tile/entries/001.p/44"]],
    );
    check_between(
        69_800,
        70_000,
        expect![[r"
            tile/0/272
            tile/0/273.p/112
            tile/1/001.p/17
            tile/entries/272
            tile/entries/273.p/112"]],
    );
}

#[test]
fn the_tree_of_70_000_leaves_has_the_tiles_that_c2sp_counts() {
    let tiles: Vec<_> = tiles_between(TreeSize::new(0), TreeSize::new(70_000)).collect();
    let full = |level| tiles.iter().filter(|tile| tile.level() == level && tile.is_full()).count();
    assert_eq!((full(0), full(1), full(2)), (273, 1, 0));
    let partial = tiles.iter().filter(|tile| !tile.is_full()).map(ToString::to_string);
    let partial: Vec<_> = partial.collect();
    assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
}

#[test]
fn a_growing_tree_publishes_what_is_new_and_nothing_else() {
    let leaves = leaves(70_000);
    let mut tree = TiledTree::new();
    let mut sizes =
        vec![0, 1, 2, 255, 256, 257, 511, 512, 1_000, 1_000, 65_535, 65_536, 65_537, 70_000];
    sizes.dedup_by(|a, b| a == b && *a != 1_000);
    for pair in sizes.windows(2) {
        let new = tree.extend(leaves[pair[0]..pair[1]].iter().copied());
        let mut named: Vec<_> = new.iter().map(|new| new.tile).collect();
        named.sort_unstable();
        let between = tiles_between(TreeSize::new(pair[0] as u64), tree.size());
        assert_eq!(named, between.collect::<Vec<_>>(), "{pair:?}");
        assert!(new.iter().all(|new| new.bytes.len() == new.tile.byte_len()));
        assert_eq!(tree.root(), naive_root(&leaves[..pair[1]]));
    }
}

#[test]
fn a_tree_loads_from_its_tiles_and_grows_on() {
    let leaves = leaves(66_000);
    let root = naive_root(&leaves);
    for size in [0, 1, 3, 255, 256, 257, 300, 65_536, 65_791, 65_792, 65_793] {
        let (published, grown) = Published::growing(&leaves, &[size]);
        let mut loaded = TiledTree::load(grown.size(), &published).expect("published");
        assert_eq!(loaded, grown);
        loaded.extend(leaves[size..].iter().copied());
        assert_eq!(loaded.root(), root);
    }
}

#[test]
fn a_full_tile_stands_in_for_a_partial_one_that_is_gone() {
    let leaves = leaves(600);
    let (mut published, _) = Published::growing(&leaves, &[300, 600]);
    let partial = Tile::new(0, 1, 44).expect("a tile");
    assert!(published.0.remove(&partial).is_some());
    let loaded = TiledTree::load(TreeSize::new(300), &published).expect("published");
    assert_eq!(loaded.root(), naive_root(&leaves[..300]));
}

#[test]
fn a_tile_of_another_length_is_refused() {
    let short = |tile: Tile| Ok::<_, Infallible>(vec![0; tile.byte_len() - 1]);
    let refused = TiledTree::load(TreeSize::new(5), &short).expect_err("refused");
    assert!(matches!(refused, TileReadError::WrongLength { bytes: 159, .. }));
    assert_eq!(refused.to_string(), "`tile/0/000.p/5` has 159 bytes instead of 160");
}

#[test]
fn a_full_tile_hashes_to_the_tile_above() {
    let leaves = leaves(256);
    let published = Published::of(&leaves);
    let tile = Tile::new(0, 0, 256).expect("a tile");
    assert_eq!(tile.root(&published.0[&tile]), Some(naive_root(&leaves)));
    assert_eq!(tile.root(&[0; 31]), None);
}

fn entries(count: u64) -> Vec<Entry> {
    (0..count).map(|index| Entry::new(entry(index)).expect("small")).collect()
}

#[test]
fn a_bundle_gives_back_its_entries() {
    let entries = entries(256);
    for width in [1, 2, 255, 256] {
        let bytes = EntryBundle::encode(&entries[..width.into()]);
        let bundle = EntryBundle::new(0, width).expect("a bundle");
        assert_eq!(bundle.decode(&bytes).expect("decoded"), entries[..width.into()]);
    }
    let empty = Entry::new(Vec::new()).expect("small");
    assert_eq!(EntryBundle::encode([&empty]), [0, 0]);
    assert_eq!(EntryBundle::new(0, 1).expect("a bundle").decode(&[0, 0]), Ok(vec![empty]));
}

#[test]
fn a_bundle_that_is_not_what_it_should_be_is_refused() {
    let bytes = EntryBundle::encode(&entries(3));
    let decode = |width, bytes: &[u8]| EntryBundle::new(0, width).expect("a bundle").decode(bytes);
    assert_eq!(decode(2, &bytes), Err(BundleError::WrongCount { expected: 2 }));
    assert_eq!(decode(4, &bytes), Err(BundleError::WrongCount { expected: 4 }));
    assert_eq!(decode(3, &bytes[..bytes.len() - 1]), Err(BundleError::CutShort));
    assert_eq!(decode(3, &[bytes.as_slice(), &[0]].concat()), Err(BundleError::CutShort));
    assert_eq!(decode(1, &[]), Err(BundleError::WrongCount { expected: 1 }));
    let too_large = [&[0x40, 0x01], vec![0; MAX_ENTRY_BYTES + 1].as_slice()].concat();
    assert!(matches!(decode(1, &too_large), Err(BundleError::EntryTooLarge(_))));
}

#[test]
fn the_bundle_of_an_entry_is_as_wide_as_the_log() {
    let holding = |size, index| EntryBundle::holding(TreeSize::new(size), LeafIndex::new(index));
    assert_eq!(holding(300, 0), EntryBundle::new(0, 256));
    assert_eq!(holding(300, 299), EntryBundle::new(1, 44));
    assert_eq!(holding(300, 300), None);
}

#[test]
fn an_entry_has_a_greatest_size() {
    assert!(Entry::new(vec![0; MAX_ENTRY_BYTES]).is_ok());
    let refused = Entry::new(vec![0; MAX_ENTRY_BYTES + 1]).expect_err("refused");
    assert_eq!(refused.to_string(), "an entry of 16385 bytes is larger than 16384");
}
