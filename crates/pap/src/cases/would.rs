//! A question as a case puts it, with nothing expected: what is answered and why, and what else would be permitted.

use model::Decision;
use pdp::Snapshot;
use serde_json::{Map, Value, json};

use super::{NAME, Question, Tools, wanted};

/// Who can vouch for an instance, the least first.
const VOUCHED: [&str; 3] = ["user", "host", "workload"];

/// Puts the question of `case` to `snapshot`, which calls one of `tools`: what is told of the answer, and in which
/// other circumstances it would be permitted.
///
/// # Errors
/// It describes something that cannot be.
pub fn ask(
    mut case: Map<String, Value>,
    (snapshot, tools): (&Snapshot, &Tools),
) -> Result<Value, String> {
    case.retain(|member, _| member != NAME && !wanted::is_said(member));
    let (request, explained) = Question::read(case.clone())?.answered((snapshot, tools))?;
    let mut told = crate::explain::told(&request, &explained);
    if let Decision::Deny(_) = explained.decision {
        let permits = |case: &Map<String, Value>| {
            let decision = Question::read(case.clone()).and_then(|question| {
                let (request, facts) = question.put(tools)?;
                question.counted(snapshot.decide(&request, &facts), snapshot)
            });
            matches!(decision, Ok(Decision::Permit(_)))
        };
        told.insert("permitted_with".to_owned(), lifts(&case, permits).into());
    }
    Ok(told.into())
}

/// What of the circumstances of `case` would have to be otherwise for it to be permitted: each single member that is
/// enough, or else one set of members of which none can be left out; none, if no circumstances are.
fn lifts(case: &Map<String, Value>, permits: impl Fn(&Map<String, Value>) -> bool) -> Vec<Value> {
    let with = |changes: &[(&str, Value)]| {
        let mut case = case.clone();
        case.extend(changes.iter().map(|(member, value)| ((*member).to_owned(), value.clone())));
        case
    };
    let told = |changes: &[(&str, Value)]| -> Value {
        let changes = changes.iter().map(|(member, value)| ((*member).to_owned(), value.clone()));
        Value::Object(changes.collect())
    };
    let better = [
        ("binding", json!("dpop")),
        ("unconfirmed", json!(false)),
        ("shared_workload", json!(false)),
        ("risk", Value::Null),
        ("calls", json!(0)),
        ("labels", json!([])),
        ("used_tools", json!([])),
        ("counters", json!({})),
        ("used", json!({})),
        ("token_age_s", json!(0)),
        ("token_used", json!(false)),
    ];
    let vouched = VOUCHED.map(|by| ("attestation", json!(by)));
    let single = vouched.iter().chain(&better).map(std::slice::from_ref);
    let enough: Vec<_> = single.filter(|one| permits(&with(one))).map(told).collect();
    if !enough.is_empty() {
        return enough;
    }
    let all = vouched.into_iter().map(|by| [[by].as_slice(), &better].concat());
    let Some(mut needed) = all.into_iter().find(|all| permits(&with(all))) else {
        return Vec::new();
    };
    for (member, _) in better.iter().chain([&("attestation", Value::Null)]) {
        let mut fewer = needed.clone();
        fewer.retain(|(kept, _)| kept != member);
        if permits(&with(&fewer)) {
            needed = fewer;
        }
    }
    vec![told(&needed)]
}
