//! Which risk receivers are told of, by what a record says of who says what.

use model::{Rated, Risk, RiskLevel, Risks, Timestamp};
use serde_json::Value;

use crate::command::AdminError;

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

    /// The risk of which receivers are told: the greatest that is said by now; none, if it is told only where that is
    /// another one than before, and it is not.
    pub(super) fn told(&self) -> Option<secevent::RiskLevel> {
        let level = |risks: &Risks| told(risks.level());
        let is = level(&self.is);
        (self.was.as_ref().map(level) != Some(is)).then_some(is)
    }
}

/// That somebody said `level`, or nothing.
fn greatest(level: &Value, since: Timestamp) -> Result<Risks, AdminError> {
    let level = serde_json::from_value::<Option<RiskLevel>>(level.clone());
    let level = level.map_err(AdminError::unavailable)?;
    Ok(Risks { risk: level.map(|level| Risk { level, since }), rated: Rated::default() })
}

/// The level as it is told.
const fn told(level: Option<RiskLevel>) -> secevent::RiskLevel {
    match level {
        None | Some(RiskLevel::Low) => secevent::RiskLevel::Low,
        Some(RiskLevel::Medium) => secevent::RiskLevel::Medium,
        Some(RiskLevel::High) => secevent::RiskLevel::High,
    }
}
