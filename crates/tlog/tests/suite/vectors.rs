//! Known answers: the roots of RFC 6962's test tree, and the proofs of transparency-dev/merkle.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::naive_root;
use serde::Deserialize;
use tlog::{
    ConsistencyProof, Hash, HashTextError, InclusionProof, LeafHash, LeafIndex, Tree, TreeSize,
    empty_root, leaf_hash, verify_consistency, verify_inclusion,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Inclusion {
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    desc: String,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Consistency {
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Option<Vec<String>>,
    desc: String,
    want_err: bool,
}

fn hashes(proof: Option<&Vec<String>>) -> Result<Vec<Hash>, HashTextError> {
    proof.into_iter().flatten().map(|hash| hash.parse()).collect()
}

/// Says whether the proof is accepted, and whether it should be.
fn inclusion(json: &str) -> (String, bool, bool) {
    let case: Inclusion = serde_json::from_str(json).expect("a vector");
    let verified = || {
        let leaf: Hash = case.leaf_hash.parse().ok()?;
        let proof = InclusionProof(hashes(case.proof.as_ref()).ok()?);
        let (index, size) = (LeafIndex::new(case.leaf_idx), TreeSize::new(case.tree_size));
        let leaf = LeafHash::from_bytes(*leaf.as_bytes());
        verify_inclusion(leaf, index, size, &proof, case.root.parse().ok()?).ok()
    };
    (case.desc.clone(), verified().is_some(), !case.want_err)
}

fn consistency(json: &str) -> (String, bool, bool) {
    let case: Consistency = serde_json::from_str(json).expect("a vector");
    let verified = || {
        let proof = ConsistencyProof(hashes(case.proof.as_ref()).ok()?);
        let (old_root, new_root) = (case.root1.parse().ok()?, case.root2.parse().ok()?);
        let (old, new) = (TreeSize::new(case.size1), TreeSize::new(case.size2));
        verify_consistency(old, old_root, new, new_root, &proof).ok()
    };
    (case.desc.clone(), verified().is_some(), !case.want_err)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[track_caller]
fn check(kind: &str, verdict: fn(&str) -> (String, bool, bool), expected_files: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/merkle").join(kind);
    let files = files(&folder);
    assert_eq!(files.len(), expected_files);
    for file in files {
        let (description, accepted, expected) = verdict(&fs::read_to_string(&file).expect("text"));
        assert_eq!(accepted, expected, "{}: {description}", file.display());
    }
}

#[test]
fn inclusion_proofs_of_another_implementation() {
    check("inclusion", inclusion, 86);
}

#[test]
fn consistency_proofs_of_another_implementation() {
    check("consistency", consistency, 84);
}

fn unhex(text: &str) -> Hash {
    let byte = |at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hexadecimal");
    Hash::from_bytes(std::array::from_fn(byte))
}

#[test]
fn the_roots_of_the_certificate_transparency_test_tree() {
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let mut tree = Tree::new();
    assert_eq!(tree.root(), empty_root());
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(tree.root(), unhex(root), "size {size}");
        assert_eq!(naive_root(&leaves[..size]), unhex(root), "size {size}");
        tree.extend(leaves.get(size).copied());
    }
}

#[test]
fn a_tree_resumes_from_its_peaks() {
    let leaves = crate::support::leaves(45);
    let mut tree = Tree::new();
    tree.extend(leaves[..37].iter().copied());
    let mut resumed = Tree::from_peaks(tree.size(), tree.peaks().to_vec()).expect("its peaks");
    resumed.extend(leaves[37..].iter().copied());
    assert_eq!(resumed.root(), naive_root(&leaves));
    assert!(Tree::from_peaks(TreeSize::new(36), tree.peaks().to_vec()).is_err());
}
