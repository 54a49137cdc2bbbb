//! A recorded decision as a case: what a case can say of the facts that it was made on.
//!
//! INVARIANT: a case that would be answered otherwise than is recorded is not made
//! (`a_decision_that_a_case_cannot_tell_is_no_case`).

use std::collections::{BTreeMap, BTreeSet};

use model::{AccessRequest, Decision, Enforcement, Facts, PrincipalFacts, ResourceRef, Standing};
use pdp::{AskedPolicy, Snapshot};
use serde_json::{Map, Value, json};

use super::by_instance::{Ends, Somebody};
use super::{Case, CaseTool, NAME, Tools, administrative};
use crate::recall::Recorded;

/// The denial of a call whose token was used for another one, which its commit alone has seen.
const TOKEN_USED: &str = "token_used";

/// The decision `recorded` on `request` by `snapshot` as a case, the tool that it calls, and what policies saw that
/// no case can tell.
pub(crate) fn recorded(
    recorded: &Recorded,
    (request, facts): (&AccessRequest, &Facts),
    snapshot: &Snapshot,
) -> Result<Value, String> {
    let is_of_token = recorded.reason == TOKEN_USED;
    if recorded.is_by_commit() && !is_of_token {
        let why = "it was denied for what no policy is asked about, and no case says";
        return Err(format!("{why}: `{}`", recorded.reason));
    }
    let mut case = match &facts.principal {
        PrincipalFacts::Instance(standing) => {
            let (member, asked) = asked(request)?;
            let mut case = circumstances(standing, facts);
            case.insert(member.to_owned(), asked);
            case
        }
        PrincipalFacts::Administrator(_) | PrincipalFacts::Directory(..) => {
            administrative::recorded(request, facts)
        }
    };
    if is_of_token {
        case.insert("token_used".to_owned(), true.into());
    }
    case.insert("expect".to_owned(), json!(recorded.verdict));
    case.insert("by".to_owned(), json!(recorded.policies));
    let tool = facts.tool.iter().map(|tool| (tool.tool.clone(), CaseTool::from(tool.as_ref())));
    let tools: Tools = tool.collect();
    let read = Case::read(case.clone())?.question;
    let explained = snapshot.explain(request, facts);
    if let Decision::Deny(denial) = read.counted(explained.decision, snapshot)? {
        case.insert("reason".to_owned(), json!(recorded.reason));
        case.insert("remedies".to_owned(), json!(denial.remedies()));
    }
    let (request, facts) = read.put(&tools)?;
    let again = snapshot.explain(&request, &facts);
    let untold = untold(&explained.asked, &again.asked);
    let answer = read.counted(again.decision, snapshot)?;
    if let Err(why) = recorded.is_answered(&answer) {
        let untold: Vec<_> = untold.iter().map(|it| format!("; it cannot tell {it}")).collect();
        return Err(format!("as one it is answered otherwise, {why}{}", untold.concat()));
    }
    let name = format!("{} at {} ({})", request.action, recorded.time, recorded.id);
    case.insert(NAME.to_owned(), name.into());
    Ok(json!({ "case": case, "tools": tools, "untold": untold }))
}

/// What `request` asks for, as a case says it.
fn asked(request: &AccessRequest) -> Result<(&'static str, Value), String> {
    let AccessRequest { action: name, resource, input, .. } = request;
    let method = match resource {
        ResourceRef::Tool(tool) => return Ok(("call", json!({ "tool": tool, "input": input }))),
        ResourceRef::Server(server) => json!({ "name": name, "server": server, "input": input }),
        ResourceRef::Resource { server, uri } => {
            json!({ "name": name, "server": server, "uri": uri })
        }
        ResourceRef::Prompt { server, name: prompt } => {
            json!({ "name": name, "server": server, "prompt": prompt })
        }
        ResourceRef::Agent(agent) => json!({ "name": name, "agent": agent }),
        ResourceRef::Task(_) => json!({ "name": name }),
        other => {
            let other = authority::resource_text(other);
            return Err(format!("cases ask for nothing that is done to `{other}`"));
        }
    };
    Ok(("method", method))
}

/// Who asked, what for and in which circumstances, as a case says it.
fn circumstances(standing: &Standing, facts: &Facts) -> Map<String, Value> {
    let (session, server) = (&facts.session, facts.server.as_deref());
    let place = server.map(|server| &server.place);
    let account = server.map(|server| server.account_of(Some(&standing.agent.name)));
    let members = json!({
        "agent": standing.agent.name,
        "purpose": standing.purpose.id,
        "attestation": standing.attestation(),
        "binding": facts.binding,
        "unconfirmed": !standing.is_confirmed(facts.now),
        "risk": standing.risk(facts.now),
        "now": facts.now.to_string(),
        "environment": place.and_then(|place| place.environment.as_ref()),
        "region": place.and_then(|place| place.region.as_ref()),
        "enforcement": server.map_or(Enforcement::Mandatory, |server| server.enforcement),
        "shared_account": account == Some("shared"),
        "depth": standing.delegators.len(),
        "calls": session.counters.get("calls").copied().unwrap_or_default(),
        "labels": session.labels,
        "used_tools": session.used_tools,
    });
    let Value::Object(mut members) = members else { unreachable!("it is an object") };
    if let Some(subject) = &standing.subject {
        members.insert("subject".to_owned(), json!(Somebody::from(subject)));
    }
    let (objects, data) = (standing.purpose.scope.objects.clone(), standing.purpose.data.clone());
    let ends = Ends { objects, data };
    if ends != Ends::default() {
        members.insert("ends".to_owned(), json!(ends));
    }
    if !standing.sharing.is_empty() {
        members.insert("shared_workload".to_owned(), true.into());
    }
    // Most sets look at neither.
    let of_tools = session.counters.iter().filter(|(name, n)| *name != "calls" && **n != 0);
    let of_tools: BTreeMap<_, _> = of_tools.collect();
    if !of_tools.is_empty() {
        members.insert("counters".to_owned(), json!(of_tools));
    }
    let used = session.used.iter().filter_map(|(at, used)| Some((at.split_once('/')?.0, used)));
    let used: BTreeMap<_, _> = used.collect();
    if !used.is_empty() {
        members.insert("used".to_owned(), json!(used));
    }
    if let Some(age) = session.token_age_s.filter(|age| *age != 0) {
        members.insert("token_age_s".to_owned(), json!(age));
    }
    if !session.provenance.is_empty() {
        members.insert("provenance".to_owned(), json!(session.provenance));
    }
    members
}

/// What policies saw of the `recorded` facts otherwise than of those of the `case`, and which were asked of one alone.
fn untold(recorded: &[AskedPolicy], case: &[AskedPolicy]) -> BTreeSet<String> {
    let place = |it: &AskedPolicy| format!("that `{}` is asked of the {}", it.policy, it.of);
    let is_in = |all: &[AskedPolicy], one: &AskedPolicy| {
        all.iter().any(|it| (&it.policy, it.of) == (&one.policy, one.of))
    };
    let mut untold: BTreeSet<String> = recorded
        .iter()
        .filter(|it| !is_in(case, it))
        .chain(case.iter().filter(|it| !is_in(recorded, it)))
        .map(place)
        .collect();
    let saw = |all: &[AskedPolicy]| -> BTreeSet<(String, Option<String>)> {
        all.iter().flat_map(|it| &it.conditions).flat_map(|it| it.saw.clone()).collect()
    };
    let (then, now) = (saw(recorded), saw(case));
    untold.extend(then.difference(&now).map(|(path, _)| format!("`{path}`")));
    untold
}
