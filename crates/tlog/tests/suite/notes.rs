//! Notes, keys, checkpoints and proof files, as text.

use crate::support::{ORIGIN, Published, Signer, checkpoint, entry, leaves};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use expect_test::{Expect, expect};
use tlog::note::{
    Algorithm, Attested, MAX_NOTE_BYTES, MAX_SIGNATURES, Name, NoteError, SignedNote, TextError,
    VerifierKey,
};
use tlog::{Checkpoint, Included, LeafIndex, TlogProof, TlogProofError, Trust, inclusion_proof};

/// Signs as a witness does (tlog-cosignature v1); gives the signature line.
fn cosign(witness: &Signer, time: u64, text: &str) -> String {
    let signed = format!("cosignature/v1\ntime {time}\n{text}");
    let signature = witness.sign_bytes(signed.as_bytes());
    let bytes = [witness.key.id().as_bytes(), &time.to_be_bytes(), &signature].concat();
    format!("— {} {}\n", witness.key.name(), STANDARD.encode(bytes))
}

fn signed(leaf_count: u64) -> String {
    checkpoint(&leaves(leaf_count)).sign(&Signer::log()).expect("signed").to_string()
}

#[test]
fn the_golden_checkpoint() {
    expect![[r"
        chancery.example/log
        3
        lPvQ3YNvUDAWkubQ6t5yjuGexSv/8WBu2AfIV11aqhk=

        — chancery.example/log l5AvgoMBedW65ZC+dIr+3qLpRkaMYmqbvqK75jN9Ou/74jJef8qx7hRdNK0Syxw5WoOPsfMhBRAgryRDhQ6VyKrcygY=
    "]]
    .assert_eq(&signed(3));
    expect!["chancery.example/log+97902f82+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"]
        .assert_eq(&Signer::log().key.to_string());
}

#[test]
fn a_checkpoint_opens_with_the_key_of_its_log() {
    let opened = Checkpoint::open(signed(3).as_bytes(), &Signer::log().key).expect("opened");
    assert_eq!(opened, checkpoint(&leaves(3)));
    let empty = Checkpoint::open(signed(0).as_bytes(), &Signer::log().key).expect("opened");
    assert_eq!(empty.size().get(), 0);
}

#[expect(clippy::needless_pass_by_value, reason = "`expect!` is written in place")]
#[track_caller]
fn check_open(note: &str, key: &VerifierKey, expected: Expect) {
    let refused = Checkpoint::open(note.as_bytes(), key).expect_err("refused");
    expected.assert_eq(&refused.to_string());
}

#[test]
fn a_checkpoint_of_another_log_or_key_is_refused() {
    let other_key = Signer::new(ORIGIN, Algorithm::Ed25519, 8);
    check_open(
        &signed(3),
        &other_key.key,
        expect!["the checkpoint is not signed by `chancery.example/log`"],
    );

    let other_log = Signer::new("other.example", Algorithm::Ed25519, 7);
    check_open(
        &signed(3),
        &other_log.key,
        expect!["the checkpoint is of log `chancery.example/log`, not of `other.example`"],
    );

    let by_another = checkpoint(&leaves(3)).sign(&other_log).expect("signed").to_string();
    check_open(
        &by_another,
        &other_log.key,
        expect!["the checkpoint is of log `chancery.example/log`, not of `other.example`"],
    );

    let wrong = signed(3).replacen("\n3\n", "\n4\n", 1);
    check_open(
        &wrong,
        &Signer::log().key,
        expect!["the signature of `chancery.example/log` is wrong"],
    );
}

#[expect(clippy::needless_pass_by_value, reason = "`expect!` is written in place")]
#[track_caller]
fn check_text(text: &str, expected: Expect) {
    let answer = match text.parse::<Checkpoint>() {
        Ok(checkpoint) => format!("accepted: {}", checkpoint.extensions().join(",")),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&answer);
}

#[test]
fn checkpoint_text_has_one_form() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    check_text(&format!("a.example/log\n20852163\n{root}\n"), expect!["accepted: "]);
    check_text(&format!("a\n1\n{root}\nx\ny z\n"), expect!["accepted: x,y z"]);
    let cut = expect!["a checkpoint has at least three lines, each ended"];
    check_text("", cut);
    check_text(
        &format!("a\n1\n{root}"),
        expect!["a checkpoint has at least three lines, each ended"],
    );
    check_text("a\n1\n", expect!["a checkpoint has at least three lines, each ended"]);
    check_text(
        &format!("\n1\n{root}\n"),
        expect!["the first line of the checkpoint is not the name of a log"],
    );
    check_text(
        &format!("a b\n1\n{root}\n"),
        expect!["the first line of the checkpoint is not the name of a log"],
    );
    check_text(
        &format!("a\n01\n{root}\n"),
        expect!["the second line of the checkpoint is not a size"],
    );
    check_text(
        &format!("a\n-1\n{root}\n"),
        expect!["the second line of the checkpoint is not a size"],
    );
    check_text(
        &format!("a\n9223372036854775808\n{root}\n"),
        expect!["the second line of the checkpoint is not a size"],
    );
    check_text(
        &format!("a\n0\n{root}\n"),
        expect!["the third line of the checkpoint is not a root of that size"],
    );
    check_text(
        "a\n1\nAAAA\n",
        expect!["the third line of the checkpoint is not a root of that size"],
    );
    check_text(
        &format!("a\n1\n{}\n", root.replace("2I=", "2J=")),
        expect!["the third line of the checkpoint is not a root of that size"],
    );
    check_text(
        &format!("a\n1\n{root}\n\n"),
        expect!["a checkpoint has at most 16 further lines, none of them empty"],
    );
    check_text(
        &format!("a\n1\n{root}\n{}", "x\n".repeat(17)),
        expect!["a checkpoint has at most 16 further lines, none of them empty"],
    );
    assert!(format!("a\n1\n{root}\n{}", "x\n".repeat(16)).parse::<Checkpoint>().is_ok());
}

#[test]
fn a_note_is_written_back_byte_for_byte() {
    let witness = Signer::new("witness.example/w1", Algorithm::Cosignature, 9);
    let note = signed(3);
    let text = SignedNote::parse(note.as_bytes()).expect("a note").text().to_owned();
    let note = note + &cosign(&witness, 1_679_315_147, &text);
    let parsed = SignedNote::parse(note.as_bytes()).expect("a note");
    assert_eq!(parsed.to_string(), note);
    assert_eq!(parsed.signed_by(&Signer::log().key), Ok(Some(Attested { at: None })));
    assert_eq!(parsed.signed_by(&witness.key), Ok(Some(Attested { at: Some(1_679_315_147) })));
    let stranger = Signer::new("witness.example/w2", Algorithm::Cosignature, 10);
    assert_eq!(parsed.signed_by(&stranger.key), Ok(None));
}

#[test]
fn a_plain_signature_is_no_cosignature_and_the_other_way_round() {
    let plain = Signer::new("k", Algorithm::Ed25519, 1);
    let witness = Signer::new("k", Algorithm::Cosignature, 1);
    assert_ne!(plain.key.id(), witness.key.id());
    let relabelled = |line_of: &Signer, time: Option<u64>, key: &VerifierKey| {
        let signature = line_of.sign_bytes(b"text\n");
        let time = time.map_or(Vec::new(), |time| time.to_be_bytes().to_vec());
        let bytes = [key.id().as_bytes(), &time, &signature].concat();
        let note = format!("text\n\n— k {}\n", STANDARD.encode(bytes));
        SignedNote::parse(note.as_bytes()).expect("a note").signed_by(key)
    };
    assert!(relabelled(&plain, None, &plain.key).expect("valid").is_some());
    assert!(relabelled(&plain, None, &witness.key).is_err());
    assert!(relabelled(&plain, Some(5), &witness.key).is_err());
    assert!(relabelled(&plain, Some(5), &plain.key).is_err());
}

#[track_caller]
fn check_note(note: impl AsRef<[u8]>, expected: NoteError) {
    assert_eq!(SignedNote::parse(note.as_ref()), Err(expected));
}

#[test]
fn malformed_notes_are_refused() {
    let line = |line| NoteError::MalformedSignature { line };
    check_note("", NoteError::Unsigned);
    check_note("text\n", NoteError::Unsigned);
    check_note("text\n\n", NoteError::Unsigned);
    check_note("text\n— k AAAAAAA=\n", NoteError::Unsigned);
    check_note("text\n\n- k AAAAAAA=\n", line(1));
    check_note("text\n\n— k AAAAAAA=", line(1));
    check_note("text\n\n— k AAAAAA==\n", line(1));
    check_note("text\n\n— k AAAAAAB=\n", line(1));
    check_note("text\n\n— k AAAAAAA\n", line(1));
    check_note("text\n\n—  AAAAAAA=\n", line(1));
    check_note("text\n\n— k  AAAAAAA=\n", line(1));
    check_note("text\n\n— a+b AAAAAAA=\n", line(1));
    check_note("text\n\n— k AAAAAAA=\nmore\n", line(2));
    check_note("te\rxt\n\n— k AAAAAAA=\n", NoteError::NotText);
    check_note("te\0xt\n\n— k AAAAAAA=\n", NoteError::NotText);
    check_note(b"te\xffxt\n\n", NoteError::NotText);
    check_note(vec![b'a'; MAX_NOTE_BYTES + 1], NoteError::TooLarge);
    check_note(vec![b'a'; MAX_NOTE_BYTES], NoteError::Unsigned);
    let lines = |count| format!("text\n\n{}", "— k AAAAAAA=\n".repeat(count));
    assert!(SignedNote::parse(lines(MAX_SIGNATURES).as_bytes()).is_ok());
    check_note(lines(MAX_SIGNATURES + 1), NoteError::TooManySignatures);
}

#[test]
fn the_last_blank_line_divides_text_and_signatures() {
    let note = SignedNote::sign("one\n\ntwo\n", &Signer::log()).expect("signed");
    let parsed = SignedNote::parse(note.to_string().as_bytes()).expect("a note");
    assert_eq!(parsed.text(), "one\n\ntwo\n");
    assert!(parsed.signed_by(&Signer::log().key).expect("valid").is_some());
}

#[test]
fn only_plain_ended_text_is_signed() {
    let sign = |text: &str| SignedNote::sign(text, &Signer::log()).map(drop);
    assert_eq!(sign("text"), Err(TextError::NoFinalNewline));
    assert_eq!(sign("te\txt\n"), Err(TextError::ControlCharacter));
    assert_eq!(sign(&("a".repeat(MAX_NOTE_BYTES) + "\n")), Err(TextError::TooLarge));
    assert_eq!(sign("text\n"), Ok(()));
}

#[test]
fn a_verifier_key_has_one_text() {
    let key = Signer::log().key;
    assert_eq!(key.to_string().parse(), Ok(key.clone()));
    let text = key.to_string();
    let refused = |text: &str| text.parse::<VerifierKey>().expect_err("refused").to_string();
    let malformed = "not a verifier key: it should read `name+id+base64`";
    assert_eq!(refused(""), malformed);
    assert_eq!(refused("name+00000000"), malformed);
    assert_eq!(refused(&text[..text.len() - 4]), malformed);
    assert_eq!(
        refused(&text.replacen("chancery", "chancerx", 1)),
        "the id of the verifier key does not fit its name and key"
    );
    assert_eq!(refused("a+00000000+Av//"), "the verifier key is not of a kind that is supported");
    assert_eq!(
        refused(&text.replacen('/', " ", 1)),
        "the name of a log or key is 1 to 255 bytes without spaces and `+`"
    );
    assert!("x".repeat(255).parse::<Name>().is_ok());
    assert!("x".repeat(256).parse::<Name>().is_err());
}

/// A key published with the Go implementation of notes, and a note of it.
#[test]
fn a_note_of_another_implementation_verifies() {
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let note = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n\n\
                — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let note = SignedNote::parse(note.as_bytes()).expect("a note");
    let key = key.parse().expect("a key");
    assert_eq!(note.signed_by(&key), Ok(Some(Attested { at: None })));
}

struct Case {
    proof: TlogProof,
    witnesses: Vec<Signer>,
}

fn proof_with_witnesses() -> Case {
    let leaves = leaves(300);
    let checkpoint = checkpoint(&leaves);
    let witness = |name, seed| Signer::new(name, Algorithm::Cosignature, seed);
    let witnesses =
        vec![witness("w1.example", 21), witness("w2.example", 22), witness("w3.example", 23)];
    let mut note = checkpoint.sign(&Signer::log()).expect("signed").to_string();
    for witness in &witnesses[..2] {
        note += &cosign(witness, 1_800_000_000, &checkpoint.to_string());
    }
    let index = LeafIndex::new(200);
    let inclusion = inclusion_proof(&Published::of(&leaves), index, checkpoint.size());
    let proof = TlogProof {
        extra: None,
        index,
        inclusion: inclusion.expect("a proof"),
        checkpoint: SignedNote::parse(note.as_bytes()).expect("a note"),
    };
    Case { proof, witnesses }
}

#[test]
fn a_proof_file_shows_an_entry_with_a_quorum_of_witnesses() {
    let Case { proof, witnesses } = proof_with_witnesses();
    let log = Signer::log().key;
    let witnesses: Vec<_> = witnesses.into_iter().map(|witness| witness.key).collect();
    let verify = |entry: &[u8], quorum, witnesses: &[VerifierKey]| {
        let file = proof.to_string();
        let parsed = TlogProof::parse(file.as_bytes()).expect("a proof");
        assert_eq!(parsed.to_string(), file);
        parsed.verify(entry, Trust { log: &log, witnesses, quorum })
    };
    let expected = Included { index: LeafIndex::new(200), checkpoint: checkpoint(&leaves(300)) };
    assert_eq!(verify(&entry(200), 2, &witnesses), Ok(expected.clone()));
    assert_eq!(verify(&entry(200), 0, &[]), Ok(expected));
    let too_few = TlogProofError::TooFewWitnesses { found: 2, needed: 3 };
    assert_eq!(verify(&entry(200), 3, &witnesses), Err(too_few));
    let twice = [witnesses[0].clone(), witnesses[0].clone()];
    let one = TlogProofError::TooFewWitnesses { found: 1, needed: 2 };
    assert_eq!(verify(&entry(200), 2, &twice), Err(one));
    assert!(matches!(verify(&entry(201), 2, &witnesses), Err(TlogProofError::NotIncluded(_))));
}

#[test]
fn a_proof_file_carries_extra_bytes() {
    let Case { mut proof, .. } = proof_with_witnesses();
    proof.extra = Some(b"record".to_vec());
    let file = proof.to_string();
    assert!(file.starts_with("c2sp.org/tlog-proof@v1\nextra cmVjb3Jk\nindex 200\n"), "{file}");
    assert_eq!(TlogProof::parse(file.as_bytes()), Ok(proof));
}

#[test]
fn malformed_proof_files_are_refused() {
    let file = proof_with_witnesses().proof.to_string();
    let refused = |file: &str| TlogProof::parse(file.as_bytes()).expect_err("refused").to_string();
    let replaced = |from: &str, to: &str| refused(&file.replacen(from, to, 1));
    assert_eq!(refused(""), "not a `c2sp.org/tlog-proof@v1` file");
    assert_eq!(replaced("@v1", "@v2"), "not a `c2sp.org/tlog-proof@v1` file");
    assert_eq!(replaced("index 200", "index 0200"), "the index line of the proof is malformed");
    assert_eq!(
        replaced("index 200", "extra !\nindex 200"),
        "the extra line of the proof is malformed"
    );
    assert_eq!(
        replaced("index 200\n", "index 200\nextra AAAA\n"),
        "a hash of the proof is malformed"
    );
    assert_eq!(replaced("index 200", "index 200\nAAAA"), "a hash of the proof is malformed");
    assert_eq!(replaced("— ", "- "), "signature line 1 of the note is malformed");
    let hash = format!("index 200\n{}", format!("{}\n", checkpoint(&[]).root()).repeat(66));
    assert_eq!(replaced("index 200\n", &hash), "the proof is too large");
    let extra = format!("extra {}\nindex 200", "A".repeat(64 << 10));
    assert_eq!(replaced("index 200", &extra), "the proof is too large");
    assert_eq!(refused(&"a".repeat(1 << 20)), "the proof is too large");
}
