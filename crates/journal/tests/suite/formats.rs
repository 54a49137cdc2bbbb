//! `docs/formats.md` is true: each of its vectors is read from the page and computed again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use journal::{LogDirectory, anchor_entry};
use keys::SealingKey;
use model::record::{Commitments, DecisionRecord, Disclosure, Record as _};
use model::{Commitment, Salts, Sha256Digest};
use tlog::note::VerifierKey;
use tlog::{
    Checkpoint, Entry, EntryBundle, LeafIndex, TlogProof, Tree, Trust, inclusion_proof, leaf_hash,
};

use super::support::{Log, decision, facts, founding};

const MARK: &str = "<!-- golden: ";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats.md")
}

/// The blocks of the page by name.
fn golden(page: &str) -> BTreeMap<String, String> {
    let blocks = page.split(MARK).skip(1).map(|rest| {
        let (name, rest) = rest.split_once(" -->\n").expect("a mark ends its line");
        let block = rest.strip_prefix("```text\n").and_then(|rest| rest.split_once("\n```\n"));
        (name.to_owned(), block.map(|(block, _)| block.to_owned()).unwrap_or_default())
    });
    blocks.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a client answered, which went to the server with the call of the third record.
fn input_responses() -> Vec<u8> {
    let answer = serde_json::json!({ "action": "accept", "content": { "city": "Bern" } });
    json::canonical(&serde_json::json!({ "city": answer }))
}

fn disclosure() -> (Disclosure, Commitments) {
    let mut disclosure = Disclosure::new([7; 32]);
    let mut commitments = Commitments::new();
    let arguments = serde_json::json!({ "amount": 5, "customer": "Bob" });
    let responses = Sha256Digest::of(&input_responses()).to_string();
    for (member, value) in [
        ("arguments", arguments),
        ("input_responses", responses.into()),
        ("sponsor", "alice".into()),
    ] {
        commitments.insert(member.to_owned(), disclosure.commit(member, &value));
    }
    (disclosure, commitments)
}

/// What the code says should stand on the page.
async fn computed() -> BTreeMap<&'static str, String> {
    let (disclosure, commitments) = disclosure();
    let decision =
        DecisionRecord { commitments: commitments.clone().try_into().unwrap(), ..decision(1) };
    let records = [
        founding().to_canonical_bytes(),
        facts().to_canonical_bytes(),
        decision.to_canonical_bytes(),
    ];
    let log = Log::of(&records).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let lines = |lines: Vec<String>| lines.join("\n");
    let members = decision.commitments.iter().map(|(member, commitment)| {
        let salt = Salts::from_seed([7; 32]).of(member);
        let salt = serde_json::to_value(salt).unwrap();
        format!("{member} {} {}", salt.as_str().unwrap(), text_of(commitment))
    });
    let disclosed = disclosure.to_canonical_bytes();
    let sealed = SealingKey::from_bytes([9; 32]).seal(&disclosed, b"datakey/alice", [1; 12]);
    let checkpoint = log.read("checkpoint");
    let (tile, bundle) = (log.read("tile/0/000.p/3"), log.read("tile/entries/000.p/3"));
    let opened = Checkpoint::open(&checkpoint, &log.key.verifier).unwrap();
    let directory = LogDirectory::new(log.path());
    let index = LeafIndex::new(2);
    let proof = TlogProof {
        extra: None,
        index,
        inclusion: inclusion_proof(&|tile| directory.tile(tile), index, opened.size()).unwrap(),
        checkpoint: tlog::note::SignedNote::parse(&checkpoint).unwrap(),
    };
    let bundled = Sha256Digest::of(&bundle);
    let responses = input_responses();
    let answered = Sha256Digest::of(&responses).to_string();
    BTreeMap::from([
        ("leaves", lines(records.iter().map(|r| hex(leaf_hash(r).as_bytes())).collect())),
        ("records", lines(records.into_iter().map(text).collect())),
        ("input_responses", lines(vec![text(responses), answered])),
        ("disclosure", text(disclosed)),
        ("commitments", lines(members.collect())),
        ("sealed", lines(sealed.chunks(48).map(hex).collect())),
        ("verifier", log.key.verifier.to_string()),
        ("checkpoint", text(checkpoint.clone()).trim_end().to_owned()),
        ("tile", lines(tile.chunks(32).map(hex).collect())),
        ("bundle", format!("{bundled} {}", hex(&bundle[..4]))),
        ("proof", proof.to_string().trim_end().to_owned()),
        ("anchor", text(anchor_entry(&checkpoint)).trim_end().to_owned()),
    ])
}

fn text_of(commitment: &Commitment) -> String {
    serde_json::to_value(commitment).unwrap().as_str().unwrap().to_owned()
}

/// With `UPDATE_EXPECT` set, writes the blocks into the page instead, as for other snapshots.
#[tokio::test]
async fn i_16_the_page_of_formats_says_what_the_code_does() {
    let text = std::fs::read_to_string(page()).unwrap();
    let (found, computed) = (golden(&text), computed().await);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let mut parts = text.split(MARK);
        let mut new = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once(" -->\n").unwrap();
            let rest = rest
                .strip_prefix("```text\n")
                .map_or(rest, |old| old.split_once("\n```\n").unwrap().1);
            let _ = write!(new, "{MARK}{name} -->\n```text\n{}\n```\n{rest}", computed[name]);
        }
        return std::fs::write(page(), new).unwrap();
    }
    assert_eq!(found.len(), computed.len());
    for (name, block) in computed {
        assert_eq!(found[name], block, "`{name}` in docs/formats.md");
    }
}

/// From the page alone, as somebody would who writes a verifier.
#[test]
fn the_vectors_of_the_page_belong_together() {
    let page = golden(&std::fs::read_to_string(page()).unwrap());
    let block = |name: &str| page[name].as_str();
    let records: Vec<_> = block("records").lines().collect();
    let mut tree = Tree::new();
    for (record, leaf) in records.iter().zip(block("leaves").lines()) {
        let value: serde_json::Value = serde_json::from_str(record).unwrap();
        assert_eq!(json::canonical(&value), record.as_bytes());
        assert_eq!(hex(leaf_hash(record.as_bytes()).as_bytes()), leaf);
        tree.push(leaf_hash(record.as_bytes()));
    }
    assert_eq!(block("tile"), block("leaves"));

    let disclosure: Disclosure = serde_json::from_str(block("disclosure")).unwrap();
    let third: DecisionRecord = serde_json::from_str(records[2]).unwrap();
    assert_eq!(disclosure.mismatch(&third.commitments), None);
    let (responses, answered) = block("input_responses").split_once('\n').unwrap();
    assert_eq!(Sha256Digest::of(responses.as_bytes()).to_string(), answered);
    assert_eq!(disclosure.value("input_responses").unwrap(), answered);
    assert_eq!(block("commitments").lines().count(), third.commitments.len());
    for line in block("commitments").lines() {
        let [member, salt, commitment] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let salt: model::Salt = serde_json::from_value(salt.into()).unwrap();
        let value = json::canonical(disclosure.value(member).unwrap());
        assert_eq!(text_of(&Commitment::to(&salt, &value)), commitment);
        assert_eq!(text_of(&third.commitments[member]), commitment);
    }
    let sealed: String = block("sealed").split_whitespace().collect();
    let sealed: Vec<_> = sealed
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let opened = SealingKey::from_bytes([9; 32]).open(&sealed, b"datakey/alice").unwrap();
    assert_eq!(opened, block("disclosure").as_bytes());

    let verifier: VerifierKey = block("verifier").parse().unwrap();
    let note = format!("{}\n", block("checkpoint"));
    let checkpoint = Checkpoint::open(note.as_bytes(), &verifier).unwrap();
    assert_eq!((checkpoint.size(), checkpoint.root()), (tree.size(), tree.root()));
    let entries: Vec<_> =
        records.iter().map(|record| Entry::new(record.as_bytes().to_vec()).unwrap()).collect();
    let bundle = EntryBundle::encode(&entries);
    let digest = Sha256Digest::of(&bundle);
    assert_eq!(block("bundle"), format!("{digest} {}", hex(&bundle[..4])));
    let proof = TlogProof::parse(format!("{}\n", block("proof")).as_bytes()).unwrap();
    let trust = Trust { log: &verifier, witnesses: &[], quorum: 0 };
    assert_eq!(proof.verify(records[2].as_bytes(), trust).unwrap().index.get(), 2);
    let anchor = String::from_utf8(anchor_entry(note.as_bytes())).unwrap();
    assert_eq!(block("anchor"), anchor.trim_end());
}
