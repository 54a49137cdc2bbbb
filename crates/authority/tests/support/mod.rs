//! A small deployment in process, over the real store: two people, a purpose, an agent with one instance and its
//! task, a server with tools, a policy set. Time stands still unless a test moves it, and randomness repeats.

#![allow(dead_code, reason = "each crate that shares this uses a part of it")]

pub(crate) mod elevations;
pub(crate) mod log;
pub(crate) mod runs;
pub(crate) mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use authority::{
    Actor, Authority, Circumstances, Governed, Limits, NotPermitted, Parts, Permit, Pip,
    SharedCompiler,
};
use journal::{Journal, Sealer};
use keys::SealingKey;
use model::record::OutcomeKind;
use model::{
    AccessRequest, ActionName, Agent, AgentReview, AgentState, Attestation, Binding, Clock,
    Enforcement, FactKey, GroupName, Harm, InitiatingSystem, Instance, InstanceId, InstanceState,
    Mandate, MandateBasis, MandateId, Person, PersonId, PersonState, PinDigest, Principal, Purpose,
    Rated, ResourceRef, Scope, Server, Stop, StopTarget, Stopped, SystemState, Task, TaskId,
    TaskState, TaskSubject, Thumbprint, Timestamp, Tool, ToolRef, ToolState,
};
use pdp::{Bundle, Snapshot, ToolSchema};
use serde::Serialize;
use serde_json::{Value, json};
use store::{Effect, Unit};
use store_sqlite::{OpenError, Options, SqliteStore};
use stores::Interposed;
use tempfile::TempDir;
use testkit::{ManualClock, SeededEntropy};
use tokio::task::JoinHandle;

/// How often what is under way is decided again in these tests.
const REVIEW_INTERVAL: Duration = Duration::from_millis(20);

/// How long a decision may take: longer than a busy machine stands still for, or needs for many at once.
pub(crate) const DECISION_TIMEOUT: Duration = Duration::from_secs(6);

/// What the policy set of the deployment says.
pub(crate) const POLICY: &str = include_str!("policy.cedar");

/// Compiles for all tests: most of them put the same policies in force.
static COMPILER: LazyLock<SharedCompiler> = LazyLock::new(SharedCompiler::default);

/// The deployment.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) store: Arc<Interposed>,
    pub(crate) journal: Journal,
    pub(crate) authority: Arc<Authority>,
    pub(crate) writer: JoinHandle<()>,
    pub(crate) standing: Box<Facts>,
}

/// The facts of the deployment, as they were written at first.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) sponsor: Person,
    pub(crate) other: Person,
    pub(crate) agent: Agent,
    pub(crate) purpose: Purpose,
    pub(crate) mandate: Mandate,
    pub(crate) instance: Instance,
    pub(crate) task: Task,
    pub(crate) server: Server,
    pub(crate) tools: Vec<Tool>,
    pub(crate) limits: Limits,
}

/// An act to ask about.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) request: AccessRequest,
    pub(crate) circumstances: Circumstances,
}

impl Governed for Act {
    fn request(&self) -> &AccessRequest {
        &self.request
    }

    fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }
}

pub(crate) fn put<T: Serialize>(key: FactKey, fact: &T) -> Effect {
    Effect::Put { key, body: json::canonical_of(fact) }
}

impl World {
    pub(crate) async fn new() -> Self {
        Box::pin(Self::with(|_| {})).await
    }

    /// The deployment with other facts than usual.
    pub(crate) async fn with(change: impl FnOnce(&mut Facts)) -> Self {
        let (clock, entropy) = (Arc::new(ManualClock::new()), Arc::new(SeededEntropy::new(1)));
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut standing = Box::new(facts(clock.now()));
        change(&mut standing);
        let (store, journal) = open(&dir, (&clock, &entropy));
        write(&journal, &standing).await;
        let (authority, writer) = start(&journal, standing.limits, (&clock, &entropy)).await;
        let world = Self { dir, clock, entropy, store, journal, authority, writer, standing };
        world.publish(POLICY).await;
        world
    }

    /// Ends the process, as it were, and starts it again over the same database. Whatever holds a
    /// permit has to be dropped before.
    pub(crate) async fn restarted(self) -> Self {
        self.restarted_by(POLICY).await
    }

    /// The same, by `policy`.
    pub(crate) async fn restarted_by(self, policy: &str) -> Self {
        let Self { dir, clock, entropy, store, journal, authority, writer, standing } = self;
        writer.abort();
        let _ = writer.await;
        drop((store, journal, authority));
        let (store, journal) = open(&dir, (&clock, &entropy));
        let clock_dyn: Arc<dyn Clock> = clock.clone();
        let entropy_dyn: Arc<dyn model::Entropy> = entropy.clone();
        authority::recover(&journal, &clock_dyn, &entropy_dyn).await.expect("it recovers");
        let (authority, writer) = start(&journal, standing.limits, (&clock, &entropy)).await;
        let world = Self { dir, clock, entropy, store, journal, authority, writer, standing };
        world.publish(policy).await;
        world
    }

    /// Puts `policy` in force.
    pub(crate) async fn publish(&self, policy: &str) {
        self.put_in_force(self.bundle(policy).await).await;
    }

    pub(crate) async fn put_in_force(&self, bundle: Bundle) {
        let (snapshot, pip) = (compiled(bundle).await, self.authority.pip());
        let active = pip.activating(&snapshot).await.expect("it is read");
        let effects = policy_unit(&snapshot).effects.into_iter().chain([active.effect()]).collect();
        let committed = self.journal.store().commit(Unit { effects, ..Unit::default() }).await;
        pip.put_in_force(snapshot.clone(), committed.expect("it commits").revision);
        if let Some(done) = active.done(self.clock.now()) {
            let unit = Unit { effects: vec![done], ..Unit::default() };
            let committed = self.journal.store().commit(unit).await.expect("it commits");
            pip.put_in_force(snapshot, committed.revision);
        }
    }

    pub(crate) async fn compile(&self, policy: &str) -> Arc<Snapshot> {
        compiled(self.bundle(policy).await).await
    }

    /// `policy` as a set, with the tools of the deployment.
    pub(crate) async fn bundle(&self, policy: &str) -> Bundle {
        let tools = self.authority.pip().tools_of(&self.standing.server.name).await;
        let schema = |tool: Tool| {
            let input_schema = tool.descriptor["inputSchema"].clone();
            (tool.tool, ToolSchema { input_schema })
        };
        let tools = tools.expect("the tools are there").into_iter().map(schema).collect();
        let policies = BTreeMap::from([("test.cedar".to_owned(), policy.to_owned())]);
        Bundle { policies, tools, ..Bundle::default() }
    }

    /// A call of `tool` of the server.
    pub(crate) fn call(&self, tool: &str, input: Value) -> Act {
        let tool: ToolRef = format!("crm/{tool}").parse().expect("a tool");
        self.act(ActionName::tool(&tool), ResourceRef::Tool(tool), input)
    }

    /// A method of the server.
    pub(crate) fn method(&self, name: &str) -> Act {
        let server = ResourceRef::Server(self.standing.server.name.clone());
        self.act(ActionName::method(name), server, Value::Null)
    }

    pub(crate) fn act(&self, action: ActionName, resource: ResourceRef, input: Value) -> Act {
        let id = self.standing.instance.id;
        let request = AccessRequest { principal: Principal::Instance(id), action, resource, input };
        let circumstances = Circumstances {
            actor: Actor::Known(id),
            binding: Binding::Dpop,
            token: None,
            point: "test",
            arrived: self.clock.monotonic(),
            trace: None,
            uses: Vec::new(),
            enclosed: Vec::new(),
        };
        Act { request, circumstances }
    }

    pub(crate) async fn authorize(&self, act: Act) -> Result<Permit<Act>, NotPermitted> {
        self.authority.authorize(act).await
    }

    /// The same; what is permitted is done, and returns. What owes something is not begun: that is on record by then,
    /// and what it had taken is given back.
    pub(crate) async fn done(&self, act: Act) -> Result<(), NotPermitted> {
        match self.authorize(act).await?.begin(self.clock.as_ref()) {
            Ok(begun) => begun.running.finish(OutcomeKind::Returned, None),
            Err(_) => self.authority.drained().await,
        }
        Ok(())
    }

    /// Writes a fact, as an administrator's act would.
    pub(crate) async fn put<T: Serialize>(&self, key: FactKey, fact: &T) {
        let unit = Unit { effects: vec![put(key, fact)], ..Unit::default() };
        self.journal.store().commit(unit).await.expect("it commits");
    }

    /// Registers the system `portal`, which signs by `key` and may start the agent's work.
    pub(crate) async fn portal(&self, key: Value) {
        let agent = &self.standing.agent;
        let system = InitiatingSystem {
            name: "portal".parse().expect("a system"),
            owner: agent.sponsor.clone(),
            key,
            key_expires: agent.key_expires,
            agents: BTreeSet::from([agent.name.clone()]),
            purposes: agent.purposes.clone(),
            registered: agent.registered,
            state: SystemState::Active,
        };
        self.put(FactKey::system(&system.name), &system).await;
    }

    /// A unit by which the sponsor stops `what`.
    pub(crate) fn stopping(&self, what: &str) -> Unit {
        let what: StopTarget = what.parse().expect("it can be stopped");
        let (by, since) = (self.standing.sponsor.id.clone(), self.clock.now());
        let stop = Stop { what, by, reason: "test".to_owned(), since, wish: None };
        Unit { effects: vec![put(FactKey::stop(&stop.what), &stop)], ..Unit::default() }
    }

    /// A unit that quarantines an instance of the agent.
    pub(crate) fn quarantining(&self) -> Unit {
        let (signal, since) = ("key_copied".to_owned(), self.clock.now());
        let state = InstanceState::Quarantined { signal, since };
        let stopped = Stopped(BTreeMap::from([(self.standing.instance.id, state)]));
        let key = FactKey::stopped(&self.standing.agent.name);
        Unit { effects: vec![put(key, &stopped)], ..Unit::default() }
    }

    /// A unit that deactivates the sponsor.
    pub(crate) fn sponsor_leaves(&self) -> Unit {
        let state = PersonState::Inactive { since: self.clock.now() };
        let person = Person { state, ..self.standing.sponsor.clone() };
        Unit { effects: vec![put(FactKey::person(&person.id), &person)], ..Unit::default() }
    }

    /// Waits until every outcome that is to be written is.
    pub(crate) async fn drained(&self) {
        self.authority.drained().await;
    }
}

/// What compiles for all tests.
pub(crate) fn compiler() -> SharedCompiler {
    COMPILER.clone()
}

pub(crate) async fn compiled(bundle: Bundle) -> Arc<Snapshot> {
    COMPILER.compile(bundle).await.expect("it compiles")
}

/// Waits until `holds`, for as long as a slow machine may take.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..10_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{what}: not within twenty seconds");
}

pub(crate) fn open(
    dir: &TempDir,
    (clock, entropy): (&Arc<ManualClock>, &Arc<SeededEntropy>),
) -> (Arc<Interposed>, Journal) {
    let path = dir.path().join("chancery.db");
    let options = || {
        let on_fatal = Arc::new(|error| panic!("the store gave up: {error}"));
        Options { clock: clock.clone(), on_fatal }
    };
    // A store that was dropped lets go of its database a moment later.
    let opened = (0..1_000_000).find_map(|_| match SqliteStore::open(&path, options()) {
        Err(OpenError::InUse { .. }) => {
            std::thread::yield_now();
            None
        }
        opened => Some(opened),
    });
    let opened = opened.expect("somebody still uses the database").expect("it opens");
    let store = Arc::new(Interposed::over(opened));
    let sealer = Sealer::new(SealingKey::from_bytes([9; 32]), entropy.clone());
    (store.clone(), Journal::new(store, Arc::new(sealer)))
}

pub(crate) async fn start(
    journal: &Journal,
    limits: Limits,
    (clock, entropy): (&Arc<ManualClock>, &Arc<SeededEntropy>),
) -> (Arc<Authority>, JoinHandle<()>) {
    let pip = Pip::open(journal).await.expect("the store can be read");
    let (authority, outcomes) = Authority::new(Parts {
        journal: journal.clone(),
        pip,
        clock: clock.clone(),
        last_record: Timestamp::from_millis(0),
        entropy: entropy.clone(),
        limits,
    });
    (Arc::new(authority), tokio::spawn(outcomes.run()))
}

/// What makes `snapshot` the active set.
pub(crate) fn policy_unit(snapshot: &Snapshot) -> Unit {
    let digest = snapshot.digest();
    let effects = vec![
        put(FactKey::policy(&digest), snapshot.bundle()),
        put(FactKey::active_policy(), &json!({ "digest": digest })),
    ];
    Unit { effects, ..Unit::default() }
}

pub(crate) fn person(id: &str, groups: &[&str]) -> Person {
    let groups = groups.iter().map(|group| group.parse::<GroupName>().expect("a group"));
    Person::new(id.parse().expect("a person"), groups.collect())
}

fn facts(now: Timestamp) -> Facts {
    let day = Duration::from_hours(24);
    let sponsor = person("sam.sponsor@example.org", &["administrators"]);
    let scope = Scope {
        tools: BTreeSet::from(["crm/*".parse().expect("a pattern")]),
        harm: Harm::ALL.into_iter().collect(),
        ..Scope::default()
    };
    let purpose = Purpose {
        id: "care".parse().expect("a purpose"),
        owner: sponsor.id.clone(),
        owned: Some(now),
        scope: scope.clone(),
        data: BTreeSet::new(),
        description: String::new(),
    };
    let agent = Agent {
        name: "billing".parse().expect("an agent"),
        sponsor: sponsor.id.clone(),
        business_owner: sponsor.id.clone(),
        technical_owner: sponsor.id.clone(),
        owned: Some(now),
        bounded_by: Some(sponsor.id.clone()),
        backups: BTreeSet::new(),
        purposes: BTreeSet::from([purpose.id.clone()]),
        ceiling: scope.clone(),
        key: json!({}),
        key_expires: now.plus(90 * day),
        keys_compromised: None,
        valid_until: Some(now.plus(30 * day)),
        host: None,
        workloads: Vec::new(),
        client: None,
        memory: model::Memory::Kept,
        forgets: None,
        declared: model::Declared::default(),
        departed: None,
        registered: now,
        affirmed: None,
        review: AgentReview::default(),
        risk: None,
        risk_of_new: None,
        rated: Rated::default(),
        source: None,
        state: AgentState::Active,
    };
    let mandate = Mandate {
        id: MandateId::from_bytes([3; 16]),
        basis: MandateBasis::Standing { sponsor: sponsor.id.clone() },
        agent: agent.name.clone(),
        purpose: purpose.id.clone(),
        scope: scope.clone(),
        given: now,
        valid_until: now.plus(30 * day),
        withdrawn: None,
    };
    let (instance, task) = (InstanceId::from_bytes([1; 16]), TaskId::from_bytes([2; 16]));
    Facts {
        instance: Instance {
            id: instance,
            agent: agent.name.clone(),
            key: Some(Thumbprint::from_bytes([8; 32])),
            attestation: Attestation::User,
            process: None,
            workload: None,
            device: None,
            keys_compromised: None,
            task,
            departed: None,
            started: now,
            risk: None,
            rated: Rated::default(),
            state: InstanceState::Active,
        },
        task: Task {
            id: task,
            instance,
            delegation: None,
            mandate: mandate.id,
            mandate_digest: mandate.digest(),
            purpose: purpose.id.clone(),
            subject: TaskSubject::Autonomous,
            scope,
            opened: now,
            deadline: now.plus(Duration::from_hours(8)),
            state: TaskState::Open,
        },
        server: Server {
            name: "crm".parse().expect("a server"),
            enforcement: Enforcement::Mandatory,
            origin: "https://crm.example/mcp".to_owned(),
            added: now,
            account: None,
            callers: BTreeSet::new(),
            place: model::Place::default(),
        },
        tools: vec![
            tool("lookup", Harm::ReadsData, &sponsor.id),
            tool("refund", Harm::MovesMoney, &sponsor.id),
            tool("deploy", Harm::ChangesProduction, &sponsor.id),
        ],
        limits: Limits {
            decision_timeout: DECISION_TIMEOUT,
            review_interval: REVIEW_INTERVAL,
            tasks_of_person: None,
            calls_of_person: None,
            policy_grace: Duration::from_hours(24),
        },
        other: person("olga.other@example.org", &[]),
        sponsor,
        agent,
        purpose,
        mandate,
    }
}

pub(crate) fn tool(name: &str, harm: Harm, owner: &PersonId) -> Tool {
    let input_schema = json!({
        "type": "object",
        "properties": { "account": { "type": "string" }, "amount": { "type": "integer" } },
    });
    Tool {
        tool: format!("crm/{name}").parse().expect("a tool"),
        pin: PinDigest::of(name.as_bytes()),
        descriptor: json!({ "name": name, "inputSchema": input_schema }),
        owner: Some(owner.clone()),
        owned: None,
        harm: BTreeSet::from([harm]),
        objects: None,
        data: BTreeSet::new(),
        requires_subject: false,
        not_delegable: false,
        state: ToolState::Pinned,
    }
}

async fn write(journal: &Journal, facts: &Facts) {
    let Facts { sponsor, other, agent, purpose, mandate, instance, task, server, tools, .. } =
        facts;
    let mut effects = vec![
        put(FactKey::agent(&agent.name), agent),
        put(FactKey::purpose(&purpose.id), purpose),
        put(FactKey::mandate(mandate.id), mandate),
        put(FactKey::standing_mandate(&agent.name, &purpose.id), &mandate.id),
        put(FactKey::instance(instance.id), instance),
        put(FactKey::key(&instance.key.expect("it has one")), &instance.id),
        put(FactKey::task(task.id), task),
        put(FactKey::server(&server.name), server),
    ];
    for person in [sponsor, other] {
        let data_key = journal.sealer().new_data_key(&person.id);
        effects.push(put(FactKey::person(&person.id), person));
        effects.push(Effect::Put { key: data_key.key, body: data_key.body });
    }
    effects.extend(tools.iter().map(|tool| put(FactKey::tool(&tool.tool), tool)));
    let unit = Unit { effects, ..Unit::default() };
    journal.store().commit(unit).await.expect("the facts are written");
}
