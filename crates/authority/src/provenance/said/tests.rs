//! What was said is told from what was not, and what outsiders said from what others did.

use std::ops::ControlFlow;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Values, some of which are one and the same where they speak against something.
const VALUES: [&str; 7] = ["DE12 x", "  de12 X\n", "ＤＥ１２ x", "FR34", "fr34", "7", "other"];

fn coding() -> Coding {
    coding_of([1; 16])
}

fn coding_of(session: [u8; 16]) -> Coding {
    let key = Arc::new(SealingKey::from_bytes([7; 32]));
    Coding { key, session: TaskId::from_bytes(session) }
}

fn ours(answer: &Value) -> Heard {
    Heard::of(Speaker::Ours, ("{}", &answer.to_string()), &coding())
}

fn theirs(answer: &Value) -> Heard {
    Heard::of(Speaker::Outsiders, ("{}", &answer.to_string()), &coding())
}

/// What `said` says of an argument.
fn origin(said: &Said, argument: &Value) -> Option<Origin> {
    let (coding, mut worst) = (coding(), None);
    let _ = values::all(argument, &mut |word| {
        worst = worst.max(Some(said.origin(word, (&coding, true))));
        ControlFlow::Continue(())
    });
    worst
}

fn normal(text: &str) -> String {
    let (text, mut normal) = (json!(text), String::new());
    let _ = values::all(&text, &mut |word| {
        normal = word.normal();
        ControlFlow::Break(())
    });
    normal
}

#[test]
fn what_speaks_against_an_argument_is_known_however_it_is_spelt() {
    for (said, argument) in [
        (json!("DE12"), json!(" de12\u{a0}")),
        (json!("ﬁne"), json!("FINE")),
        (json!("１２"), json!(12)),
        (json!("10²"), json!(102)),
        (json!("e\u{301}"), json!("É")),
        (json!("\u{212a}"), json!("k")),
        (json!(1.0), json!("1")),
        (json!({ "eve@example.org": 1 }), json!("Eve@example.org")),
        (json!(r#"{"eve": [2]}"#), json!(["eve", 2])),
    ] {
        let mut heard = Said::default();
        heard.note(&theirs(&json!({ "structuredContent": said })));
        assert_eq!(origin(&heard, &argument), Some(Origin::Untrusted), "{said} {argument}");
    }
    for (one, other) in [("DE12", "DE 12"), ("DE12", "REUxMg=="), ("a", "\u{430}")] {
        assert_ne!(normal(one), normal(other), "{one} {other}");
    }
}

#[test]
fn what_vouches_for_an_argument_is_spelt_as_it_is() {
    let said =
        json!(["Inv-aB3", "10²", 7, 1.5, 9_007_199_254_740_993_i64, 1e300, r#"{"n": "in"}"#]);
    let mut heard = Said::default();
    heard.note(&ours(&json!({ "structuredContent": { "name": said } })));
    for (argument, expected) in [
        (json!("Inv-aB3"), Origin::Trusted),
        (json!("inv-Ab3"), Origin::Unknown),
        (json!("Inv-aB3 "), Origin::Unknown),
        (json!("102"), Origin::Unknown),
        (json!([7.0, "7", 1.5, "in"]), Origin::Trusted),
        (json!(9_007_199_254_740_993_i64), Origin::Trusted),
        (json!(9_007_199_254_740_992_i64), Origin::Unknown),
        // Which number that is nobody can tell.
        (json!(1e300), Origin::Unknown),
        // A name says what something is, and vouches for nothing.
        (json!("name"), Origin::Unknown),
    ] {
        assert_eq!(origin(&heard, &argument), Some(expected), "{argument}");
    }
}

#[test]
fn what_an_answer_is_wrapped_in_is_not_said() {
    let answers = [
        json!({
            "content": [
                { "type": "text", "text": "said", "annotations": { "audience": ["user"] } },
                { "type": "resource", "resource": { "uri": "said", "mimeType": "text/plain" } },
            ],
            "structuredContent": { "type": "said" },
            "isError": false,
            "resultType": "complete",
            "_meta": { "x": "complete" },
        }),
        json!({ "contents": [{ "uri": "a:b", "mimeType": "text/plain", "text": "said" }] }),
        json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": "said" } }] }),
        json!({ "code": -32_000, "message": "said", "data": { "type": "said" } }),
    ];
    for answer in answers {
        let mut heard = Said::default();
        heard.note(&theirs(&answer));
        assert_eq!(origin(&heard, &json!("said")), Some(Origin::Untrusted), "{answer}");
        for word in ["text", "complete", "text/plain", "user", "content", "uri", "-32000"] {
            assert_eq!(origin(&heard, &json!(word)), Some(Origin::Unknown), "{word} {answer}");
        }
    }
}

#[test]
fn what_nobody_can_read_is_of_outsiders_whatever_they_like() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for answer in [r#"{"text":"\ud83d"}"#, r#"{"n":1e999}"#, &deep, "{"] {
        let mut said = Said::default();
        said.note(&ours(&json!({ "text": "ours" })));
        said.note(&Heard::of(Speaker::Ours, ("{}", answer), &coding()));
        assert_eq!(origin(&said, &json!("ours")), Some(Origin::Trusted), "{answer}");
        said.note(&Heard::of(Speaker::Outsiders, ("{}", answer), &coding()));
        assert_eq!(origin(&said, &json!("ours")), Some(Origin::Untrusted), "{answer}");
        assert!(!said.has_room(Speaker::Outsiders));
    }
}

#[test]
fn what_a_tool_was_told_is_not_trusted_for_coming_back() {
    let told =
        json!({ "arguments": { "to": [" EVE"] }, "inputResponses": { "a": { "x": "mal" } } });
    let answer = json!({ "structuredContent": ["eve", "mal", "MAL", "ann"] }).to_string();
    let heard = |told: &str| {
        let mut said = Said::default();
        said.note(&Heard::of(Speaker::Ours, (told, &answer), &coding()));
        ["eve", "mal", "MAL", "ann"]
            .map(|value| origin(&said, &json!(value)) == Some(Origin::Trusted))
    };
    assert_eq!(heard(&told.to_string()), [false, false, false, true]);
    assert_eq!(heard("{}"), [true; 4]);
    assert_eq!(heard(r#"{"to":"\ud83d"}"#), [false; 4], "nobody knows what it was told");
}

#[test]
fn what_outsiders_say_beyond_the_limit_makes_all_untrusted() {
    let many = |count: usize| theirs(&(0..count).map(|n| json!(format!("theirs {n}"))).collect());
    let mut said = Said::default();
    said.note(&ours(&json!(["ours"])));
    said.note(&many(SAID_MAX));
    assert_eq!(origin(&said, &json!("ours")), Some(Origin::Trusted));
    assert_eq!(origin(&said, &json!("other")), Some(Origin::Unknown));
    assert!(matches!(many(SAID_MAX + 1), Heard::TooMuch), "no more is looked at");
    said.note(&theirs(&json!(["theirs too"])));
    said.note(&ours(&json!(["ours"])));
    for value in ["ours", "other", "theirs 1"] {
        assert_eq!(origin(&said, &json!(value)), Some(Origin::Untrusted), "{value}");
    }
}

/// Also where it is the same again and again.
#[test]
fn no_more_of_one_answer_is_looked_at_than_the_limit() {
    let again = |count: usize| json!(vec!["same"; count]);
    assert!(
        matches!(theirs(&again(LOOKED_AT_MAX - 1)), Heard::Untrusted(codes) if codes.len() == 1)
    );
    assert!(matches!(theirs(&again(LOOKED_AT_MAX)), Heard::TooMuch));
    let mut all = vec!["same"; LOOKED_AT_MAX];
    all.push("beyond");
    let mut said = Said::default();
    said.note(&ours(&json!(all)));
    assert_eq!(origin(&said, &json!("same")), Some(Origin::Trusted));
    assert_eq!(origin(&said, &json!("beyond")), Some(Origin::Unknown));
}

#[test]
fn what_others_say_beyond_the_limit_is_unknown() {
    let mut said = Said::default();
    assert!(said.has_room(Speaker::Ours));
    said.note(&ours(&(0..=SAID_MAX).map(|n| json!(format!("ours {n:04}"))).collect()));
    assert!(!said.has_room(Speaker::Ours) && said.has_room(Speaker::Outsiders));
    said.note(&ours(&json!(["zz"])));
    assert_eq!(origin(&said, &json!("ours 0000")), Some(Origin::Trusted));
    assert_eq!(origin(&said, &json!(format!("ours {SAID_MAX}"))), Some(Origin::Unknown));
    assert_eq!(origin(&said, &json!("zz")), Some(Origin::Unknown));
    said.note(&theirs(&json!(["zz", "ours 0000"])));
    assert_eq!(origin(&said, &json!("ours 0000")), Some(Origin::Untrusted));
    assert_eq!(origin(&said, &json!("zz")), Some(Origin::Untrusted));
}

/// Two that begin alike cannot be told apart where they speak against something.
#[test]
fn what_begins_like_what_outsiders_said_is_untrusted() {
    let long = |last: &str| json!(format!("{}{last}", "x".repeat(values::VALUE_MAX)));
    let mut said = Said::default();
    said.note(&ours(&json!([long("a")])));
    assert_eq!(origin(&said, &long("a")), Some(Origin::Trusted));
    assert_eq!(origin(&said, &long("b")), Some(Origin::Unknown));
    said.note(&theirs(&json!([long("c")])));
    assert_eq!(origin(&said, &long("b")), Some(Origin::Untrusted));
    assert_eq!(origin(&said, &long("a")), Some(Origin::Untrusted));
}

#[test]
fn codes_are_of_one_session_and_written_in_one_text() {
    let (one, other) = (coding(), coding_of([2; 16]));
    assert_ne!(one.of("value"), other.of("value"));
    let mut said = Said::default();
    said.note(&theirs(&json!(["a", "b"])));
    let kept = json::canonical_of(&said);
    assert!(kept.len() < 120, "{}", String::from_utf8_lossy(&kept));
    assert_eq!(serde_json::from_slice::<Said>(&kept).unwrap(), said);
    let damaged = r#"{"trusted":"AAAA","untrusted":"","is_over":false}"#;
    assert!(serde_json::from_str::<Said>(damaged).is_err());
}

proptest! {
    /// Whatever is said in whatever order, once an outsider has said it, it is untrusted and stays so, and
    /// they make nothing else of anything.
    #[test]
    fn what_outsiders_say_is_never_trusted(
        answers in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(0..VALUES.len(), 0..4)),
            0..12,
        ),
    ) {
        let mut said = Said::default();
        let (mut trusted, mut untrusted) = (BTreeSet::new(), BTreeSet::new());
        for (is_trusted, values) in answers {
            let values: Vec<_> = values.iter().map(|at| VALUES[*at]).collect();
            if is_trusted {
                trusted.extend(values.clone());
                said.note(&ours(&json!(values)));
            } else {
                untrusted.extend(values.iter().map(|value| normal(value)));
                said.note(&theirs(&json!(values)));
            }
            for value in VALUES {
                let expected = match (untrusted.contains(&normal(value)), trusted.contains(value)) {
                    (true, _) => Origin::Untrusted,
                    (false, true) => Origin::Trusted,
                    (false, false) => Origin::Unknown,
                };
                prop_assert_eq!(origin(&said, &json!(value)), Some(expected));
            }
        }
        let kept = String::from_utf8(json::canonical_of(&said)).unwrap();
        prop_assert!(!kept.contains("other"), "{}", kept);
    }
}
