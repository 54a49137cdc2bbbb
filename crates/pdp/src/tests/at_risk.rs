//! What the set that a new deployment starts with makes of risk.

use model::{ResourceRef, Risk, RiskLevel};
use serde_json::json;

use super::fixtures::{Case, OPEN, bundle, person, show, snapshot};
use crate::schema::AskedBy;
use crate::{Bundle, STARTER_POLICY, Snapshot};

/// What ends something that an agent began.
const ENDS: [&str; 2] = ["resources/unsubscribe", "tasks/cancel"];

/// An instance asks for the method `name`, of whatever that is of.
fn asked(name: &str) -> Case {
    let crm = || "crm".parse().expect("a server");
    let mut case = Case::method(name, "crm");
    match name {
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            let uri = "crm://customers".to_owned();
            case.request.resource = ResourceRef::Resource { server: crm(), uri };
        }
        "prompts/get" => {
            let name = "summary".to_owned();
            case.request.resource = ResourceRef::Prompt { server: crm(), name };
        }
        "delegate" => {
            case.request.resource = ResourceRef::Agent("reader".parse().expect("an agent"));
            case.facts.server = None;
        }
        "task/resume" => case.request.resource = ResourceRef::Task(case.standing.task.id),
        "server/request" => {
            case.request.input = json!({ "method": "roots/list", "mode": "none" });
        }
        _ => {}
    }
    case
}

/// The same, where that is said of its agent, of its sponsor, or of the person on whose behalf it is.
fn rated(case: &Case, who: usize, level: RiskLevel) -> Case {
    let mut case = case.clone().on_behalf_of(person("carla", &[]));
    let risk = Some(Risk { level, since: case.facts.now });
    let standing = &mut case.standing;
    match who {
        0 => standing.agent.risk = risk,
        1 => standing.sponsor.risk = risk,
        _ => standing.subject.as_mut().expect("it is on theirs").risk = risk,
    }
    case
}

fn word(case: &Case, snapshot: &Snapshot) -> String {
    let told = show(&case.decide(snapshot));
    told.split([' ', ':']).take(2).collect::<Vec<_>>().join(" ")
}

/// Whoever they say it of: an agent's acts of every kind are forbidden, but for those that end what it began.
#[test]
fn r_18_at_high_risk_an_agent_does_nothing_that_a_policy_could_permit() {
    let snapshot = snapshot(&[STARTER_POLICY, OPEN].concat());
    let methods = snapshot.vocabulary.actions.iter().filter_map(|(name, action)| {
        (action.asked_by == AskedBy::Instance && action.tool.is_none()).then_some(name)
    });
    let mut cases: Vec<Case> = methods.map(|name| asked(name)).collect();
    assert!(cases.len() > 20, "all are found");
    cases.push(Case::call("crm/lookup", json!({ "id": 1 })));
    for case in cases {
        let action = case.request.action.to_string();
        let expected = if ENDS.contains(&&*action) { "permit by" } else { "deny (forbidden)" };
        for who in 0..3 {
            for level in [RiskLevel::Low, RiskLevel::Medium] {
                let told = word(&rated(&case, who, level), &snapshot);
                assert_eq!(told, "permit by", "{action} {who} {level:?}");
            }
            let told = word(&rated(&case, who, RiskLevel::High), &snapshot);
            assert_eq!(told, expected, "{action} {who}");
        }
    }
}

/// At medium risk nothing reaches a server that sends it out: what its methods are told is exposed like a call's arguments.
#[test]
fn r_18_at_medium_risk_nothing_is_told_to_a_server_that_sends_it_out() {
    for (sink, expected) in [(true, "deny (forbidden)"), (false, "permit by")] {
        let labels = format!("labels: {{ a: x }}\nservers: {{ crm: {{ sink: {sink} }} }}\n");
        let set = bundle(&[STARTER_POLICY, OPEN].concat());
        let snapshot = Snapshot::compile(Bundle { labels: Some(labels), ..set });
        let snapshot = snapshot.expect("it compiles");
        for name in [
            "server/request",
            "completion/complete",
            "resources/read",
            "resources/subscribe",
            "prompts/get",
        ] {
            for who in 0..3 {
                let at = |level| word(&rated(&asked(name), who, level), &snapshot);
                assert_eq!(at(RiskLevel::Low), "permit by", "{name} {who}");
                assert_eq!(at(RiskLevel::Medium), expected, "{name} {who}");
            }
        }
        let list = rated(&asked("tools/list"), 0, RiskLevel::Medium);
        assert_eq!(word(&list, &snapshot), "permit by", "there is nothing to send");
    }
}
