//! Until when whoever tells of a directory's people counts as heard: beyond that, they are unconfirmed.
//!
//! INVARIANT: nobody counts as heard by what they said before: what comes once more, or late, counts from
//! when it was said (`silence_makes_people_unconfirmed_and_nothing_old_breaks_it`).

use std::time::Duration;

use authority::{CommitError, Effect, FactsError, Reader, Unit, event};
use model::{FactKey, Heard, SourceName, Speaker, Timestamp};

use crate::command::{AdminError, Administration};
use crate::register::put;

/// How often it is tried to note that somebody was heard.
const ATTEMPTS_MAX: usize = 3;

/// The part of a bound that has passed before it is noted again: decisions read what is noted.
const PARTS: u32 = 3;

/// The bound, in minutes, of whoever tells of a directory's people, unless something else is said.
pub const SILENCE: Option<u32> = Some(15);

/// The longest bound, in minutes.
pub(crate) const SILENCE_MAX: u32 = 7 * 24 * 60;

/// The bound of whom nothing is said.
pub(crate) const fn by_default() -> Option<u32> {
    SILENCE
}

/// The bound of so many minutes, if that is one.
pub(crate) fn checked(minutes: Option<u32>) -> Result<(), AdminError> {
    if minutes.is_none_or(|minutes| (1..=SILENCE_MAX).contains(&minutes)) {
        return Ok(());
    }
    Err(AdminError::Invalid(format!("a silence has 1 to {SILENCE_MAX} minutes, or no bound")))
}

fn bound(minutes: u32) -> Duration {
    Duration::from_secs(u64::from(minutes) * 60)
}

/// What is written so that `speaker` counts as heard from `now` on, for its bound; without one, whatever
/// it says or does not say counts for nothing.
pub(crate) async fn from_now(
    reader: &mut Reader<'_>,
    (directory, speaker): (&SourceName, &Speaker),
    minutes: Option<u32>,
    now: Timestamp,
) -> Result<Option<Effect>, AdminError> {
    let key = FactKey::heard(directory);
    let known = reader.find::<Heard>(key.clone()).await.map_err(AdminError::unavailable)?;
    let before = known.unwrap_or_default();
    let mut heard = before.clone();
    match minutes {
        Some(minutes) => heard.0.insert(speaker.clone(), now.plus(bound(minutes))),
        None => heard.0.remove(speaker),
    };
    Ok((heard != before).then(|| put(key, &heard)))
}

impl Administration {
    /// Notes that `speaker`, whose silence is bounded by so many `minutes`, told of the people of
    /// `directory` at `said`.
    pub(crate) async fn note_heard(
        &self,
        (directory, speaker): (&SourceName, &Speaker),
        minutes: Option<u32>,
        said: Timestamp,
    ) {
        let Some(minutes) = minutes else { return };
        for _ in 0..ATTEMPTS_MAX {
            match self.try_heard((directory, speaker), bound(minutes), said).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => return tracing::warn!(%error, "that somebody was heard is not noted"),
            }
        }
    }

    /// Says whether there is nothing more to note.
    async fn try_heard(
        &self,
        (directory, speaker): (&SourceName, &Speaker),
        bound: Duration,
        said: Timestamp,
    ) -> Result<bool, AdminError> {
        let (mut reader, key, now) = (self.reader(), FactKey::heard(directory), self.now());
        let found: Result<_, FactsError> = reader.find::<Heard>(key.clone()).await;
        let mut heard = found.map_err(AdminError::unavailable)?.unwrap_or_default();
        let until = said.min(now).plus(bound);
        // Whoever is not in there was suspended meanwhile.
        let Some(known) = heard.0.get_mut(speaker) else { return Ok(true) };
        if until.since(*known) < bound / PARTS {
            return Ok(true);
        }
        let was_silent = *known <= now;
        *known = until;
        let mut unit = Unit::resting_on(reader.sourced(()));
        unit.effects.push(put(key, &heard));
        if was_silent {
            let details = [("directory", directory.to_string()), ("speaker", speaker.to_string())];
            let details = details.map(|(name, value)| (name.to_owned(), value)).into();
            let stamp = (now, self.authority.entropy().as_ref());
            unit.entries.push(event(stamp, "heard_again", details));
        }
        match self.authority.journal().store().commit(unit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Changed { .. }) => Ok(false),
            Err(error) => Err(AdminError::unavailable(error)),
        }
    }
}
