//! What somebody holds: each credential, and whether it still counts.

mod own;

use std::collections::BTreeMap;

use authority::{AtRest, FactsError, Pages};
use model::{
    Agent, AgentName, Binding, Device, Elevation, ElevationState, Enrolled, FactKey, Family, Hop,
    Instance, InstanceId, InstanceState, KernelRule, Mandate, MandateBasis, Person, PersonId,
    Standing, Stop, Stopped, Stops, Task, Timestamp,
};
use serde::de::DeserializeOwned;

use super::causes::{AllStops, Cause, left, of_device, of_mandate, of_stopped};
use super::signals::{Root, Signals};
use super::{CREDENTIALS_MAX, Credential, CredentialKind, Died, Instances, State, Used, Whose};
use crate::command::Administration;

/// What whoever took an agent over has to do about its key.
const EXCHANGE: &str = "exchange it: `chancery agent renew --new-key`";

/// What somebody holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) credentials: Vec<Credential>,
    pub(super) instances: Instances,
    /// Whether it is all: beyond the most nothing more is looked at.
    pub(super) is_all: bool,
}

/// Looks for what somebody holds.
struct Look<'a> {
    administration: &'a Administration,
    whose: &'a Whose,
    signals: &'a Signals,
    now: Timestamp,
    /// What is stopped, as the kernel reads it, and since when.
    stops: (Stops, AllStops),
    held: Held,
}

impl Administration {
    /// What is of `whose`, as it is at `now`.
    pub(super) async fn held(
        &self,
        whose: &Whose,
        signals: &Signals,
        now: Timestamp,
    ) -> Result<Held, FactsError> {
        let all = authority::all::<Stop>(self.authority.pip().store(), "stop/").await?;
        let all: AllStops = all.into_iter().map(|stop| (stop.what.clone(), stop)).collect();
        let stops = (Stops(all.keys().cloned().collect()), all);
        let held = Held { is_all: true, ..Held::default() };
        let mut look = Look { administration: self, whose, signals, now, stops, held };
        look.agents().await?;
        look.instances().await?;
        look.mandates().await?;
        look.devices().await?;
        look.families().await?;
        look.elevations().await?;
        if let Whose::Person(person) = whose {
            look.person(person).await?;
        }
        Ok(look.held)
    }
}

fn code(verdict: Result<(), KernelRule>) -> Option<&'static str> {
    verdict.err().map(KernelRule::as_str)
}

/// How the token of `instance` is bound.
fn binding(instance: &Instance) -> Binding {
    if instance.key.is_some() { Binding::Dpop } else { Binding::None }
}

impl Look<'_> {
    /// Whether there is room for more.
    fn has_room(&mut self) -> bool {
        self.held.is_all &= self.held.credentials.len() <= CREDENTIALS_MAX;
        self.held.is_all
    }

    /// The next page of facts of one kind.
    async fn page<T: DeserializeOwned>(
        &mut self,
        pages: &mut Pages<'_>,
    ) -> Result<Option<Vec<(FactKey, T)>>, FactsError> {
        if !self.has_room() {
            return Ok(None);
        }
        let Some(facts) = pages.next().await? else { return Ok(None) };
        let parsed = facts.into_iter().map(|(key, body)| {
            let fact = serde_json::from_slice(&body);
            fact.map(|fact| (key.clone(), fact))
                .map_err(|source| FactsError::Damaged { key, source })
        });
        parsed.collect::<Result<_, _>>().map(Some)
    }

    /// Whether somebody answered for `agent` when something was given at `given`.
    fn answered(&self, person: &PersonId, agent: &Agent, given: Timestamp) -> bool {
        let mut since = self.signals.sponsors_after(&agent.name, given);
        since.next().map_or(&agent.sponsor, |(_, from)| from) == person
    }

    async fn with_sponsor(&self, agent: &AgentName) -> Result<(Agent, Person), FactsError> {
        let mut reader = self.administration.knowing();
        let agent: Agent = reader.need(FactKey::agent(agent)).await?;
        let sponsor = reader.need(FactKey::person(&agent.sponsor)).await?;
        Ok((agent, sponsor))
    }

    /// Why an instance of `agent` could begin nothing, and which of its instances were stopped.
    async fn at_rest(
        &self,
        agent: &AgentName,
    ) -> Result<(Option<&'static str>, Vec<Cause>), FactsError> {
        let mut reader = self.administration.knowing();
        let begins = authority::may_begin(&mut reader, agent, self.now).await?;
        let stopped = reader.find::<Stopped>(FactKey::stopped(agent)).await?;
        Ok((begins.err().map(AtRest::code), stopped.map_or_else(Vec::new, of_stopped)))
    }

    async fn agents(&mut self) -> Result<(), FactsError> {
        let mut pages = self.administration.pages("agent/");
        while let Some(agents) = self.page::<Agent>(&mut pages).await? {
            for (_, agent) in agents {
                let is_concerned = match self.whose {
                    Whose::Agent(name) => *name == agent.name,
                    Whose::Person(person) => {
                        let from = Timestamp::from_millis(0);
                        let mut before = self.signals.sponsors_after(&agent.name, from);
                        agent.sponsor == *person || before.any(|(_, from)| from == person)
                    }
                };
                if is_concerned {
                    self.agent(&agent).await?;
                }
            }
        }
        Ok(())
    }

    /// What says which instances are an agent's own.
    async fn agent(&mut self, agent: &Agent) -> Result<(), FactsError> {
        let (_, sponsor) = self.with_sponsor(&agent.name).await?;
        let (why, stopped) = self.at_rest(&agent.name).await?;
        let is_passed_on = matches!(self.whose, Whose::Person(id) if *id != agent.sponsor);
        let is_replaced = self.is_key_replaced(agent);
        let key = keys::VerifyingKey::from_jwk(&agent.key).map(|key| key.thumbprint_text());
        // One that a directory registered has none until its sponsor gives it one.
        let key =
            (!agent.key.is_null()).then(|| (CredentialKind::AgentKey, key.unwrap_or_default()));
        let host =
            agent.host.as_ref().map(|host| (CredentialKind::HostRule, format!("uid {}", host.uid)));
        let workloads = agent.workloads.iter();
        let workloads = workloads.map(|rule| {
            let rule = String::from_utf8_lossy(&json::canonical_of(rule)).into_owned();
            (CredentialKind::WorkloadRule, rule)
        });
        let client =
            agent.client.as_ref().map(|client| (CredentialKind::OauthClient, client.id.clone()));
        let all = key.into_iter().chain(host).chain(workloads).chain(client);
        for (kind, id) in all {
            let credential = Credential::new(kind, id, &agent.name);
            // Whoever answered for it before may hold the private half still, which vouches until another
            // key is in its place.
            let is_shared = is_passed_on && kind == CredentialKind::AgentKey && !is_replaced;
            let credential = if is_passed_on && !is_shared {
                Credential { state: State::PassedOn, ..credential }
            } else {
                let needs = (is_shared && why.is_none()).then_some(EXCHANGE);
                let credential = Credential { needs, ..credential };
                credential.is(why, || {
                    let given = agent.registered;
                    let mut causes = self.signals.of_agent((agent, &sponsor), given, &self.stops.1);
                    causes.extend(stopped.iter().cloned());
                    self.signals.died(causes, self.now)
                })
            };
            self.held.credentials.push(credential);
        }
        Ok(())
    }

    /// Whether the key of `agent` was replaced since it was last taken over from whose report this is.
    fn is_key_replaced(&self, agent: &Agent) -> bool {
        let passed_on = self.signals.sponsors_after(&agent.name, Timestamp::from_millis(0));
        let from_them = passed_on
            .filter(|(_, from)| matches!(self.whose, Whose::Person(person) if person == from));
        let since = from_them.last().map_or(agent.registered, |(at, _)| *at);
        self.signals.first(&Root::Key(agent.name.clone()), since).is_some()
    }

    async fn instances(&mut self) -> Result<(), FactsError> {
        let mut pages = self.administration.pages("instance/");
        while let Some(instances) = self.page::<Instance>(&mut pages).await? {
            for (_, instance) in instances {
                let pip = self.administration.authority.pip();
                let standing = pip.standing(instance.id).await?.value.clone();
                if self.is_concerned(&standing) {
                    self.instance(&standing).await?;
                }
            }
        }
        Ok(())
    }

    fn is_concerned(&self, standing: &Standing) -> bool {
        match self.whose {
            Whose::Agent(name) => standing.hops().any(|hop| hop.agent.name == *name),
            Whose::Person(person) => {
                let stands_behind = |hop: Hop<'_>| {
                    self.answered(person, hop.agent, hop.task.opened)
                        || hop.device.is_some_and(|device| device.device.by == *person)
                };
                let is_subject = standing.subject.as_ref().is_some_and(|it| it.id == *person);
                let is_owner = standing.initiator.as_ref().is_some_and(|it| it.owner.id == *person);
                is_subject || is_owner || standing.hops().any(stands_behind)
            }
        }
    }

    /// An instance with its key, and its task.
    async fn instance(&mut self, standing: &Standing) -> Result<(), FactsError> {
        let Standing { instance, task, .. } = standing;
        let how = (binding(instance), self.now);
        let why = code(pdp::stands::standing(standing, &self.stops.0, how));
        let causes = |of: &Standing| self.signals.of_standing(of, &self.stops.1);
        let died = why.and_then(|_| self.signals.died(causes(standing), self.now));
        let used = Used { counts: why.is_none(), died: died.clone() };
        let of_instance = |kind, id: String| Credential {
            instance: Some(instance.id),
            ..Credential::new(kind, id, &instance.agent)
        };
        let mut rows =
            vec![of_instance(CredentialKind::Instance, instance.id.to_string()).is(why, || died)];
        // A task that another instance holds by now is that one's.
        if task.instance == instance.id {
            let (why, died) = self.resumed(standing).await?;
            rows.push(of_instance(CredentialKind::Task, task.id.to_string()).is(why, || died));
        }
        self.held.credentials.extend(rows);
        self.held.instances.insert(instance.id, used);
        Ok(())
    }

    /// By which rule the task of `standing` is refused to whoever would take it over from its holder, and
    /// since when: what ended the holder alone does not end the task.
    async fn resumed(
        &self,
        standing: &Standing,
    ) -> Result<(Option<&'static str>, Option<Died>), FactsError> {
        let mut resumed = standing.clone();
        let renewal = FactKey::renewal(standing.instance.id);
        let mut reader = self.administration.knowing();
        let renewal = reader.find::<serde_json::Value>(renewal).await?;
        // One that its holder began without a chain of tokens, as an OAuth client does, nobody takes over.
        if renewal.is_some() || standing.task.delegation.is_some() {
            resumed.device = None;
            (resumed.instance.state, resumed.instance.device) = (InstanceState::Active, None);
            resumed.instance.keys_compromised = resumed.agent.keys_compromised;
        }
        let how = (binding(&standing.instance), self.now);
        let (why, stopped) = self.at_rest(&standing.agent.name).await?;
        let why = why.or(code(pdp::stands::standing(&resumed, &self.stops.0, how)));
        let mut causes = self.signals.of_standing(&resumed, &self.stops.1);
        causes.extend(stopped);
        Ok((why, why.and_then(|_| self.signals.died(causes, self.now))))
    }

    async fn mandates(&mut self) -> Result<(), FactsError> {
        let mut pages = self.administration.pages("mandate/");
        while let Some(mandates) = self.page::<Mandate>(&mut pages).await? {
            for (_, mandate) in mandates {
                self.mandate(&mandate).await?;
            }
        }
        Ok(())
    }

    async fn mandate(&mut self, mandate: &Mandate) -> Result<(), FactsError> {
        let (agent, sponsor) = self.with_sponsor(&mandate.agent).await?;
        let mut reader = self.administration.knowing();
        let initiator = authority::initiator(&mut reader, &mandate.basis).await?;
        let (kind, subject) = match &mandate.basis {
            MandateBasis::Standing { .. } => (CredentialKind::StandingMandate, None),
            MandateBasis::Initiated { subject, .. } => (CredentialKind::Initiation, Some(subject)),
            MandateBasis::Consented { subject, .. } => (CredentialKind::Consent, Some(subject)),
        };
        let is_concerned = match self.whose {
            Whose::Agent(name) => mandate.agent == *name,
            Whose::Person(person) => {
                subject == Some(person)
                    || self.answered(person, &agent, mandate.given)
                    || initiator.as_ref().is_some_and(|it| it.owner.id == *person)
            }
        };
        if !is_concerned {
            return Ok(());
        }
        let subject = match subject {
            Some(id) => Some(reader.need::<Person>(FactKey::person(id)).await?),
            None => None,
        };
        let (subject, initiator) = (subject.as_ref(), initiator.as_ref());
        let of = (&agent, &sponsor);
        let stands = pdp::stands::mandate(mandate, of, (subject, initiator), self.now);
        let (why, stopped) = self.at_rest(&agent.name).await?;
        let why = why.or(code(stands));
        let died = || {
            let mut causes = self.signals.of_agent(of, mandate.given, &self.stops.1);
            causes.extend(stopped);
            causes.extend(of_mandate(mandate, subject, initiator));
            self.signals.died(causes, self.now)
        };
        let credential = Credential::new(kind, mandate.id, &agent.name).is(why, died);
        self.held.credentials.push(credential);
        Ok(())
    }

    async fn devices(&mut self) -> Result<(), FactsError> {
        let mut pages = self.administration.pages("device/");
        while let Some(devices) = self.page::<Device>(&mut pages).await? {
            for (_, device) in devices {
                let (agent, sponsor) = self.with_sponsor(&device.agent).await?;
                let is_concerned = match self.whose {
                    Whose::Agent(name) => agent.name == *name,
                    Whose::Person(person) => {
                        device.by == *person || self.answered(person, &agent, device.enrolled)
                    }
                };
                if !is_concerned {
                    continue;
                }
                let mut reader = self.administration.knowing();
                let by = reader.need(FactKey::person(&device.by)).await?;
                let enrolled = Enrolled { device, by };
                let stands = pdp::stands::device(&enrolled, &agent, self.now);
                let (why, stopped) = self.at_rest(&agent.name).await?;
                let why = why.or(code(stands));
                let given = enrolled.device.enrolled;
                let died = || {
                    let of = (&agent, &sponsor);
                    let mut causes = self.signals.of_agent(of, given, &self.stops.1);
                    causes.extend(of_device(&enrolled, given));
                    causes.extend(stopped);
                    self.signals.died(causes, self.now)
                };
                let credential =
                    Credential::new(CredentialKind::Device, enrolled.device.id, &agent.name);
                self.held.credentials.push(credential.is(why, died));
            }
        }
        Ok(())
    }

    /// Refresh tokens of OAuth clients that follow each other.
    async fn families(&mut self) -> Result<(), FactsError> {
        let mut pages = self.administration.pages("family/");
        while let Some(families) = self.page::<Family>(&mut pages).await? {
            for (key, family) in families {
                let Some(used) = self.held.instances.get(&family.instance) else { continue };
                let pip = self.administration.authority.pip();
                let agent = pip.standing(family.instance).await?.value.agent.clone();
                let is_client = family.is_of(&agent);
                let why = self.why_of(family.instance);
                let why = why.or((!is_client).then_some("client_changed"));
                let died = used.died.clone().or_else(|| {
                    let root = Root::Client(agent.name.clone());
                    self.signals.died(vec![Cause::Taken(root, family.since)], self.now)
                });
                let id = key.as_str().strip_prefix("family/").unwrap_or_default();
                let credential = Credential::new(CredentialKind::ClientFamily, id, &agent.name);
                let credential = Credential { instance: Some(family.instance), ..credential };
                self.held.credentials.push(credential.is(why, || died));
            }
        }
        Ok(())
    }

    /// By which rule what an instance of the report does is refused.
    fn why_of(&self, instance: InstanceId) -> Option<&'static str> {
        let rows = self.held.credentials.iter().filter(|it| it.kind == CredentialKind::Instance);
        rows.filter(|it| it.instance == Some(instance)).find_map(|it| it.why)
    }

    async fn elevations(&mut self) -> Result<(), FactsError> {
        let mut pages = self.administration.pages("elevation/");
        while let Some(elevations) = self.page::<Elevation>(&mut pages).await? {
            for (_, elevation) in elevations {
                let approved_by = match &elevation.state {
                    ElevationState::Approved { by, .. } => Some(by),
                    ElevationState::Asked | ElevationState::Revoked { .. } => None,
                };
                let is_concerned = self.held.instances.contains_key(&elevation.instance)
                    || matches!(self.whose, Whose::Person(person)
                        if elevation.asked_by == *person || approved_by == Some(person));
                if is_concerned {
                    self.elevation(&elevation).await?;
                }
            }
        }
        Ok(())
    }

    async fn elevation(&mut self, elevation: &Elevation) -> Result<(), FactsError> {
        let pip = self.administration.authority.pip();
        let mut reader = pip.reader();
        let task: Task = reader.need(FactKey::task(elevation.task)).await?;
        let elevated = authority::elevations(&mut reader, elevation.task).await?;
        let elevated = elevated.iter().find(|it| it.elevation.id == elevation.id);
        let standing = pip.standing(elevation.instance).await?.value.clone();
        let how = (binding(&standing.instance), self.now);
        let why = code(pdp::stands::standing(&standing, &self.stops.0, how));
        let counts = elevated.is_some_and(|it| it.is_in_force(&task, self.now))
            // What waits is approved by nobody as long as who asked for it is gone.
            || elevation.waits(self.now) && self.is_here(&elevation.asked_by, elevation.asked).await?;
        let why = why.or((!counts).then_some("elevation_over"));
        let died = || {
            let mut causes = self.signals.of_standing(&standing, &self.stops.1);
            causes.extend(elevation.until().map(Cause::Over));
            causes.push(match &elevation.state {
                ElevationState::Asked => Cause::Over(elevation.asked.plus(model::ELEVATION_WAITS)),
                _ => Cause::Taken(Root::Elevation(elevation.id), elevation.asked),
            });
            if let Some(it) = elevated {
                causes.extend(left(&it.asked_by, elevation.asked));
                causes.extend(left(&it.approved_by, elevation.asked));
            }
            self.signals.died(causes, self.now)
        };
        let of = &standing.agent.name;
        let credential = Credential::new(CredentialKind::Elevation, elevation.id, of).is(why, died);
        let credential = Credential { instance: Some(elevation.instance), ..credential };
        self.held.credentials.push(credential);
        Ok(())
    }

    async fn is_here(&self, person: &PersonId, since: Timestamp) -> Result<bool, FactsError> {
        let mut reader = self.administration.knowing();
        let person: Person = reader.need(FactKey::person(person)).await?;
        Ok(person.answers_for(since))
    }
}

/// By instance.
pub(super) type ByInstance<T> = BTreeMap<InstanceId, T>;
