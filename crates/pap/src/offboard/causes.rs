//! Why something died, and since when: what of all that it depends on is gone, and which of it went first.
//!
//! It explains what the kernel says, and decides nothing: that something is dead is asked there.

use std::collections::BTreeMap;

use model::{
    Agent, DeviceState, Enrolled, Hop, Initiator, InstanceState, Mandate, MandateBasis, Person,
    PersonId, SessionDigest, Standing, Stop, StopTarget, Stopped, SystemState, TaskEnd, TaskState,
    Timestamp,
};

use super::Died;
use super::signals::{Root, Signals};

/// What may have ended something.
#[derive(Clone)]
pub(super) enum Cause {
    /// It was taken away, at this time or after it.
    Taken(Root, Timestamp),
    /// The person's login session was ended in which it was begun at this time; any, where it is not known which.
    LoggedOut(PersonId, (Timestamp, Option<SessionDigest>)),
    /// Its time was over.
    Over(Timestamp),
}

/// What is stopped, by what it is.
pub(super) type AllStops = BTreeMap<StopTarget, Stop>;

impl Signals {
    /// Which of `causes` came first.
    pub(super) fn died(&self, causes: Vec<Cause>, now: Timestamp) -> Option<Died> {
        let died = causes.into_iter().filter_map(|cause| match cause {
            Cause::Taken(root, since) => {
                let signal = self.first(&root, since)?.clone();
                Some(Died { at: signal.time, signal: Some(signal) })
            }
            Cause::LoggedOut(person, begun) => {
                let signal = self.logged_out(&person, begun)?.clone();
                Some(Died { at: signal.time, signal: Some(signal) })
            }
            Cause::Over(at) => (at <= now).then_some(Died { at, signal: None }),
        });
        died.min_by_key(|died| died.at)
    }

    /// What may have ended what was given to `agent`, for which `sponsor` answers, at `given`.
    pub(super) fn of_agent(
        &self,
        (agent, sponsor): (&Agent, &Person),
        given: Timestamp,
        stops: &AllStops,
    ) -> Vec<Cause> {
        let name = &agent.name;
        let mut causes = vec![Cause::Over(agent.acts_until())];
        causes.extend(self.lapses_after(name, given).map(Cause::Over));
        for what in [StopTarget::All, StopTarget::Agent(name.clone())] {
            if let Some(stop) = stops.get(&what) {
                causes.push(Cause::Taken(Root::Stop(what), stop.since));
            }
        }
        if let Some(since) = agent.state.stopped() {
            causes.push(Cause::Taken(Root::Agent(name.clone()), since));
        }
        // Of several who answered for it, whoever left first.
        let mut begins = given;
        for (at, from) in self.sponsors_after(name, given) {
            causes.push(Cause::Taken(Root::Left(from.clone()), begins));
            causes.extend(self.moved(agent, from, (begins, *at)));
            begins = *at;
        }
        if given < agent.registered {
            causes.push(Cause::Taken(Root::TakenOver(name.clone()), given));
        } else {
            causes.extend(left(sponsor, given));
        }
        if let Some(moved) = sponsor.moved.filter(|_| !agent.is_answered_for_by(sponsor)) {
            causes.push(Cause::Taken(Root::Moved(sponsor.id.clone()), moved));
        }
        causes
    }

    /// That `from` moved before somebody took over, and had not affirmed it.
    fn moved(
        &self,
        agent: &Agent,
        from: &PersonId,
        (since, until): (Timestamp, Timestamp),
    ) -> Option<Cause> {
        let root = Root::Moved(from.clone());
        let moved = self.last(&root, since, until)?.time;
        let affirmed = self.last(&Root::Affirmed(agent.name.clone()), moved, until);
        affirmed.is_none().then_some(Cause::Taken(root, moved))
    }

    /// What may have ended what stands as `standing` says.
    pub(super) fn of_standing(&self, standing: &Standing, stops: &AllStops) -> Vec<Cause> {
        let mut causes: Vec<_> = standing.hops().flat_map(|hop| self.of_hop(hop, stops)).collect();
        let subject = standing.subject.as_ref();
        let opened = (standing.root().opened, standing.mandate.basis.session());
        causes.extend(subject.into_iter().flat_map(|subject| no_longer_by(subject, opened)));
        causes.extend(of_mandate(&standing.mandate, subject, standing.initiator.as_ref()));
        causes
    }

    fn of_hop(&self, hop: Hop<'_>, stops: &AllStops) -> Vec<Cause> {
        let Hop { instance, agent, sponsor, device, task } = hop;
        let mut causes = self.of_agent((agent, sponsor), task.opened, stops);
        causes.push(Cause::Over(task.deadline));
        match instance.state {
            InstanceState::Quarantined { since, .. } | InstanceState::Revoked { since, .. } => {
                causes.push(Cause::Taken(Root::Instance(instance.id), since));
            }
            InstanceState::Active => {}
        }
        match task.state {
            TaskState::Open | TaskState::Ended { how: TaskEnd::Expired, .. } => {}
            TaskState::Ended { since, .. } => {
                causes.push(Cause::Taken(Root::Task(task.id), since));
            }
        }
        causes.extend(device.into_iter().flat_map(|it| of_device(it, instance.started)));
        if hop.is_by_compromised_key() {
            causes.push(Cause::Taken(Root::Compromised(agent.name.clone()), instance.started));
        }
        causes
    }
}

/// What stopped instances of an agent, after which none begins anything.
pub(super) fn of_stopped(stopped: Stopped) -> Vec<Cause> {
    let causes = stopped.0.into_iter().filter_map(|(id, state)| match state {
        InstanceState::Quarantined { since, .. } | InstanceState::Revoked { since, .. } => {
            Some(Cause::Taken(Root::Instance(id), since))
        }
        InstanceState::Active => None,
    });
    causes.collect()
}

/// That `person` left after something was given.
pub(super) fn left(person: &Person, given: Timestamp) -> Option<Cause> {
    let is_gone = !person.answers_for(given);
    is_gone.then(|| Cause::Taken(Root::Left(person.id.clone()), given))
}

/// What may have ended what `person` began themselves at `begun`: that they left, or that the login `session`
/// is over.
pub(super) fn no_longer_by(
    person: &Person,
    (begun, session): (Timestamp, Option<SessionDigest>),
) -> impl Iterator<Item = Cause> {
    let is_over = !person.stands_by(begun, session);
    let ended = is_over.then(|| Cause::LoggedOut(person.id.clone(), (begun, session)));
    left(person, begun).into_iter().chain(ended)
}

/// What may have ended what a device vouched for at `given`.
pub(super) fn of_device(enrolled: &Enrolled, given: Timestamp) -> Vec<Cause> {
    let Enrolled { device, by } = enrolled;
    let root = Root::Device(device.agent.clone(), device.id);
    let mut causes = vec![Cause::Over(device.valid_until)];
    causes.extend(left(by, device.enrolled.min(given)));
    if let DeviceState::Revoked { since, .. } = device.state {
        causes.push(Cause::Taken(root, since));
    } else if device.enrolled > given {
        causes.push(Cause::Taken(root, given));
    }
    causes
}

/// What may have ended `mandate` itself.
pub(super) fn of_mandate(
    mandate: &Mandate,
    subject: Option<&Person>,
    initiator: Option<&Initiator>,
) -> Vec<Cause> {
    let mut causes = vec![Cause::Over(mandate.valid_until)];
    if let Some(withdrawn) = &mandate.withdrawn {
        causes.push(Cause::Taken(Root::Mandate(mandate.id), withdrawn.since));
    }
    match mandate.basis {
        MandateBasis::Consented { .. } => {
            let begun = (mandate.begun(), mandate.basis.session());
            causes.extend(subject.into_iter().flat_map(|it| no_longer_by(it, begun)));
        }
        MandateBasis::Initiated { .. } => {
            causes.extend(subject.and_then(|subject| left(subject, mandate.given)));
        }
        MandateBasis::Standing { .. } => {}
    }
    if let Some(Initiator { system, owner }) = initiator {
        causes.push(Cause::Over(system.key_expires));
        causes.extend(left(owner, mandate.given));
        if let SystemState::Suspended { since, .. } = system.state {
            causes.push(Cause::Taken(Root::System(system.name.clone()), since));
        }
    }
    causes
}
