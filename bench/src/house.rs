//! A whole deployment in this process, on this disk: store, journal, authority, and an agent with
//! others that work for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use authority::{
    Actor, AdminAct, Authority, ChangedBy, Circumstances, Governed, Limits, Parts, Pip,
    REVIEW_INTERVAL,
};
use journal::{Journal, Sealer};
use keys::SealingKey;
use model::{
    AccessRequest, Agent, Binding, Clock as _, Entropy as _, FactKey, Instance, InstanceId,
    Mandate, MandateId, Person, PersonId, PersonState, Purpose, ResourceRef, Standing, Task,
    TaskId, Timestamp,
};
use pdp::{Bundle, Snapshot};
use serde::Serialize;
use serde_json::{Value, json};
use store::{Effect, Store, Unit};
use store_sqlite::{Options, SqliteStore};

use crate::workload;
use crate::world::{Random, WallClock};

/// How long everything in it lasts.
const FOR: Duration = Duration::from_hours(8);

/// Everybody may do everything that their scopes hold.
const OPEN: &str = r#"@id("open") permit (principal, action, resource);
                      @id("named") permit (principal, action, resource in Server::"bench");"#;

/// The deployment.
pub(crate) struct House {
    pub(crate) authority: Arc<Authority>,
    pub(crate) clock: Arc<WallClock>,
    /// The agent that begins the work, with everything behind it.
    pub(crate) lead: Standing,
    store: Arc<dyn Store>,
}

/// The fact `fact` under `key`.
pub(crate) fn put<T: Serialize>(key: FactKey, fact: &T) -> Effect {
    Effect::Put { key, body: json::canonical_of(fact) }
}

/// That the set of `snapshot` is in force.
fn in_force(snapshot: &Snapshot) -> Vec<Effect> {
    let digest = snapshot.digest();
    vec![
        put(FactKey::policy(&digest), snapshot.bundle()),
        put(FactKey::active_policy(), &json!({ "digest": digest })),
    ]
}

/// What one instance asks for.
#[derive(Debug)]
pub(crate) struct Act {
    request: AccessRequest,
    circumstances: Circumstances,
}

impl Governed for Act {
    fn request(&self) -> &AccessRequest {
        &self.request
    }

    fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }
}

impl House {
    /// A deployment in `dir` with the agent `lead`, whose key is `key`.
    pub(crate) async fn open(dir: &Path, key: Value) -> anyhow::Result<Self> {
        Self::open_at(dir, key, WallClock::new()).await
    }

    /// The same, by `clock`.
    pub(crate) async fn open_at(dir: &Path, key: Value, clock: WallClock) -> anyhow::Result<Self> {
        let clock = Arc::new(clock);
        let abort = |_| std::process::abort();
        let options = Options { clock: clock.clone(), on_fatal: Arc::new(abort) };
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.join("house.db"), options)?);
        let mut master = [0; 32];
        Random.fill(&mut master);
        let sealer = Sealer::new(SealingKey::from_bytes(master), Arc::new(Random));
        let journal = Journal::new(store.clone(), Arc::new(sealer));
        let (now, end) = (clock.now(), clock.now().plus(FOR));
        let mut lead = workload::standing("lead", "support", 1);
        (lead.agent.key, lead.agent.key_expires, lead.mandate.valid_until) = (key, end, end);
        (lead.agent.registered, lead.mandate.given) = (now, now);
        (lead.task.opened, lead.task.deadline) = (now, end);
        lead.task.mandate_digest = lead.mandate.digest();
        let data_key = journal.sealer().new_data_key(&lead.sponsor.id);
        let bundle = Bundle {
            policies: BTreeMap::from([("bench.cedar".to_owned(), OPEN.to_owned())]),
            tools: workload::bundle(1).tools,
            ..Bundle::default()
        };
        let snapshot = Arc::new(Snapshot::compile(bundle)?);
        let standing = &lead;
        let purpose = &standing.purpose.id;
        let mut effects = in_force(&snapshot);
        effects.extend([
            Effect::Put { key: data_key.key, body: data_key.body },
            put(FactKey::person(&standing.sponsor.id), &standing.sponsor),
            put::<Purpose>(FactKey::purpose(purpose), &standing.purpose),
            put::<Agent>(FactKey::agent(&standing.agent.name), &standing.agent),
            put(FactKey::mandate(standing.mandate.id), &standing.mandate),
            put(FactKey::standing_mandate(&standing.agent.name, purpose), &standing.mandate.id),
            put(FactKey::task(standing.task.id), &standing.task),
            put(FactKey::instance(standing.instance.id), &standing.instance),
        ]);
        let pip = Pip::open(&journal).await?;
        let committed = journal.store().commit(Unit { effects, ..Unit::default() }).await?;
        pip.put_in_force(snapshot, committed.revision);
        let (authority, outcomes) = Authority::new(Parts {
            journal,
            pip,
            clock: clock.clone(),
            last_record: Timestamp::from_millis(0),
            entropy: Arc::new(Random),
            limits: Limits {
                decision_timeout: Duration::from_secs(30),
                review_interval: REVIEW_INTERVAL,
                tasks_of_person: None,
                calls_of_person: None,
                policy_grace: Duration::from_hours(24),
            },
        });
        tokio::spawn(outcomes.run());
        Ok(Self { authority: Arc::new(authority), clock, lead, store })
    }

    /// Writes facts, as an administrator's act would.
    pub(crate) async fn put(&self, effects: Vec<Effect>) -> anyhow::Result<()> {
        self.store.commit(Unit { effects, ..Unit::default() }).await?;
        Ok(())
    }

    /// Somebody who may administer.
    pub(crate) async fn administrator(&self) -> anyhow::Result<PersonId> {
        let person = Person::new("admin".parse()?, BTreeSet::new());
        let key = self.authority.journal().sealer().new_data_key(&person.id);
        let key = Effect::Put { key: key.key, body: key.body };
        self.put(vec![key, put(FactKey::person(&person.id), &person)]).await?;
        Ok(person.id)
    }

    /// The sponsor is deactivated by `by`, as `person deactivate` does it: decided, then written with its record.
    pub(crate) async fn deactivate_sponsor(&self, by: PersonId) -> anyhow::Result<()> {
        let (mut reader, id) = (self.authority.pip().reader(), &self.lead.sponsor.id);
        let was: Person = reader.need(FactKey::person(id)).await?;
        let gone = Person { state: PersonState::Inactive { since: self.clock.now() }, ..was };
        let read = reader.sourced(());
        let act = AdminAct {
            by: ChangedBy::person(by),
            action: "person/deactivate",
            target: ResourceRef::Person(id.clone()),
            change: json!(gone),
            reads: (read.keys, read.revision),
            effects: vec![put(FactKey::person(id), &gone)],
        };
        self.authority.may_administer(&act).await?;
        self.authority.administer(act).await?;
        Ok(())
    }

    /// Another agent like the first, with `key`.
    pub(crate) fn agent(&self, name: &str, key: Value) -> Agent {
        let name = name.parse().expect("it is a name");
        Agent { name, key, ..self.lead.agent.clone() }
    }

    /// What `instance` asks for by `request`.
    pub(crate) fn act(&self, instance: InstanceId, request: AccessRequest) -> Act {
        let circumstances = Circumstances {
            actor: Actor::Known(instance),
            binding: Binding::Dpop,
            token: None,
            point: "bench",
            arrived: self.clock.monotonic(),
            trace: None,
            uses: Vec::new(),
            enclosed: Vec::new(),
        };
        Act { request, circumstances }
    }

    /// Puts a policy set in force, as its release would.
    pub(crate) async fn put_in_force(&self, snapshot: Arc<Snapshot>) -> anyhow::Result<()> {
        let effects = in_force(&snapshot);
        let committed = self.store.commit(Unit { effects, ..Unit::default() }).await?;
        self.authority.pip().put_in_force(snapshot, committed.revision);
        Ok(())
    }

    /// A new agent of the one sponsor, with a mandate, an instance and a task of its own.
    pub(crate) async fn sponsored(&self, name: &str) -> anyhow::Result<InstanceId> {
        let now = self.clock.now();
        let (instance, task) = (InstanceId::new(now, &Random), TaskId::new(now, &Random));
        let (mandate, agent) = (MandateId::new(now, &Random), self.agent(name, json!({})));
        let mandate =
            Mandate { id: mandate, agent: agent.name.clone(), ..self.lead.mandate.clone() };
        let lead = self.lead.task.clone();
        let (id, mandate_digest) = (mandate.id, mandate.digest());
        let task = Task { id: task, instance, mandate: id, mandate_digest, ..lead };
        let lead = self.lead.instance.clone();
        let instance = Instance { id: instance, agent: agent.name.clone(), task: task.id, ..lead };
        let standing = FactKey::standing_mandate(&agent.name, &mandate.purpose);
        let effects = vec![
            put(FactKey::agent(&agent.name), &agent),
            put(FactKey::mandate(mandate.id), &mandate),
            put(standing, &mandate.id),
            put(FactKey::task(task.id), &task),
            put(FactKey::instance(instance.id), &instance),
        ];
        self.put(effects).await?;
        Ok(instance.id)
    }
}
