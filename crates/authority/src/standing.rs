//! Reads where an instance stands: itself, its task, who answers for it, and all by whom its work was
//! handed on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    AgentName, DELEGATIONS_MAX, Delegator, FactKey, Heard, Initiator, InstanceId, MandateBasis,
    Person, SourceName, Standing, TaskId, TaskSubject, Timestamp,
};

use crate::elevations::elevations;
use crate::pip::FactsError;
use crate::reader::Reader;

/// The standing of the registered instance `id`.
pub async fn read_standing(
    reader: &mut Reader<'_>,
    id: InstanceId,
) -> Result<Standing, FactsError> {
    let Delegator { instance, agent, sponsor, device, task } = holder(reader, id).await?;
    let delegators = delegators(reader, task.parent()).await?;
    let elevations = elevations(reader, task.id).await?;
    let mandate: model::Mandate = reader.need(FactKey::mandate(task.mandate)).await?;
    let initiator = initiator(reader, &mandate.basis).await?;
    let purpose = reader.need(FactKey::purpose(&task.purpose)).await?;
    let subject = match &task.subject {
        TaskSubject::OnBehalfOf { person } => Some(reader.need(FactKey::person(person)).await?),
        TaskSubject::Autonomous => None,
    };
    let heard = heard(reader, (&sponsor, &delegators, subject.as_ref())).await?;
    let mut standing = Standing {
        instance,
        agent,
        sponsor,
        device,
        subject,
        task,
        delegators,
        elevations,
        mandate,
        initiator,
        purpose,
        owners: BTreeMap::new(),
        heard,
        sharing: BTreeSet::new(),
    };
    standing.sharing = sharing(reader, &standing).await?;
    let named: Vec<_> = standing.named_owners().into_iter().cloned().collect();
    for id in named {
        let owner: Option<Person> = reader.find(FactKey::person(&id)).await?;
        standing.owners.extend(owner.map(|owner| (id, owner)));
    }
    Ok(standing)
}

/// Until when these people are confirmed: who answers for the work, for each by whom it was handed on, and
/// on whose behalf it is.
pub async fn heard(
    reader: &mut Reader<'_>,
    (sponsor, delegators, subject): (&Person, &[Delegator], Option<&Person>),
) -> Result<BTreeMap<SourceName, Timestamp>, FactsError> {
    let people = delegators.iter().map(|above| &above.sponsor).chain(subject).chain([sponsor]);
    let sources: BTreeSet<_> = people.filter_map(|person| person.source.as_ref()).collect();
    let mut all = BTreeMap::new();
    for source in sources {
        let heard = reader.find::<Heard>(FactKey::heard(source)).await?;
        all.extend(heard.and_then(|heard| heard.until()).map(|until| (source.clone(), until)));
    }
    Ok(all)
}

/// The agents that share a workload with the instance that acts in `standing`, or with one that handed the work on:
/// as whose instances it was entered, with this one, where those are several.
pub async fn sharing(
    reader: &mut Reader<'_>,
    standing: &Standing,
) -> Result<BTreeSet<AgentName>, FactsError> {
    let mut all = BTreeSet::new();
    for hop in standing.hops() {
        let Some(workload) = &hop.instance.workload else { continue };
        let names: Option<BTreeSet<AgentName>> = reader.find(FactKey::agents_of(workload)).await?;
        let mut names = names.unwrap_or_default();
        names.insert(hop.instance.agent.clone());
        if names.len() > 1 {
            all.extend(names);
        }
    }
    Ok(all)
}

/// The instance `id` with its task and who answers for it.
async fn holder(reader: &mut Reader<'_>, id: InstanceId) -> Result<Delegator, FactsError> {
    let instance: model::Instance = reader.need(FactKey::instance(id)).await?;
    let agent: model::Agent = reader.need(FactKey::agent(&instance.agent)).await?;
    let sponsor = reader.need(FactKey::person(&agent.sponsor)).await?;
    let device = reader.vouched_by(&instance).await?;
    let task = reader.need(FactKey::task(instance.task)).await?;
    Ok(Delegator { instance, agent, sponsor, device, task })
}

/// Who handed on what is a part of the task `parent`, the nearest first. A chain that is longer than any
/// may be is read no further: it does not end in a root task then, and nothing is permitted by it.
pub async fn delegators(
    reader: &mut Reader<'_>,
    parent: Option<TaskId>,
) -> Result<Arc<Vec<Delegator>>, FactsError> {
    let Some(nearest) = parent else { return Ok(Arc::default()) };
    if let Some(known) = reader.known_chain(nearest) {
        return Ok(known);
    }
    let _turn = reader.turn_to_read_chain(nearest).await;
    if let Some(known) = reader.known_chain(nearest) {
        return Ok(known);
    }
    let (mut apart, mut above, mut next) = (reader.apart(), Vec::new(), Some(nearest));
    while let Some(id) = next.filter(|_| above.len() <= DELEGATIONS_MAX) {
        let task: model::Task = apart.need(FactKey::task(id)).await?;
        let delegator = holder(&mut apart, task.instance).await?;
        next = task.parent();
        above.push(Delegator { task, ..delegator });
        if let Some(rest) = next.and_then(|id| apart.known_chain(id)) {
            above.extend(rest.iter().cloned());
            break;
        }
    }
    above.truncate(DELEGATIONS_MAX + 1);
    Ok(reader.take_chain(nearest, apart.sourced(Arc::new(above))))
}

/// The system that gave a mandate on this basis, if one did, with who answers for it.
pub async fn initiator(
    reader: &mut Reader<'_>,
    basis: &MandateBasis,
) -> Result<Option<Initiator>, FactsError> {
    let MandateBasis::Initiated { system, .. } = basis else { return Ok(None) };
    let system: model::InitiatingSystem = reader.need(FactKey::system(system)).await?;
    let owner = reader.need(FactKey::person(&system.owner)).await?;
    Ok(Some(Initiator { system, owner }))
}
