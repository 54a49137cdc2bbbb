//! What a solver found, as a question that is put to the set: only what the decision confirms is shown.

use std::collections::BTreeSet;

use cedar_policy_symcc::Env;
use model::PolicyId;
use pdp::{Environment, Posed, PosedAnswer, Snapshot};

use crate::report::{Counterexample, Why};

/// The question that a solver found.
pub(crate) fn posed(found: &Env) -> Result<Posed, Why> {
    let unreadable = |what: &str| Why::Unconfirmed(format!("it has no readable {what}"));
    let request = &found.request;
    let uid = |uid: Option<&cedar_policy::EntityUid>| {
        uid.map(ToString::to_string).ok_or_else(|| unreadable("request"))
    };
    let context = request.context().ok_or_else(|| unreadable("context"))?;
    let context = context.to_json_value().map_err(|_| unreadable("context"))?;
    let entities = found.entities.to_json_value().map_err(|_| unreadable("entities"))?;
    Ok(Posed {
        principal: uid(request.principal())?,
        action: uid(request.action())?,
        resource: uid(request.resource())?,
        context,
        entities,
    })
}

/// Decides what was found.
pub(crate) struct Trial<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) posed: Posed,
}

impl<'a> Trial<'a> {
    pub(crate) fn of(environment: &'a Environment, found: &Env) -> Result<Self, Why> {
        Ok(Self { environment, posed: posed(found)? })
    }

    /// What `snapshot` answers to it.
    pub(crate) fn by(&self, snapshot: &Snapshot) -> Result<PosedAnswer, Why> {
        snapshot.pose(&self.posed, &self.environment.assumes).map_err(Why::Unconfirmed)
    }

    /// A counterexample by these policies, if it `is` one; whether the set permits it.
    pub(crate) fn confirmed(
        self,
        is: bool,
        is_permitted: bool,
        by: BTreeSet<PolicyId>,
    ) -> Result<Counterexample, Why> {
        if !is {
            return Err(Why::Unconfirmed("the answer is another".to_owned()));
        }
        Ok(Counterexample { by, is_permitted, posed: self.posed })
    }
}
