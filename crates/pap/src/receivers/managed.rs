//! How receivers manage their streams (SSF 1.0 §8.1).

use authority::Effect;
use keys::base64url;
use model::{Delivery, FactKey, LogPlace, Receiver, ReceiverStream, Telling, TellingStatus};
use secevent::{
    Authorization, DeliveryAsked, StatusAsked, StreamAsked, StreamStatus, StreamTold, Tells,
    VerificationAsked,
};
use serde_json::{Value, json};

use super::registered::of_stream;
use super::{
    CHANGED_WITHIN, CHANGES_MAX, Known, Seen, Stream, Transmitter, Untold, VERIFIED_EVERY, later,
    stream,
};
use crate::register::{put, put_new};

/// Of what a stream of a receiver is recorded.
const RECORDED: &str = "receiver_stream";

impl Transmitter {
    /// Creates the stream of a receiver: it is told of what is recorded from now on.
    pub async fn create(&self, known: &Known, asked: StreamAsked) -> Result<Value, Untold> {
        self.may_manage(known)?;
        let name = known.name();
        let mut seen = self.turn(name).await;
        let mut reader = self.administration.reader();
        let receiver = self.still(&mut reader, known).await?;
        if stream(&mut reader, name).await.map_err(later)?.is_some() {
            return Err(Untold::HasOne);
        }
        let size = self.log_size().await?;
        let id = keys::unguessable(|bytes| self.administration.authority.entropy().fill(bytes));
        let telling = Telling {
            stream: id.clone(),
            next: LogPlace::at(size),
            waiting: Vec::new(),
            taken: None,
            verified: None,
        };
        let (delivery, secret) = self.checked(&receiver, (&id, asked.delivery))?;
        let created = self.now();
        let stream = ReceiverStream {
            id,
            receiver: name.clone(),
            delivery,
            requested: asked.requested.unwrap_or_else(all),
            description: asked.description,
            created,
            status: TellingStatus::Enabled,
            since: created,
            reason: None,
        };
        let mut effects = vec![
            put_new(FactKey::receiver_stream(name), &stream),
            put(FactKey::telling(name), &telling),
        ];
        effects.push(secret);
        let records = vec![self.record(RECORDED, details(&stream, "created"))];
        self.write(reader, effects, records).await.map_err(later)?;
        *seen = Seen::default();
        Ok(self.told(&receiver, &stream))
    }

    /// The stream `id` of a receiver; without an id, all that it has.
    pub async fn read(&self, known: &Known, id: Option<&str>) -> Result<Value, Untold> {
        let mut reader = self.administration.reader();
        let receiver = self.still(&mut reader, known).await?;
        let found = stream(&mut reader, known.name()).await.map_err(later)?;
        let found = found.map(|Stream { stream, .. }| stream);
        match id {
            Some(id) => {
                let named = found.filter(|stream| stream.id == id).ok_or(Untold::NoStream)?;
                Ok(self.told(&receiver, &named))
            }
            None => Ok(found.iter().map(|stream| self.told(&receiver, stream)).collect()),
        }
    }

    /// Changes what `asked` says of its stream; if that `replaces` it, what it does not say is as if the
    /// stream were new.
    pub async fn update(
        &self,
        known: &Known,
        asked: StreamAsked,
        replaces: bool,
    ) -> Result<Value, Untold> {
        self.may_manage(known)?;
        let id = asked.id.as_deref();
        let id = id.ok_or_else(|| Untold::Invalid("`stream_id` is missing".to_owned()))?;
        let name = known.name();
        let _turn = self.turn(name).await;
        let mut reader = self.administration.reader();
        let (receiver, Stream { mut stream, .. }) = self.named(&mut reader, known, id).await?;
        if !asked.agrees_with(&self.told(&receiver, &stream)) {
            let why = "what the transmitter says of a stream is not for its receiver to change";
            return Err(Untold::Invalid(why.to_owned()));
        }
        let mut effects = Vec::new();
        if asked.delivery.is_some() || replaces {
            let (delivery, secret) = self.checked(&receiver, (id, asked.delivery))?;
            stream.delivery = delivery;
            effects.push(secret);
        }
        if asked.requested.is_some() || replaces {
            stream.requested = asked.requested.unwrap_or_else(all);
        }
        if asked.description.is_some() || replaces {
            stream.description = asked.description;
        }
        effects.push(put(FactKey::receiver_stream(name), &stream));
        let records = vec![self.record(RECORDED, details(&stream, "changed"))];
        self.write(reader, effects, records).await.map_err(later)?;
        Ok(self.told(&receiver, &stream))
    }

    /// Deletes the stream `id` of a receiver, with all that it was still to be told.
    pub async fn delete(&self, known: &Known, id: &str) -> Result<(), Untold> {
        self.may_manage(known)?;
        let name = known.name();
        let _turn = self.turn(name).await;
        let mut reader = self.administration.reader();
        let (_, Stream { stream, .. }) = self.named(&mut reader, known, id).await?;
        let effects = of_stream(name).map(|key| Effect::Remove { key }).into();
        let records = vec![self.record(RECORDED, details(&stream, "deleted"))];
        self.write(reader, effects, records).await.map_err(later)
    }

    /// The status of the stream `id` of a receiver.
    pub async fn status(&self, known: &Known, id: &str) -> Result<Value, Untold> {
        let mut reader = self.administration.reader();
        let (_, Stream { stream, .. }) = self.named(&mut reader, known, id).await?;
        Ok(status_told(&stream))
    }

    /// Gives a stream another status, as its receiver asks for. While it is paused, what it is to be told is
    /// kept; what happens while it is disabled it is never told.
    pub async fn set_status(&self, known: &Known, asked: StatusAsked) -> Result<Value, Untold> {
        self.may_manage(known)?;
        let name = known.name();
        let mut seen = self.turn(name).await;
        let mut reader = self.administration.reader();
        let (_, mut found) = self.named(&mut reader, known, &asked.id).await?;
        let before = found.stream.status;
        found.stream.status = match asked.status {
            StreamStatus::Enabled => TellingStatus::Enabled,
            StreamStatus::Paused => TellingStatus::Paused,
            StreamStatus::Disabled => TellingStatus::Disabled,
        };
        (found.stream.since, found.stream.reason) = (self.now(), asked.reason);
        if [before, found.stream.status].contains(&TellingStatus::Disabled) {
            found.telling.waiting.clear();
            found.telling.next = LogPlace::at(self.log_size().await?);
            *seen = Seen::default();
        }
        let did = asked.status.as_str();
        let records = vec![self.record(RECORDED, details(&found.stream, did))];
        self.write(reader, found.both(), records).await.map_err(later)?;
        Ok(status_told(&found.stream))
    }

    /// Tells a stream that it works, with what its receiver asked to be told (SSF 1.0 §8.1.4.2).
    pub async fn verify(&self, known: &Known, asked: VerificationAsked) -> Result<(), Untold> {
        self.may_manage(known)?;
        let name = known.name();
        let _turn = self.turn(name).await;
        let mut reader = self.administration.reader();
        let (receiver, Stream { stream, mut telling }) =
            self.named(&mut reader, known, &asked.id).await?;
        if stream.status == TellingStatus::Disabled {
            return Err(Untold::Invalid("the stream is disabled".to_owned()));
        }
        let now = self.now();
        let wait = telling.verified.map(|last| VERIFIED_EVERY.saturating_sub(now.since(last)));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            return Err(Untold::TooSoon(wait));
        }
        telling.verified = Some(now);
        let told = Tells::Verification { state: asked.state.as_deref() };
        self.tell_of_itself((&receiver, &stream), &mut telling, &told).map_err(later)?;
        let effects = vec![put(FactKey::telling(name), &telling)];
        self.write(reader, effects, Vec::new()).await.map_err(later)
    }

    /// How signals are to reach a receiver, if they may, and what keeps what shows it who pushes.
    fn checked(
        &self,
        receiver: &Receiver,
        (id, asked): (&str, Option<DeliveryAsked>),
    ) -> Result<(Delivery, Effect), Untold> {
        let key = FactKey::receiver_secret(&receiver.name);
        match asked {
            None | Some(DeliveryAsked::Poll) => Ok((Delivery::Poll, Effect::Remove { key })),
            Some(DeliveryAsked::Push { url, authorization }) => {
                // Who stole a token would have pushed to themselves what the receiver is told.
                if receiver.push_host.as_deref() != Some(url.host()) {
                    let why = "signals are not pushed to this host: an administrator says where";
                    return Err(Untold::Invalid(why.to_owned()));
                }
                let secret = match authorization {
                    Some(secret) => put(key, &self.sealed(id, &secret)),
                    None => Effect::Remove { key },
                };
                Ok((Delivery::Push { url: url.as_str().to_owned() }, secret))
            }
        }
    }

    fn sealed(&self, id: &str, secret: &Authorization) -> String {
        let mut nonce = [0; 12];
        self.administration.authority.entropy().fill(&mut nonce);
        base64url(&self.sealing.seal(secret.expose().as_bytes(), id.as_bytes(), nonce))
    }

    fn told(&self, receiver: &Receiver, stream: &ReceiverStream) -> Value {
        let told = StreamTold {
            id: &stream.id,
            issuer: &self.administration.issuer,
            audience: &receiver.audience,
            pushed_to: match &stream.delivery {
                Delivery::Poll => None,
                Delivery::Push { url } => Some(url),
            },
            requested: &stream.requested,
            description: stream.description.as_deref(),
            interval_s: VERIFIED_EVERY.as_secs(),
        };
        told.to_json()
    }

    /// Whether a receiver may change its stream now: its token does that, and it was not done too often.
    fn may_manage(&self, known: &Known) -> Result<(), Untold> {
        if !known.may_manage {
            return Err(Untold::MayNot);
        }
        let now = self.now();
        let mut all = self.changes.lock().expect("no panic while it is held");
        let (since, count) = all.entry(known.name().clone()).or_insert((now, 0));
        if now.since(*since) >= CHANGED_WITHIN {
            (*since, *count) = (now, 0);
        }
        if *count >= CHANGES_MAX {
            return Err(Untold::TooSoon(CHANGED_WITHIN.saturating_sub(now.since(*since))));
        }
        *count += 1;
        Ok(())
    }

    async fn log_size(&self) -> Result<u64, Untold> {
        let size = self.administration.authority.journal().store().log_size().await;
        size.map_err(|error| later(crate::AdminError::unavailable(error)))
    }
}

fn all() -> std::collections::BTreeSet<String> {
    secevent::TOLD.into_iter().map(str::to_owned).collect()
}

fn status_told(stream: &ReceiverStream) -> Value {
    let status = match stream.status {
        TellingStatus::Enabled => StreamStatus::Enabled,
        TellingStatus::Paused => StreamStatus::Paused,
        TellingStatus::Disabled => StreamStatus::Disabled,
    };
    json!(secevent::status_told(&stream.id, status, stream.reason.as_deref()))
}

/// What records say was done to a stream.
fn details(stream: &ReceiverStream, did: &str) -> Vec<(&'static str, String)> {
    let by = match stream.delivery {
        Delivery::Poll => "poll",
        Delivery::Push { .. } => "push",
    };
    let (receiver, delivery) = (stream.receiver.to_string(), by.to_owned());
    vec![("receiver", receiver), ("did", did.to_owned()), ("delivery", delivery)]
}
