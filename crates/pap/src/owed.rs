//! What a permit owes by another policy set that it did not by the one that gave it, and the other way round: its
//! obligations, whether it uses up its token, and the labels that its result can carry.

use std::collections::BTreeSet;

use model::record::Verdict;
use model::{AccessRequest, Decision, Label, Obligation};
use pdp::Snapshot;

use crate::recall::Recorded;

/// How what was `recorded` as a permit of `request`, by the set compiled as `then`, is one otherwise by the decision of
/// the set that is compiled as `now`, and by what; none if it is alike, or is no permit.
pub(crate) fn otherwise(
    recorded: &Recorded,
    decision: &Decision,
    (now, then): (&Snapshot, &Snapshot),
    request: &AccessRequest,
) -> Option<(&'static str, String)> {
    let (Verdict::Permit, Decision::Permit(grant)) = (recorded.verdict, decision) else {
        return None;
    };
    // Earlier builds did not tell all of it, nor is it told of acts of administration.
    let obligations = recorded.told.as_ref().map_or(&grant.obligations, |told| &told.obligations);
    let carries = |set: &Snapshot| set.labels().of(request).carries;
    let before = owed(obligations, recorded.is_of_token, carries(then));
    let after = owed(&grant.obligations, grant.uses_token, carries(now));
    let beyond = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
        a.difference(b).cloned().collect::<Vec<_>>().join(", ")
    };
    let (more, less) = (beyond(&after, &before), beyond(&before, &after));
    match (more.is_empty(), less.is_empty()) {
        (true, true) => None,
        (false, true) => Some(("owes_more", format!("owes {more}"))),
        (true, false) => Some(("owes_less", format!("no longer owes {less}"))),
        (false, false) => Some(("owes_less", format!("owes {more}, no longer {less}"))),
    }
}

fn owed(
    obligations: &BTreeSet<Obligation>,
    uses_token: bool,
    carries: BTreeSet<Label>,
) -> BTreeSet<String> {
    let obligations = obligations.iter().map(|it| format!("`{}`", it.0));
    let token = uses_token.then(|| "a token of its own".to_owned());
    let carries = carries.into_iter().map(|label| format!("the label `{label}`"));
    obligations.chain(token).chain(carries).collect()
}
