//! Drives every parser with mutated bytes: none panics, and what is accepted is written back as it
//! was read.

use crate::support::{Published, Signer, checkpoint, entry, leaves, next};
use tlog::note::{SignedNote, VerifierKey};
use tlog::{Checkpoint, Entry, EntryBundle, LeafIndex, Tile, TlogProof, Trust, inclusion_proof};

const ROUNDS: u32 = 20_000;

const SPLICES: &[&str] = &[
    "\n",
    "\n\n",
    " ",
    "— ",
    "—",
    "+",
    "=",
    "0",
    "A",
    "/",
    "x",
    ".p/",
    "\0",
    "\r",
    "index ",
    "extra ",
    "9999999999999999999",
    "tile/",
    "é",
    "\u{2028}",
];

fn mutate(bytes: &mut Vec<u8>, state: &mut u64) {
    let at = next(state) % (bytes.len() + 1);
    match next(state) % 5 {
        0 => bytes.truncate(at),
        1 => drop(bytes.splice(at..at, SPLICES[next(state) % SPLICES.len()].bytes())),
        2 if at < bytes.len() => bytes[at] ^= 1 << (next(state) % 8),
        3 if at < bytes.len() => drop(bytes.remove(at)),
        _ => {
            let end = (at + next(state) % 16).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, piece));
        }
    }
}

/// Drives `parse`, which says whether it accepted, and panics if it wrote back something else.
#[track_caller]
fn check(corpus: &[Vec<u8>], parse: fn(&[u8]) -> bool) {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    assert!(corpus.iter().all(|bytes| parse(bytes)), "the corpus itself is accepted");
    let mut refused = 0;
    for round in 0..ROUNDS {
        let mut bytes = corpus[round as usize % corpus.len()].clone();
        for _ in 0..=next(&mut state) % 3 {
            mutate(&mut bytes, &mut state);
        }
        refused += u32::from(!parse(&bytes));
    }
    assert!(refused > ROUNDS / 20, "the mutations matter: {refused}");
}

fn note() -> SignedNote {
    checkpoint(&leaves(9)).sign(&Signer::log()).expect("signed")
}

#[test]
fn mutated_notes_are_refused_or_written_back() {
    check(&[note().to_string().into_bytes()], |bytes| {
        let Ok(note) = SignedNote::parse(bytes) else { return false };
        assert_eq!(note.to_string().as_bytes(), bytes);
        true
    });
}

#[test]
fn mutated_checkpoints_do_not_open() {
    check(&[note().to_string().into_bytes()], |bytes| {
        let opened = Checkpoint::open(bytes, &Signer::log().key);
        // Unknown signatures may be added; nothing else.
        opened.is_ok_and(|opened| opened == checkpoint(&leaves(9)))
    });
}

#[test]
fn mutated_checkpoint_texts_are_refused_or_written_back() {
    let text = checkpoint(&leaves(9)).to_string() + "extension\n";
    check(&[text.into_bytes()], |bytes| {
        let text = std::str::from_utf8(bytes);
        let Some(Ok(checkpoint)) = text.ok().map(str::parse::<Checkpoint>) else { return false };
        assert_eq!(checkpoint.to_string().as_bytes(), bytes);
        true
    });
}

#[test]
fn mutated_verifier_keys_are_refused_or_written_back() {
    check(&[Signer::log().key.to_string().into_bytes()], |bytes| {
        let text = std::str::from_utf8(bytes);
        let Some(Ok(key)) = text.ok().map(str::parse::<VerifierKey>) else { return false };
        assert_eq!(key.to_string().as_bytes(), bytes);
        true
    });
}

#[test]
fn mutated_paths_are_refused_or_written_back() {
    let corpus = ["tile/0/x001/x234/067.p/12", "tile/1/000", "tile/7/000.p/127"];
    check(&corpus.map(|path| path.as_bytes().to_vec()), |bytes| {
        let Ok(path) = std::str::from_utf8(bytes) else { return false };
        let Ok(tile) = Tile::from_path(path) else { return false };
        assert_eq!(tile.to_string(), path);
        true
    });
    let corpus = ["tile/entries/x001/x234/067.p/12", "tile/entries/000"];
    check(&corpus.map(|path| path.as_bytes().to_vec()), |bytes| {
        let Ok(path) = std::str::from_utf8(bytes) else { return false };
        let Ok(bundle) = EntryBundle::from_path(path) else { return false };
        assert_eq!(bundle.to_string(), path);
        true
    });
}

#[test]
fn mutated_bundles_are_refused_or_written_back() {
    let entries: Vec<_> = (0..5).map(|at| Entry::new(entry(at)).expect("small")).collect();
    check(&[EntryBundle::encode(&entries)], |bytes| {
        let bundle = EntryBundle::new(0, 5).expect("a bundle");
        let Ok(entries) = bundle.decode(bytes) else { return false };
        assert_eq!(EntryBundle::encode(&entries), bytes);
        true
    });
}

#[test]
fn mutated_proof_files_are_refused_written_back_and_never_show_another_entry() {
    let leaves = leaves(9);
    let index = LeafIndex::new(4);
    let checkpoint = note();
    let size = crate::support::checkpoint(&leaves).size();
    let inclusion = inclusion_proof(&Published::of(&leaves), index, size).expect("a proof");
    let extra = Some(b"extra".to_vec());
    let file = TlogProof { extra, index, inclusion, checkpoint }.to_string();
    check(&[file.into_bytes()], |bytes| {
        let Ok(proof) = TlogProof::parse(bytes) else { return false };
        assert_eq!(proof.to_string().as_bytes(), bytes);
        let trust = Trust { log: &Signer::log().key, witnesses: &[], quorum: 0 };
        assert!(proof.verify(&entry(5), trust).is_err());
        proof.verify(&entry(4), trust).is_ok_and(|included| included.index == LeafIndex::new(4))
    });
}
