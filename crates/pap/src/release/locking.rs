//! Whether another release could follow a set: by that set, two people who can sign for it must be permitted to.

use std::collections::BTreeSet;

use model::{
    AccessRequest, Decision, FactKey, Facts, Person, PersonId, PolicyDigest, PrincipalFacts,
    ResourceRef, Revision,
};
use pdp::Snapshot;

use crate::command::{AdminError, Administration};
use crate::founding::{BOOTSTRAP, FOUNDER_KEYS, is_for_development};

/// What it takes to release another set.
const TAKES: [&str; 3] = ["policy/publish", "policy/approve", "policy/activate"];

impl Administration {
    /// What to tell an author whose set would be the last: by it, those whose keys are known could not publish,
    /// approve and activate another one.
    pub(super) async fn locks_out(
        &self,
        snapshot: &Snapshot,
        content: &PolicyDigest,
    ) -> Result<Option<String>, AdminError> {
        let signers = self.signers().await?;
        let mut reader = self.reader();
        let bootstrap: PersonId = BOOTSTRAP.parse().expect("it is a person's id");
        let machine = reader.find::<Person>(FactKey::person(&bootstrap)).await;
        let machine = machine.map_err(AdminError::unavailable)?;
        let may = |action: &str, people: &[Person]| -> BTreeSet<PersonId> {
            let may = people.iter().filter(|it| self.may(snapshot, it, (action, content)));
            may.map(|person| person.id.clone()).collect()
        };
        let [publish, approve] = [TAKES[0], TAKES[1]].map(|action| may(action, &signers));
        let everybody: Vec<_> = signers.iter().cloned().chain(machine).collect();
        let activate = may(TAKES[2], &everybody);
        let alone = is_for_development(self.authority.journal()).await?;
        let are_two = publish.iter().any(|a| approve.iter().any(|b| alone || a != b));
        if are_two && !activate.is_empty() {
            return Ok(None);
        }
        let told = TAKES.iter().zip([publish, approve, activate]).map(|(action, people)| {
            let people: Vec<_> = people.iter().map(PersonId::as_str).collect();
            let people = if people.is_empty() { "nobody".to_owned() } else { people.join(", ") };
            format!("{action} by {people}")
        });
        let told = told.collect::<Vec<_>>().join("; ");
        let why = "once this set is in force, no other could be released: of those who can sign, it permits";
        Ok(Some(format!("{why} {told}")))
    }

    /// The active people whose keys are known.
    pub(crate) async fn signers(&self) -> Result<Vec<Person>, AdminError> {
        let (mut signers, mut pages) = (Vec::new(), self.pages(FOUNDER_KEYS));
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            for (key, _) in facts {
                let id = key.as_str().strip_prefix(FOUNDER_KEYS).unwrap_or_default();
                let Ok(id) = id.parse::<PersonId>() else { continue };
                let person = self.reader().find::<Person>(FactKey::person(&id)).await;
                let person = person.map_err(AdminError::unavailable)?;
                signers.extend(person.filter(Person::is_active));
            }
        }
        Ok(signers)
    }

    /// Whether `snapshot` permits it to `person`.
    fn may(
        &self,
        snapshot: &Snapshot,
        person: &Person,
        (action, content): (&str, &PolicyDigest),
    ) -> bool {
        let principal = PrincipalFacts::Administrator(person.clone());
        let target = ResourceRef::Bundle(content.to_string());
        let request = AccessRequest::of_administration(principal.principal(), action, target);
        let facts = Facts::of_administration((Revision(0), self.now()), principal, None);
        matches!(snapshot.decide(&request, &facts), Decision::Permit(_))
    }
}
