//! What policies under observation would have done about an act that was denied.
//!
//! Of an act that was permitted its grant tells it. A denial may come of what the commit alone sees, and of
//! the set's having nothing in force that names the tool: so they are asked by themselves, once it is denied.

use std::collections::BTreeSet;

use model::{AccessRequest, Denial, Facts, PolicyId};

use crate::evaluate::Said;
use crate::schema::Action;
use crate::snapshot::{Snapshot, names_of};

impl Snapshot {
    /// The policies under observation that would have permitted `request`, which is denied, or forbidden it as well,
    /// or that could not be evaluated; none, where a built-in rule or the request's shape denied it: no policy has
    /// a say there.
    pub fn observed(&self, request: &AccessRequest, facts: &Facts) -> BTreeSet<PolicyId> {
        self.observing(request, facts).map(|of| self.ids(&of)).unwrap_or_default()
    }

    fn observing(&self, request: &AccessRequest, facts: &Facts) -> Result<BTreeSet<usize>, Denial> {
        let (action, passed) = self.built_in(request, facts)?;
        if passed.outside.is_some() {
            return Ok(BTreeSet::new());
        }
        let prepared = self.prepare((request, facts), (action, &passed))?;
        let is_observed = |position: &usize| self.policies[*position].observe;
        let Some(prepared) =
            prepared.filter(|it| it.of_actor.iter().chain(&it.of_person).any(is_observed))
        else {
            return Ok(BTreeSet::new());
        };
        let asked = self.ask_each(&prepared)?;
        let mut observed = asked.union(|said| &said.observed.forbids);
        observed.extend(asked.union(|said| &said.observed.errors));
        let permits = asked.union(|said| &said.observed.permits);
        let is_named = self.is_named(action, &BTreeSet::new());
        if asked.all().all(Said::would_permit) && self.is_named(action, &permits) {
            let lacking = asked.all().filter(|said| said.permits.is_empty() || !is_named);
            observed.extend(lacking.flat_map(|said| &said.observed.permits));
        }
        Ok(observed)
    }

    /// Whether a permit in force, or one of these that are observed, names the tool that is called, if one is.
    fn is_named(&self, action: &Action, observed: &BTreeSet<usize>) -> bool {
        let Some(tool) = &action.tool else { return true };
        let is_named_by = |position: &usize| {
            let named = self.policies[*position].names();
            names_of(tool).iter().any(|uid| named.contains(uid))
        };
        self.names_tool(tool) || observed.iter().any(is_named_by)
    }
}

impl Said {
    /// Whether it would permit, were the permits under observation in force.
    fn would_permit(&self) -> bool {
        let permits = self.permits.len() + self.observed.permits.len();
        permits > 0 && self.forbids.is_empty() && self.errors.is_empty()
    }
}
