//! Forgetting what signals left that could not come again.

use std::collections::BTreeMap;

use authority::{Effect, FactsError, Reader, Unit};
use model::{FactKey, SESSION_OVER, SessionOver, TAKEN, TakenUntil, Timestamp};

use super::taking::counter;
use crate::command::Administration;

/// How many tokens are forgotten at once.
const FORGOTTEN_MAX: usize = 24;

impl Administration {
    /// Forgets tokens that could not be taken again at `now` anyway.
    pub async fn forget_signals(&self, now: Timestamp) -> Result<(), FactsError> {
        let mut from = None;
        while let Some(last) = self.forget_some_signals(from.as_ref(), now).await? {
            from = Some(last);
        }
        Ok(())
    }

    /// Forgets a page of them that begins after `from`; says where it ends, if there may be more. What cannot be read
    /// stays, and holds nothing else up.
    async fn forget_some_signals(
        &self,
        from: Option<&FactKey>,
        now: Timestamp,
    ) -> Result<Option<FactKey>, FactsError> {
        let store = self.authority.pip().store();
        let page = store.list(TAKEN, from, FORGOTTEN_MAX).await?;
        let first = format!("{TAKEN}{:013}/", now.as_millis());
        let is_over = |key: &FactKey| key.as_str() < first.as_str();
        let last = page.next.filter(is_over);
        let (mut effects, mut room) = (Vec::new(), BTreeMap::<_, i64>::new());
        let mut reader = self.reader();
        for (key, body) in page.facts.into_iter().take_while(|(key, _)| is_over(key)) {
            let Ok(TakenUntil { stream, taken }) = serde_json::from_slice(&body) else {
                tracing::warn!(key = key.as_str(), "a token is not forgotten: it cannot be read");
                continue;
            };
            match is_kept_longer(&mut reader, &taken, now).await {
                Ok(true) => {}
                Ok(false) => effects.push(Effect::Remove { key: taken }),
                Err(error) => {
                    tracing::warn!(%error, key = key.as_str(), "a session is not forgotten");
                    continue;
                }
            }
            effects.push(Effect::Remove { key });
            *room.entry(stream).or_default() -= 1;
        }
        if effects.is_empty() {
            return Ok(last);
        }
        effects.extend(room.into_iter().map(|(stream, amount)| Effect::Count {
            counter: counter(&stream),
            amount,
            limit: None,
        }));
        let unit = Unit { effects, ..Unit::resting_on(reader.sourced(())) };
        match self.authority.journal().store().commit(unit).await {
            Ok(_) => Ok(last),
            Err(error) => {
                tracing::warn!(%error, "signals are not forgotten yet");
                Ok(None)
            }
        }
    }
}

/// Whether what a token that is forgotten left at `place` is kept for longer by another one, which told of the same
/// session.
async fn is_kept_longer(
    reader: &mut Reader<'_>,
    place: &FactKey,
    now: Timestamp,
) -> Result<bool, FactsError> {
    if !place.as_str().starts_with(SESSION_OVER) {
        return Ok(false);
    }
    let over = reader.find::<SessionOver>(place.clone()).await?;
    Ok(over.is_some_and(|over| over.kept >= now))
}
