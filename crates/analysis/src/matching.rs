//! Whether a property is about anything: one that matches no act would hold of any set.

use cedar_policy_symcc::never_matches_asserts;
use pdp::{Environment, Provable, Snapshot};

use crate::claims::Claim;
use crate::compiled::{Place, guarded};
use crate::examples::Trial;
use crate::prove::{Work, everywhere};
use crate::report::{Shown, Unshown, Verdict, Why};
use crate::solver::Session;

/// What a property matches.
enum Matched {
    /// Some act that could be asked for.
    Something,
    /// Only what the built-in rules let nobody ask a policy about.
    NothingByRule,
    /// Nothing at all.
    Nothing,
    /// Nobody knows.
    Unknown(Box<Unshown>),
}

impl Work<'_> {
    /// Takes back what was proved of properties that match nothing, or of which that is not known.
    pub(crate) async fn look_for_matches(&self, shown: &mut [Shown], session: &mut Session<'_>) {
        let (Some(properties), Some(snapshot)) = (&self.properties, self.subject.properties) else {
            return;
        };
        for claim in shown.iter_mut().filter(|it| matches!(it.verdict, Verdict::Proved)) {
            let (property, is_never) = match &claim.claim {
                Claim::NeverPermits { property, .. } => (property, true),
                Claim::AlwaysPermits { property, .. } => (property, false),
                _ => continue,
            };
            let mut all = properties.policies.iter();
            let Some(number) = all.position(|it| it.id == *property) else { continue };
            let matched = Box::pin(self.matched((properties, snapshot), number, session)).await;
            claim.verdict = match matched {
                Matched::Something => continue,
                Matched::NothingByRule if is_never => Verdict::Guaranteed,
                // That all of it is permitted, of which nothing ever is, is no comfort.
                Matched::NothingByRule | Matched::Nothing => {
                    everywhere(Some(property.clone()), Why::MatchesNothing)
                }
                Matched::Unknown(why) => {
                    claim.unknown = 1;
                    Verdict::NotProved { because: vec![*why] }
                }
            };
        }
    }

    /// What the property matches, looked for in one environment after the other.
    async fn matched(
        &self,
        (properties, snapshot): (&Provable, &Snapshot),
        number: usize,
        session: &mut Session<'_>,
    ) -> Matched {
        let (mut by_rule, mut unknown) = (false, None);
        for environment in properties.environments.iter().filter(|it| it.policies.contains(&number))
        {
            let alone = Environment { policies: vec![number], ..environment.clone() };
            let values = Environment { assumes: alone.values.clone(), ..alone.clone() };
            match self.example((properties, snapshot), &alone, session).await {
                Ok(true) => return Matched::Something,
                Ok(false) if by_rule => {}
                Ok(false) => {
                    let without = self.example((properties, snapshot), &values, session).await;
                    by_rule = without.unwrap_or(false);
                }
                Err(why) => {
                    let policy = Some(properties.policies[number].id.clone());
                    let environment = Some(environment.clone());
                    unknown.get_or_insert(Unshown { environment, policy, why });
                }
            }
        }
        match unknown {
            Some(unknown) => Matched::Unknown(unknown.into()),
            None if by_rule => Matched::NothingByRule,
            None => Matched::Nothing,
        }
    }

    /// Whether there is an act in `environment` that its one property matches: asked of the solver, and of the
    /// decision.
    async fn example(
        &self,
        (properties, snapshot): (&Provable, &Snapshot),
        environment: &Environment,
        session: &mut Session<'_>,
    ) -> Result<bool, Why> {
        let place = Place::of(environment, &self.schema)?;
        for property in guarded(properties, environment)? {
            let compiled = place.compile(&property)?;
            let found = session.example(&never_matches_asserts(&compiled)).await?;
            let Some(found) = found else { continue };
            let said = Trial::of(environment, &found)?.by(snapshot)?;
            if said.permits.contains(&property.id) || said.forbids.contains(&property.id) {
                return Ok(true);
            }
            return Err(Why::Unconfirmed("the property does not match it".to_owned()));
        }
        Ok(false)
    }
}
