//! Until when whoever tells of a directory's people, or signs lists of them, counts as heard: beyond that, they are
//! unconfirmed.
//!
//! INVARIANT: nobody counts as heard by what they said before: what comes once more, or late, counts from
//! when it was said (`silence_makes_people_unconfirmed_and_nothing_old_breaks_it`), and another bound is nothing
//! that was said (`another_bound_makes_nobody_heard`). By a clock that ran ahead nobody counts as heard for longer
//! than until they are heard, or have another bound, by one that is right
//! (`who_was_heard_while_the_clock_ran_ahead_is_so_by_the_right_one`).

use std::time::Duration;

use authority::{CommitError, Effect, FactsError, Reader, Unit, event};
use model::{
    CLOCK_STEP_MAX, Directory, FactKey, Heard, PeopleSource, SourceName, Speaker, Stream, Timestamp,
};

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

/// What is written so that `speaker`, whose bound `was` another one, counts as heard for that of so many `minutes`:
/// from when it was heard, or from `now` on, if it had none. Without a bound, whatever it says or does not say counts
/// for nothing.
pub(crate) async fn bounded(
    reader: &mut Reader<'_>,
    (directory, speaker): (&SourceName, &Speaker),
    (was, minutes): (Option<u32>, Option<u32>),
    now: Timestamp,
) -> Result<Option<Effect>, AdminError> {
    let key = FactKey::heard(directory);
    let known = reader.find::<Heard>(key.clone()).await.map_err(AdminError::unavailable)?;
    let before = known.unwrap_or_default();
    let mut heard = before.clone();
    let last = match (before.0.get(speaker), was) {
        // Nobody was heard later than now.
        (Some(until), Some(was)) => until.minus(bound(was)).min(now),
        _ => now,
    };
    match minutes {
        Some(minutes) => heard.0.insert(speaker.clone(), last.plus(bound(minutes))),
        None => heard.0.remove(speaker),
    };
    Ok((heard != before).then(|| put(key, &heard)))
}

/// Who speaks: the `stream`, or the directory itself, or whoever signs its lists.
fn speaking(stream: Option<&SourceName>) -> Speaker {
    stream.map_or_else(Speaker::directory, Speaker::stream)
}

/// The bound, in minutes, of who tells, if there is one and it may say anything.
async fn counting(
    reader: &mut Reader<'_>,
    directory: &SourceName,
    stream: Option<&SourceName>,
) -> Result<Option<u32>, FactsError> {
    if let Some(name) = stream {
        let stream = reader.find::<Stream>(FactKey::stream(name)).await?;
        return Ok(stream.as_ref().and_then(Stream::waited_for));
    }
    if let Some(directory) = reader.find::<Directory>(FactKey::directory(directory)).await? {
        return Ok(directory.waited_for());
    }
    let source = reader.find::<PeopleSource>(FactKey::people_source(directory)).await?;
    Ok(source.and_then(|source| source.silence_min))
}

impl Administration {
    /// Notes that `directory`, by itself or by a list that it signed, or the `stream` for it, told of its people at `said`.
    pub(crate) async fn note_heard(
        &self,
        directory: &SourceName,
        stream: Option<&SourceName>,
        said: Timestamp,
    ) {
        for _ in 0..ATTEMPTS_MAX {
            match self.try_heard(directory, stream, said).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => return tracing::warn!(%error, "that somebody was heard is not noted"),
            }
        }
    }

    /// Says whether there is nothing more to note.
    async fn try_heard(
        &self,
        directory: &SourceName,
        stream: Option<&SourceName>,
        said: Timestamp,
    ) -> Result<bool, AdminError> {
        let (mut reader, key, now) = (self.knowing(), FactKey::heard(directory), self.now());
        // As it is now: it may have been said anew since whoever tells began to.
        let minutes = counting(&mut reader, directory, stream).await;
        let Some(minutes) = minutes.map_err(AdminError::unavailable)? else { return Ok(true) };
        let found = reader.find::<Heard>(key.clone()).await;
        let mut heard = found.map_err(AdminError::unavailable)?.unwrap_or_default();
        let (bound, speaker) = (bound(minutes), speaking(stream));
        let until = said.min(now).plus(bound);
        let Some(known) = heard.0.get_mut(&speaker) else { return Ok(true) };
        // Nothing that was said by now counts for longer. What is late shows no clock that ran ahead.
        let is_ahead = *known > now.plus(bound).plus(CLOCK_STEP_MAX) && until > now;
        if !is_ahead && until.since(*known) < bound / PARTS {
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
