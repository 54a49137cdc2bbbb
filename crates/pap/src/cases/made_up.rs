//! The facts that cases are decided on: everything behind the instance is in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Harm, HostProcess, HostRule, InstanceId, Mandate, MandateId, Person, RegisteredClient, Risk,
    Scope, ServerName, Standing, TaskId, Thumbprint, WorkloadIdentity, WorkloadRule,
};
use serde_json::json;

use super::{Case, NOW};

/// Somebody who is here.
pub(super) fn person(id: &str) -> Person {
    Person::new(id.parse().expect("it is a name"), BTreeSet::new())
}

/// Of which workload an instance is, where a case says that its platform vouches for it.
const ISSUER: &str = "https://platform.example";
const SUBJECT: &str = "workload";

/// An instance of the case's agent with everything behind it in order, entitled to all of `server`.
pub(super) fn standing(case: &Case, instance: InstanceId, server: &ServerName) -> Standing {
    let everything = Scope {
        tools: BTreeSet::from([format!("{server}/*").parse().expect("it is a pattern")]),
        harm: Harm::ALL.into_iter().collect(),
        max_calls: None,
        max_tasks_a_day: None,
    };
    let source: model::SourceName = "directory".parse().expect("it is a name");
    let sponsor = Person { source: Some(source.clone()), ..person("sponsor") };
    let hour = std::time::Duration::from_hours(1);
    let later = NOW.plus(hour);
    let mandate = Mandate {
        id: MandateId::from_bytes([3; 16]),
        basis: model::MandateBasis::Standing { sponsor: sponsor.id.clone() },
        agent: case.agent.clone(),
        purpose: case.purpose.clone(),
        scope: everything.clone(),
        given: NOW,
        valid_until: later,
        withdrawn: None,
    };
    let task = model::Task {
        id: TaskId::from_bytes([2; 16]),
        instance,
        delegation: None,
        mandate: mandate.id,
        mandate_digest: mandate.digest(),
        purpose: case.purpose.clone(),
        subject: model::TaskSubject::Autonomous,
        scope: everything.clone(),
        opened: NOW,
        deadline: later,
        state: model::TaskState::Open,
    };
    let rule = WorkloadRule::new(ISSUER, SUBJECT, BTreeMap::new()).expect("it is a rule");
    let owners = BTreeMap::from([(sponsor.id.clone(), sponsor.clone())]);
    let agent = model::Agent {
        name: case.agent.clone(),
        business_owner: sponsor.id.clone(),
        technical_owner: sponsor.id.clone(),
        sponsor: sponsor.id.clone(),
        owned: Some(NOW),
        bounded_by: Some(sponsor.id.clone()),
        backups: BTreeSet::new(),
        purposes: BTreeSet::from([case.purpose.clone()]),
        ceiling: everything.clone(),
        key: json!({}),
        key_expires: later,
        valid_until: None,
        host: Some(HostRule { exe: None, uid: 0 }),
        workloads: vec![rule],
        client: Some(RegisteredClient { id: ISSUER.to_owned(), bearer: true, since: NOW }),
        registered: NOW,
        affirmed: None,
        review: model::AgentReview::default(),
        risk: None,
        risk_of_new: None,
        source: None,
        state: model::AgentState::Active,
    };
    let (issuer, subject) = (ISSUER.to_owned(), SUBJECT.to_owned());
    let workload = WorkloadIdentity { issuer, subject, claims: BTreeMap::new() };
    let instance = model::Instance {
        id: instance,
        agent: case.agent.clone(),
        key: Some(Thumbprint::from_bytes([4; 32])),
        attestation: case.attestation,
        process: Some(HostProcess { exe: None, pid: 1, started: 0, uid: 0 }),
        workload: Some(workload),
        device: None,
        task: task.id,
        started: NOW,
        risk: case.risk.map(|level| Risk { level, since: NOW }),
        state: model::InstanceState::Active,
    };
    let purpose = model::Purpose {
        id: case.purpose.clone(),
        owner: sponsor.id.clone(),
        owned: Some(NOW),
        scope: everything,
        data: BTreeSet::new(),
        description: String::new(),
    };
    let (subject, initiator) = (None, None);
    Standing {
        instance,
        agent,
        sponsor,
        device: None,
        subject,
        task,
        delegators: Arc::default(),
        elevations: Vec::new(),
        mandate,
        initiator,
        purpose,
        owners,
        heard: BTreeMap::from([(source, if case.unconfirmed { NOW } else { later })]),
    }
}
