//! Whether a property is about anything: one that matches no act would hold of any set, and over chains one that matches
//! no act of anybody whom it does not name, and to whom work was handed on.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use cedar_policy::{Policy, PrincipalConstraint};
use cedar_policy_symcc::never_matches_asserts;
use model::PolicyId;
use pdp::{Environment, PolicyText, Provable, Snapshot};

use crate::chains::of_one;
use crate::claims::{Claim, over_chains};
use crate::compiled::{Place, guarded};
use crate::examples::Trial;
use crate::prove::{Work, everywhere};
use crate::report::{Shown, Unshown, Verdict, Why};
use crate::solver::Session;

/// That the work was handed on to who acts, as Cedar says it.
const HANDED_ON: &str = "context.depth >= 1";

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

/// What acts are looked for.
struct Sought {
    /// Those that this property, or part of one, matches, by its position.
    number: usize,
    /// And of which all this holds, as Cedar says it.
    of: Vec<String>,
}

impl Sought {
    /// What the property with this id is about; or, over chains, whoever else does it, to whom work was handed on, of one of
    /// `agents` at most.
    fn by(
        properties: &Provable,
        id: &PolicyId,
        is_over_chains: bool,
        agents: &BTreeSet<String>,
    ) -> Option<Self> {
        let number = |id: &PolicyId| properties.policies.iter().position(|it| it.id == *id);
        if !is_over_chains {
            return Some(Self { number: number(id)?, of: Vec::new() });
        }
        let (property, [_, by_others]) = over_chains(properties).find(|(it, _)| it.id == *id)?;
        let of = [HANDED_ON.to_owned(), of_one(agents)];
        let of = others(property).into_iter().chain(of).collect();
        Some(Self { number: number(by_others)?, of })
    }
}

/// That somebody acts whom `property` does not name, as Cedar says it; nothing, if it names nobody in particular.
fn others(property: &PolicyText) -> Option<String> {
    match Policy::from_str(&property.text).ok()?.principal_constraint() {
        PrincipalConstraint::In(uid)
        | PrincipalConstraint::Eq(uid)
        | PrincipalConstraint::IsIn(_, uid) => Some(format!("!(principal in {uid})")),
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    }
}

impl Work<'_> {
    /// Takes back what was proved of properties that match nothing, or of which that is not known.
    pub(crate) async fn look_for_matches(&self, shown: &mut [Shown], session: &mut Session<'_>) {
        let (Some(properties), Some(snapshot)) = (&self.properties, self.subject.properties) else {
            return;
        };
        for claim in shown.iter_mut().filter(|it| matches!(it.verdict, Verdict::Proved)) {
            let (property, is_never, is_over_chains) = match &claim.claim {
                Claim::NeverPermits { property, .. } => (property, true, false),
                Claim::NeverReaches { property, .. } => (property, true, true),
                Claim::AlwaysPermits { property, .. } => (property, false, false),
                _ => continue,
            };
            let sought = Sought::by(properties, property, is_over_chains, &self.agents);
            let Some(sought) = sought else { continue };
            let matched = Box::pin(self.matched((properties, snapshot), &sought, session)).await;
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
        sought: &Sought,
        session: &mut Session<'_>,
    ) -> Matched {
        let (number, of) = (&sought.number, sought.of.as_slice());
        let (mut by_rule, mut unknown) = (false, None);
        for environment in properties.environments.iter().filter(|it| it.policies.contains(number))
        {
            let alone = Environment { policies: vec![*number], ..environment.clone() };
            let values = Environment { assumes: alone.values.clone(), ..alone.clone() };
            match self.example((properties, snapshot), (&alone, of), session).await {
                Ok(true) => return Matched::Something,
                Ok(false) if by_rule => {}
                Ok(false) => {
                    let without =
                        self.example((properties, snapshot), (&values, of), session).await;
                    by_rule = without.unwrap_or(false);
                }
                Err(why) => {
                    let policy = Some(properties.policies[*number].id.clone());
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

    /// Whether there is an act in `environment` that its one property matches, and of which all `of` holds: asked of the
    /// solver, and of the decision.
    async fn example(
        &self,
        (properties, snapshot): (&Provable, &Snapshot),
        (environment, of): (&Environment, &[String]),
        session: &mut Session<'_>,
    ) -> Result<bool, Why> {
        let place = Place::of(environment, &self.schema)?;
        for property in guarded(properties, environment)? {
            let compiled = place.compile(&property.of_one(&self.agents)?.also(of)?)?;
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
