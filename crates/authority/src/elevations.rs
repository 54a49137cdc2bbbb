//! The elevations of a task, as a decision reads them: each with those who answer for it, so that it
//! ends when one of them leaves.

use std::collections::BTreeSet;

use model::{Elevated, Elevation, ElevationId, ElevationState, FactKey, TaskId};

use crate::FactsError;
use crate::reader::Reader;

/// The elevations of `task` that somebody approved and nobody took back.
pub async fn elevations(
    reader: &mut Reader<'_>,
    task: TaskId,
) -> Result<Vec<Elevated>, FactsError> {
    let approved = reader.find::<BTreeSet<ElevationId>>(FactKey::elevated(task)).await?;
    let mut elevations = Vec::new();
    for id in approved.into_iter().flatten() {
        let elevation: Elevation = reader.need(FactKey::elevation(id)).await?;
        let ElevationState::Approved { by, .. } = &elevation.state else { continue };
        let approved_by = reader.need(FactKey::person(by)).await?;
        let asked_by = reader.need(FactKey::person(&elevation.asked_by)).await?;
        elevations.push(Elevated { elevation, asked_by, approved_by });
    }
    Ok(elevations)
}
