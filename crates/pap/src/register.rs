//! The register: people and agents.

use std::collections::BTreeSet;

use authority::{Effect, Fact, Reader};
use keys::VerifyingKey;
use model::workload::RULES_MAX;
use model::{
    Agent, AgentName, AgentReview, AgentState, BACKUPS_MAX, FactKey, Harm, InstanceId, LEASE_MAX,
    Mandate, MandateId, Memory, Person, PersonId, PersonState, Purpose, PurposeId, Rated,
    ResourceRef, Scope, Sha256Digest, Stranger, Thumbprint, Timestamp, WorkloadRule,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::asked::Command;
use crate::clients::check_client;
use crate::command::{AdminError, Administration};
use crate::lease::{AGENT_KEY_LIFETIME, standing_mandate, with_lease};
use crate::said::Registration;
use crate::silent::AllHeard;
use crate::widening;

pub(crate) fn put<T: Serialize>(key: FactKey, fact: &T) -> Effect {
    Effect::Put { key, body: json::canonical_of(fact) }
}

pub(crate) fn put_new<T: Serialize>(key: FactKey, fact: &T) -> Effect {
    Effect::PutNew { key, body: json::canonical_of(fact) }
}

impl Administration {
    pub(crate) async fn register(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::PersonAdd { id, groups } => self.person_add(by, &id, &groups).await,
            Command::PersonDeactivate { id } => self.person_deactivate(by, &id).await,
            Command::PersonConfirm { id, word } => self.person_confirm(by, (&id, word)).await,
            Command::PersonList => self.list_heard(by, "person/", AllHeard::tell_person).await,
            Command::AgentAdd(registration) => self.agent_add(by, &registration).await,
            Command::AgentAttest { name, host, workloads } => {
                check_rules(&workloads)?;
                let change = json!({ "host": host, "workloads": workloads });
                let make = |agent: &mut Agent| (agent.host, agent.workloads) = (host, workloads);
                self.agent_change(by, (&name, "agent/attest"), change, make).await
            }
            Command::AgentClient { name, client } => self.agent_client(by, &name, client).await,
            Command::AgentSuspend { name, reason } => {
                let (now, change) = (self.now(), json!(reason));
                let suspend = |agent: &mut Agent| agent.suspend(reason, now);
                self.agent_change(by, (&name, "agent/suspend"), change, suspend).await
            }
            Command::AgentList { as_of } => self.agent_list(by, as_of.as_deref()).await,
            Command::RegisterShow { as_of, after } => {
                self.register_show(by, (as_of.as_deref(), after.as_deref())).await
            }
            instances => self.instances(by, instances).await,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.authority.clock().now()
    }

    async fn person_add(
        &self,
        by: &PersonId,
        id: &str,
        groups: &[String],
    ) -> Result<Value, AdminError> {
        let id: PersonId = id.parse().map_err(AdminError::invalid)?;
        let groups = groups.iter().map(|group| group.parse()).collect::<Result<_, _>>();
        let told = Person::new(id.clone(), groups.map_err(AdminError::invalid)?);
        let data_key = self.authority.journal().sealer().new_data_key(&id);
        let mut draft = self.draft(by, "person/add", ResourceRef::Person(id.clone())).await?;
        let rule = widening::rule(&mut draft.reader).await.map_err(AdminError::unavailable)?;
        let person = rule.becomes((None, told), (Some(by), self.now()));
        let mut effects = vec![
            put_new(FactKey::person(&id), &person),
            Effect::PutNew { key: data_key.key, body: data_key.body },
        ];
        effects.extend(widening::due(&person));
        let done = draft.make(json!(person), effects).await?;
        let mut told = json!({ "person": id, "decision": done.decision });
        if !person.waits.is_empty() {
            told["waits"] = json!(person.waits);
        }
        Ok(told)
    }

    /// One key written: every decision for what the person sponsors reads it.
    async fn person_deactivate(&self, by: &PersonId, id: &str) -> Result<Value, AdminError> {
        let id: PersonId = id.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Person(id.clone());
        let mut draft = self.draft(by, "person/deactivate", target).await?;
        let key = FactKey::person(&id);
        let mut person =
            known::<Person>(&mut draft.reader, key.clone(), &format!("person `{id}`")).await?;
        let (was, now) = (person.clone(), self.now());
        person.state = PersonState::Inactive { since: now };
        person.waits.returns = None;
        for stranger in widening::brief(&was, &person, now) {
            draft.note_found(stranger).await?;
        }
        let done = draft.make(json!(person), vec![put(key, &person)]).await?;
        Ok(json!({ "person": id, "decision": done.decision }))
    }

    async fn agent_add(
        &self,
        by: &PersonId,
        registration: &Registration,
    ) -> Result<Value, AdminError> {
        let name: AgentName = registration.name.parse().map_err(AdminError::invalid)?;
        let wanted: PurposeId = registration.purpose.parse().map_err(AdminError::invalid)?;
        let key = VerifyingKey::from_jwk(&registration.key).map_err(AdminError::invalid)?;
        check_rules(&registration.workloads)?;
        check_client(registration.client.as_ref())?;
        let mut draft = self.draft(by, "agent/add", ResourceRef::Agent(name.clone())).await?;
        let reader = &mut draft.reader;
        let keeps = self.own_key(reader, &key, FactKey::agent(&name)).await?;
        let sponsor = active(reader, &registration.sponsor, "sponsor").await?;
        let business = &registration.business_owner;
        let business_owner = active(reader, business, "business owner").await?.id;
        let technical = &registration.technical_owner;
        let technical_owner = active(reader, technical, "technical owner").await?.id;
        let purpose = owned_purpose(reader, &wanted).await?;
        self.is_answered_for(reader).await?;
        let backups = backups(reader, &registration.backups, &sponsor.id).await?;
        let now = self.now();
        let people = (sponsor.id, business_owner, technical_owner);
        let agent = Agent {
            bounded_by: Some(by.clone()),
            backups,
            valid_until: Some(now.plus(LEASE_MAX)),
            key: registration.key.clone(),
            key_expires: now.plus(AGENT_KEY_LIFETIME),
            host: registration.host.clone(),
            workloads: registration.workloads.clone(),
            client: registration.client.clone().map(|client| client.registered(now)),
            memory: registration.memory,
            ..new_agent(name.clone(), people, &purpose, now)
        };
        let id = MandateId::new(now, self.authority.entropy().as_ref());
        let mandate = standing_mandate(&agent, &purpose, (id, now));
        let mandate = (!registration.on_behalf_only).then_some(mandate);
        let mut effects = entered(&agent, mandate.as_ref());
        effects.push(keeps);
        // One client is one agent.
        let client = agent.client.as_ref();
        effects.extend(client.map(|client| put_new(FactKey::client(&client.id), &name)));
        let done = draft.make(json!({ "agent": agent, "mandate": mandate }), effects).await?;
        let mandate = mandate.map(|mandate| mandate.id);
        let told = json!({ "agent": name, "mandate": mandate, "decision": done.decision });
        Ok(with_lease(told, &agent))
    }

    /// What makes `key` that of `owner` alone. Whose it is already, it stays; that it was to be
    /// another's too, is found.
    pub(crate) async fn own_key(
        &self,
        reader: &mut Reader<'_>,
        key: &VerifyingKey,
        owner: FactKey,
    ) -> Result<Effect, AdminError> {
        let thumbprint = Thumbprint::from_bytes(key.thumbprint());
        let place = FactKey::registered(&thumbprint);
        let known = reader.find::<FactKey>(place.clone()).await.map_err(AdminError::unavailable)?;
        let held = reader.find::<InstanceId>(FactKey::key(&thumbprint)).await;
        let held = held.map_err(AdminError::unavailable)?.map(FactKey::instance);
        let Some(holder) = known.or(held) else { return Ok(put_new(place, &owner)) };
        if holder != owner {
            self.authority.note_stranger(Stranger {
                cause: "key_registered_twice".to_owned(),
                tried: "registration".to_owned(),
                credential: Some(Sha256Digest::from_bytes(*thumbprint.as_bytes())),
                claimed: Some(owner.to_string()),
                holder: Some(holder.to_string()),
                ..Stranger::default()
            });
        }
        Err(AdminError::Invalid(format!("the key is that of `{holder}`: a key is of one alone")))
    }

    async fn agent_change(
        &self,
        by: &PersonId,
        (name, action): (&str, &'static str),
        change: Value,
        make: impl FnOnce(&mut Agent),
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, action, ResourceRef::Agent(name.clone())).await?;
        let mut agent = registered(&mut draft.reader, &name).await?;
        make(&mut agent);
        let done = draft.make(change, vec![put(FactKey::agent(&name), &agent)]).await?;
        Ok(json!({ "agent": name, "decision": done.decision }))
    }
}

/// The agent `name`, for `purpose`, for which these people answer from `now` on: the sponsor, who wants it,
/// who keeps it running. It has neither key nor lease, and nobody has set what it may ever be given: nothing of
/// it acts.
pub(crate) fn new_agent(
    name: AgentName,
    (sponsor, business_owner, technical_owner): (PersonId, PersonId, PersonId),
    purpose: &Purpose,
    now: Timestamp,
) -> Agent {
    Agent {
        name,
        sponsor,
        business_owner,
        technical_owner,
        owned: Some(now),
        backups: BTreeSet::new(),
        purposes: BTreeSet::from([purpose.id.clone()]),
        // Which data it is for, the purpose and each mandate say.
        ceiling: Scope { objects: None, ..purpose.scope.clone() },
        bounded_by: None,
        key: Value::Null,
        key_expires: now,
        keys_compromised: None,
        valid_until: Some(now),
        host: None,
        workloads: Vec::new(),
        client: None,
        memory: Memory::Kept,
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
    }
}

/// What enters `agent`, whose name was never another's, with the mandate on which it stands.
pub(crate) fn entered(agent: &Agent, mandate: Option<&Mandate>) -> Vec<Effect> {
    let mut effects = vec![put_new(FactKey::agent(&agent.name), agent)];
    if let Some(mandate) = mandate {
        effects.extend([
            put_new(FactKey::mandate(mandate.id), mandate),
            put_new(FactKey::standing_mandate(&agent.name, &mandate.purpose), &mandate.id),
        ]);
    }
    effects
}

/// The fact at `key`, which must be there: `what`, as it is told where it is not.
pub(crate) async fn known<T: Fact>(
    reader: &mut Reader<'_>,
    key: FactKey,
    what: &str,
) -> Result<T, AdminError> {
    let found = reader.find::<T>(key).await.map_err(AdminError::unavailable)?;
    found.ok_or_else(|| AdminError::Missing(what.to_owned()))
}

/// The agent `name`, which must be registered.
pub(crate) async fn registered(
    reader: &mut Reader<'_>,
    name: &AgentName,
) -> Result<Agent, AdminError> {
    known::<Agent>(reader, FactKey::agent(name), &format!("agent `{name}`")).await
}

/// The purpose `wanted`, if its owner still answers for it: whoever came back since it was theirs is asked
/// anew.
pub(crate) async fn owned_purpose(
    reader: &mut Reader<'_>,
    wanted: &PurposeId,
) -> Result<Purpose, AdminError> {
    let what = format!("purpose `{wanted}`: add it with `chancery purpose add {wanted}`");
    let purpose = known::<Purpose>(reader, FactKey::purpose(wanted), &what).await?;
    let owner = reader.find::<Person>(FactKey::person(&purpose.owner)).await;
    let owner = owner.map_err(AdminError::unavailable)?;
    let owners = owner.map(|owner| (owner.id.clone(), owner)).into_iter().collect();
    if purpose.is_owned(&owners) {
        return Ok(purpose);
    }
    Err(AdminError::Invalid(format!(
        "`{}` does not answer for the purpose `{wanted}`: name its owner with \
         `chancery purpose owner {wanted} --owner PERSON`",
        purpose.owner
    )))
}

/// The active person `id`, who is to be `role`.
pub(crate) async fn active(
    reader: &mut Reader<'_>,
    id: &str,
    role: &str,
) -> Result<Person, AdminError> {
    let id: PersonId = id.parse().map_err(AdminError::invalid)?;
    let found = reader.find::<Person>(FactKey::person(&id)).await;
    match found.map_err(AdminError::unavailable)? {
        Some(person) if person.is_active() => Ok(person),
        Some(_) => Err(AdminError::Invalid(format!("the {role} `{id}` is not active"))),
        None => Err(AdminError::Invalid(format!(
            "the {role} `{id}` is not a known person: add them with `chancery person add {id}`"
        ))),
    }
}

/// Those who are named to be asked when `sponsor` is gone: other people who are there.
async fn backups(
    reader: &mut Reader<'_>,
    named: &[String],
    sponsor: &PersonId,
) -> Result<BTreeSet<PersonId>, AdminError> {
    if named.len() > BACKUPS_MAX {
        return Err(AdminError::Invalid(format!("an agent has at most {BACKUPS_MAX} backups")));
    }
    let mut backups = BTreeSet::new();
    for named in named {
        let backup = active(reader, named, "backup").await?.id;
        if backup == *sponsor || !backups.insert(backup) {
            let why = format!("`{named}` is named twice: a backup is somebody else");
            return Err(AdminError::Invalid(why));
        }
    }
    Ok(backups)
}

fn check_rules(workloads: &[WorkloadRule]) -> Result<(), AdminError> {
    if workloads.len() <= RULES_MAX {
        return Ok(());
    }
    Err(AdminError::Invalid(format!("an agent has at most {RULES_MAX} rules for workloads")))
}

/// The harm classes with these names.
pub(crate) fn classes(names: &[String]) -> Result<BTreeSet<Harm>, AdminError> {
    let class = |name: &String| {
        Harm::named(name).ok_or_else(|| {
            let all = Harm::ALL.map(Harm::as_str).join("`, `");
            AdminError::Invalid(format!("`{name}` is not a harm class: one of `{all}`"))
        })
    };
    names.iter().map(class).collect()
}
