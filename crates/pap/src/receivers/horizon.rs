//! Which risk a receiver is told of: what all say but that receiver itself, where it is a transmitter, too.
//!
//! INVARIANT: a level that came only by the streams of a receiver's own issuer is not told back to it, as routers do
//! not (split horizon, RFC 1058 §2.2.1): two deployments that rate each other's agents come to rest, on what
//! each says by itself (`r_18_deployments_that_rate_each_others_agents_come_to_rest_on_what_each_says`).

use std::collections::BTreeSet;

use model::{Receiver, Risk, RiskLevel, Risks, Speaker, Stream, Timestamp};
use serde_json::Value;

use crate::command::{AdminError, Administration};

/// What everybody says of a risk, once something happened.
#[derive(Clone, Debug)]
pub(super) struct Rating {
    /// Before that, if it is told only where it changes what counts.
    was: Option<Risks>,
    is: Risks,
}

impl Rating {
    /// By the `change` of a record of then.
    pub(super) fn of(change: &Value, at: Timestamp) -> Result<Self, AdminError> {
        let read = |risks: &Value| serde_json::from_value::<Risks>(risks.clone());
        if let Some(is) = change.get("is") {
            let was = change.get("was").map(read).transpose().map_err(AdminError::unavailable)?;
            return Ok(Self { was, is: read(is).map_err(AdminError::unavailable)? });
        }
        // Earlier builds wrote down the greatest alone.
        let was = change.get("was").map(|was| greatest(&was["level"], at)).transpose()?;
        let is = change.get("comes_to").unwrap_or(&change["risk"]["level"]);
        Ok(Self { was, is: greatest(is, at)? })
    }

    /// The risk of which a receiver is told that says by itself what `own` do: the greatest that others say by now;
    /// none, if it is told only where that is another one than before, and it is not.
    pub(super) fn told(&self, own: &BTreeSet<Speaker>) -> Option<secevent::RiskLevel> {
        let level = |risks: &Risks| told(risks.level_without(own));
        let is = level(&self.is);
        (self.was.as_ref().map(level) != Some(is)).then_some(is)
    }
}

impl Administration {
    /// Those by whom `receiver` itself says something here.
    pub(super) async fn own_of(
        &self,
        receiver: &Receiver,
    ) -> Result<BTreeSet<Speaker>, AdminError> {
        match &receiver.issuer {
            Some(issuer) => self.streams_of(issuer).await,
            None => Ok(BTreeSet::new()),
        }
    }

    /// The streams of which `issuer` is the transmitter.
    pub(super) async fn streams_of(&self, issuer: &str) -> Result<BTreeSet<Speaker>, AdminError> {
        let all = authority::all::<Stream>(self.authority.pip().store(), "stream/").await;
        let all = all.map_err(AdminError::unavailable)?;
        let own = all.iter().filter(|stream| stream.issuer == issuer);
        Ok(own.map(|stream| Speaker::stream(&stream.name)).collect())
    }
}

/// That somebody said `level`, or nothing.
fn greatest(level: &Value, since: Timestamp) -> Result<Risks, AdminError> {
    let level = serde_json::from_value::<Option<RiskLevel>>(level.clone());
    let level = level.map_err(AdminError::unavailable)?;
    Ok(Risks { risk: level.map(|level| Risk { level, since }), ..Risks::default() })
}

/// The level as it is told.
const fn told(level: Option<RiskLevel>) -> secevent::RiskLevel {
    match level {
        None | Some(RiskLevel::Low) => secevent::RiskLevel::Low,
        Some(RiskLevel::Medium) => secevent::RiskLevel::Medium,
        Some(RiskLevel::High) => secevent::RiskLevel::High,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use secevent::RiskLevel::{High, Low, Medium};

    /// What a record means to a receiver that says nothing here, and to one that says what `stream/peer` does: of what
    /// earlier builds recorded it is not known who said it.
    #[test]
    fn what_is_told_is_what_others_say() {
        let peer = BTreeSet::from([Speaker::stream(&"peer".parse().expect("a source"))]);
        let check = |change: Value, to_others: Option<_>, to_peer: Option<_>| {
            let rating = Rating::of(&change, Timestamp::from_millis(1)).expect("it can be read");
            assert_eq!(rating.told(&BTreeSet::new()), to_others, "{change}");
            assert_eq!(rating.told(&peer), to_peer, "{change}");
        };
        let said = |level: &str| json!({ "level": level, "since": 1 });
        let here = |level: &str| json!({ "risk": said(level) });
        let both = |peer: &str, other: &str| json!({ "rated": { "stream/other": said(other), "stream/peer": said(peer) } });
        // What is done here is told, whatever it changes; what a transmitter says, if it changes something.
        check(json!({ "is": here("high") }), Some(High), Some(High));
        check(json!({ "is": both("high", "low") }), Some(High), Some(Low));
        check(json!({ "was": {}, "is": here("medium") }), Some(Medium), Some(Medium));
        check(json!({ "was": {}, "is": {} }), None, None);
        check(json!({ "was": both("low", "low"), "is": both("high", "low") }), Some(High), None);
        check(json!({ "was": both("high", "low"), "is": both("low", "low") }), Some(Low), None);
        let raised = json!({ "was": both("high", "low"), "is": both("high", "medium") });
        check(raised, None, Some(Medium));
        // What our own detector sees ends without a word: it keeps nothing back, and holds nothing up.
        let seen =
            |other: &str| json!({ "departed": "medium", "rated": { "stream/other": said(other) } });
        let first = json!({ "was": { "departed": "medium" }, "is": seen("medium") });
        check(first, Some(Medium), Some(Medium));
        check(json!({ "was": seen("high"), "is": seen("low") }), Some(Low), Some(Low));
        // As earlier builds had it.
        check(json!({ "risk": said("high"), "comes_to": "high" }), Some(High), Some(High));
        check(json!({ "risk": null, "comes_to": "medium" }), Some(Medium), Some(Medium));
        check(json!({ "risk": said("high") }), Some(High), Some(High));
        check(json!({ "was": null, "risk": said("medium") }), Some(Medium), Some(Medium));
        check(json!({ "was": said("high"), "risk": said("high") }), None, None);
    }
}
