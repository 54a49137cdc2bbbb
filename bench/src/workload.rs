//! The workload of the decide rows: N tools, a permit for each with five conditions, one global
//! forbid, and 256 requests of which about 30 % are denied.
//!
//! Rule `i`: agents of team `i mod 8` may call `tool-i` for three purposes, at depth 3 at most, up
//! to an amount, unless the risk is critical. Each request says what the answer must be. A team is
//! an agent here and its members are instances of it; what policy sees of depth and risk is fixed
//! by the facts, so requests are denied by team, purpose and amount.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use model::{
    AccessRequest, ActionName, Agent, AgentReview, AgentState, Attestation, Binding, DecisionId,
    Delegation, Delegator, Enforcement, Facts, Harm, Instance, InstanceId, InstanceState, Mandate,
    MandateBasis, MandateId, Person, PinDigest, Principal, PrincipalFacts, Purpose, Rated,
    ResourceRef, Revision, Scope, Server, SessionFacts, Standing, Task, TaskId, TaskState,
    TaskSubject, Thumbprint, Timestamp, Tool, ToolRef, ToolState,
};
use pdp::{Bundle, ToolSchema};
use serde_json::json;

/// How many requests the workload has.
pub(crate) const REQUESTS: usize = 256;

const PURPOSES: [&str; 6] = ["support", "billing", "research", "sales", "ops", "audit"];
pub(crate) const SERVER: &str = "bench";
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// A request, the facts that it is decided on, and what the answer must be.
pub(crate) struct Case {
    pub(crate) request: AccessRequest,
    pub(crate) facts: Facts,
    pub(crate) permitted: bool,
}

struct Rule {
    tool: ToolRef,
    team: String,
    purposes: [&'static str; 3],
    limit: u64,
}

impl Rule {
    fn of(i: usize) -> Self {
        let purpose = |shift: usize| PURPOSES[(i + shift) % PURPOSES.len()];
        Self {
            tool: format!("{SERVER}/tool-{i}").parse().expect("a tool's name"),
            team: format!("team-{}", i % 8),
            purposes: [purpose(0), purpose(1), purpose(2)],
            limit: 100 * (1 + i as u64 % 50),
        }
    }

    fn write(&self, i: usize, text: &mut String) {
        let Self { tool, team, purposes: [a, b, c], limit } = self;
        let scope = format!(
            "principal in Agent::\"{team}\", action in Action::\"tools/call\", \
             resource == Tool::\"{tool}\""
        );
        let condition = format!(
            "[\"{a}\", \"{b}\", \"{c}\"].contains(context.purpose) && context.depth <= 8 && \
             context.input.amount <= {limit} && context.risk != \"critical\""
        );
        writeln!(text, "@id(\"r{i}\")\npermit ({scope})\nwhen {{ {condition} }};\n")
            .expect("text can be written to");
    }
}

/// The policy set with `rules` permits.
pub(crate) fn bundle(rules: usize) -> Bundle {
    let mut text =
        "@id(\"guard\")\nforbid (principal, action in Action::\"tools/call\", resource)\n\
                    when { context.depth > 8 };\n\n"
            .to_owned();
    let input_schema = json!({
        "type": "object",
        "properties": { "amount": { "type": "integer" } },
        "required": ["amount"],
    });
    let mut bundle = Bundle::default();
    for i in 0..rules {
        let rule = Rule::of(i);
        rule.write(i, &mut text);
        bundle.tools.insert(rule.tool, ToolSchema { input_schema: input_schema.clone() });
    }
    bundle.policies.insert("bench.cedar".to_owned(), text);
    bundle
}

/// The requests, with tools drawn over all `rules`.
pub(crate) fn cases(rules: usize) -> Vec<Case> {
    let mut draw = Draw(7);
    (0..REQUESTS).map(|_| case(&mut draw, rules)).collect()
}

fn case(draw: &mut Draw, rules: usize) -> Case {
    let rule = Rule::of(draw.below(rules as u64));
    let kind = draw.below(100);
    let agent = draw.below(1_000);
    let mut team = rule.team.as_str();
    let mut purpose = rule.purposes[draw.below(3)];
    let mut amount = 1 + draw.below(rule.limit) as u64;
    match kind {
        0..10 => team = "team-x",
        10..20 => purpose = "exfiltrate",
        20..30 => amount = rule.limit + 1,
        _ => {}
    }
    let standing = Arc::new(standing(team, purpose, u8::try_from(agent % 251).unwrap_or(0)));
    let principal = Principal::Instance(standing.instance.id);
    let request = AccessRequest {
        principal,
        action: ActionName::tool(&rule.tool),
        resource: ResourceRef::Tool(rule.tool.clone()),
        input: json!({ "amount": amount }),
    };
    Case { request, facts: facts(rule.tool, standing), permitted: kind >= 30 }
}

fn facts(tool: ToolRef, standing: Arc<Standing>) -> Facts {
    let server = Server {
        name: tool.server.clone(),
        enforcement: Enforcement::Mandatory,
        origin: "https://tools.example/mcp".to_owned(),
        added: NOW,
        account: None,
        callers: BTreeSet::new(),
        place: model::Place::default(),
    };
    let tool = Tool {
        tool,
        pin: PinDigest::from_bytes([7; 32]),
        descriptor: json!({}),
        owner: Some(standing.sponsor.id.clone()),
        owned: Some(NOW),
        harm: BTreeSet::from([Harm::ReadsData]),
        objects: None,
        data: BTreeSet::new(),
        requires_subject: false,
        not_delegable: false,
        state: ToolState::Pinned,
    };
    Facts {
        revision: Revision(1),
        now: NOW,
        tool_owner: Some(Arc::new(standing.sponsor.clone())),
        principal: PrincipalFacts::Instance(standing),
        tool: Some(Arc::new(tool)),
        agent: None,
        server: Some(Arc::new(server)),
        session: SessionFacts::default(),
        binding: Binding::Dpop,
        stops: Arc::default(),
    }
}

/// The same case in work that was handed on `times` times.
pub(crate) fn handed_on(mut case: Case, times: u8) -> Case {
    let PrincipalFacts::Instance(standing) = &mut case.facts.principal else { return case };
    let standing = Arc::make_mut(standing);
    for time in 0..times {
        let number = 200 + time;
        let name = format!("lead-{number}");
        let mut above = self::standing(&name, standing.purpose.id.as_str(), number);
        above.task.mandate_digest = standing.task.mandate_digest;
        let decision = DecisionId::from_bytes([number; 16]);
        let below = match Arc::make_mut(&mut standing.delegators).last_mut() {
            Some(last) => &mut last.task,
            None => &mut standing.task,
        };
        let (parent, by) = (above.task.id, above.instance.id);
        below.delegation = Some(Delegation { parent, by, decision });
        let Standing { instance, agent, sponsor, task, .. } = above;
        Arc::make_mut(&mut standing.delegators).push(Delegator {
            instance,
            agent,
            sponsor,
            device: None,
            task,
        });
    }
    if let Some(root) = standing.delegators.last() {
        standing.mandate.agent = root.agent.name.clone();
    }
    let digest = standing.mandate.digest();
    standing.task.mandate_digest = digest;
    for above in Arc::make_mut(&mut standing.delegators) {
        above.task.mandate_digest = digest;
    }
    case
}

/// An instance of the agent `team` that works for `purpose`.
pub(crate) fn standing(team: &str, purpose: &str, number: u8) -> Standing {
    let name = "every name here is one";
    let (hour_ago, in_an_hour) = (NOW.as_seconds() - 3_600, NOW.as_seconds() + 3_600);
    let (hour_ago, in_an_hour) =
        (Timestamp::from_seconds(hour_ago), Timestamp::from_seconds(in_an_hour));
    let everything = Scope {
        tools: BTreeSet::from([format!("{SERVER}/*").parse().expect(name)]),
        harm: BTreeSet::new(),
        objects: None,
        max_calls: None,
        max_tasks_a_day: None,
    };
    let purpose = Purpose {
        id: purpose.parse().expect(name),
        owner: "sam".parse().expect(name),
        owned: Some(hour_ago),
        scope: everything.clone(),
        data: BTreeSet::new(),
        description: String::new(),
    };
    let agent = agent(team, &purpose, hour_ago, in_an_hour);
    let (instance, task) = (InstanceId::from_bytes([number; 16]), TaskId::from_bytes([number; 16]));
    let mandate = Mandate {
        id: MandateId::from_bytes([3; 16]),
        basis: MandateBasis::Standing { sponsor: agent.sponsor.clone() },
        agent: agent.name.clone(),
        purpose: purpose.id.clone(),
        scope: everything.clone(),
        given: hour_ago,
        valid_until: in_an_hour,
        withdrawn: None,
    };
    let task = Task {
        id: task,
        instance,
        delegation: None,
        mandate: mandate.id,
        mandate_digest: mandate.digest(),
        purpose: purpose.id.clone(),
        subject: TaskSubject::Autonomous,
        scope: everything,
        opened: hour_ago,
        deadline: in_an_hour,
        state: TaskState::Open,
    };
    let instance = Instance {
        id: instance,
        agent: agent.name.clone(),
        key: Some(Thumbprint::from_bytes([9; 32])),
        attestation: Attestation::User,
        process: None,
        workload: None,
        device: None,
        keys_compromised: None,
        task: task.id,
        departed: None,
        started: hour_ago,
        risk: None,
        rated: Rated::default(),
        state: InstanceState::Active,
    };
    let groups = BTreeSet::from(["staff".parse().expect(name)]);
    let sponsor = Person::new(agent.sponsor.clone(), groups);
    let owners = BTreeMap::from([(sponsor.id.clone(), sponsor.clone())]);
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
        heard: BTreeMap::new(),
        sharing: BTreeSet::new(),
    }
}

fn agent(team: &str, purpose: &Purpose, registered: Timestamp, key_expires: Timestamp) -> Agent {
    let sponsor = purpose.owner.clone();
    Agent {
        name: team.parse().expect("a team's name is an agent's"),
        business_owner: sponsor.clone(),
        technical_owner: sponsor.clone(),
        sponsor,
        owned: Some(registered),
        bounded_by: Some(purpose.owner.clone()),
        backups: BTreeSet::new(),
        purposes: BTreeSet::from([purpose.id.clone()]),
        ceiling: purpose.scope.clone(),
        key: json!({}),
        key_expires,
        keys_compromised: None,
        valid_until: None,
        host: None,
        workloads: Vec::new(),
        client: None,
        memory: model::Memory::Kept,
        forgets: None,
        declared: model::Declared::default(),
        departed: None,
        registered,
        affirmed: None,
        review: AgentReview::default(),
        risk: None,
        risk_of_new: None,
        rated: Rated::default(),
        source: None,
        state: AgentState::Active,
    }
}

/// A stream of numbers that repeats (`SplitMix64`: Steele, Lea and Flood, 2014).
struct Draw(u64);

impl Draw {
    /// A number below `end`, which is small.
    fn below(&mut self, end: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end).unwrap_or(0)
    }
}
