//! Devices: what a person is shown of one that asks, and enrolling and revoking it.
//!
//! INVARIANT: what is enrolled is the key that the page told of, on the word of the person who was
//! logged in, and never that of another agent, system, device or instance
//! (`a_key_is_enrolled_for_one_agent_and_is_nobody_elses`).

use std::time::Duration;

use authority::Reader;
use keys::VerifyingKey;
use model::{
    Agent, AgentName, Device, DeviceAsked, DeviceState, FactKey, PersonId, PurposeId, ResourceRef,
    Thumbprint,
};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::consent::{Terms, listed, plain};
use crate::logged_in::By;
use crate::register::{known, put, registered};

/// How long an enrolment lasts.
const LEASE: Duration = Duration::from_hours(30 * 24);

impl Administration {
    /// What the person who acts would enrol, for them to read.
    pub async fn device_show(
        &self,
        by: impl Into<By<'_>>,
        asked: &DeviceAsked,
    ) -> Result<Terms, AdminError> {
        let by = by.into();
        let target = ResourceRef::Agent(asked.agent.clone());
        let mut draft = self.draft(by, "device/enrol", target).await?;
        self.terms(&mut draft.reader, (by.person, asked)).await
    }

    /// Enrols the device that `asked`, on the word of the person who acts, who was shown what has the
    /// digest `shown`. One whose time is over, or whose person has left, is enrolled anew.
    pub async fn device_enrol(
        &self,
        by: impl Into<By<'_>>,
        (asked, shown): (&DeviceAsked, &str),
    ) -> Result<Device, AdminError> {
        let by = by.into();
        let DeviceAsked { agent, id, key, name, .. } = asked.clone();
        let signs = VerifyingKey::from_jwk(&key).map_err(AdminError::invalid)?;
        let target = ResourceRef::Agent(agent.clone());
        let mut draft = self.draft(by, "device/enrol", target).await?;
        let terms = self.terms(&mut draft.reader, (by.person, asked)).await?;
        if terms.digest().to_string() != shown {
            self.refuse_person("device_changed");
            let why = "what you were shown has changed: read it again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        let place = FactKey::device(&agent, &id);
        let known = draft.reader.find::<Device>(place.clone()).await;
        let keeps = match known.map_err(AdminError::unavailable)? {
            Some(known) if known.state != DeviceState::Active => {
                return Err(AdminError::Invalid("this key was revoked: make another".to_owned()));
            }
            Some(_) => None,
            None => Some(self.own_key(&mut draft.reader, &signs, place.clone()).await?),
        };
        let now = self.now();
        let device = Device {
            agent,
            id,
            key,
            name,
            by: by.person.clone(),
            enrolled: now,
            valid_until: now.plus(LEASE),
            state: DeviceState::Active,
        };
        let effects = [put(place, &device)].into_iter().chain(keeps).collect();
        draft.make(json!({ "device": device, "shown": terms.0 }), effects).await?;
        Ok(device)
    }

    pub(crate) async fn devices(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::DeviceRevoke { agent, id, reason } => {
                self.device_revoke(by, (&agent, &id), reason).await
            }
            _ => self.list(by, "device/", "").await,
        }
    }

    /// Revokes a device for good: one key written, which every decision of its instances reads.
    async fn device_revoke(
        &self,
        by: &PersonId,
        (agent, id): (&str, &str),
        reason: String,
    ) -> Result<Value, AdminError> {
        let agent: AgentName = agent.parse().map_err(AdminError::invalid)?;
        let id: Thumbprint = id.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Agent(agent.clone());
        let mut draft = self.draft(by, "device/revoke", target).await?;
        let place = FactKey::device(&agent, &id);
        let mut device = known::<Device>(
            &mut draft.reader,
            place.clone(),
            &format!("device `{id}` of `{agent}`"),
        )
        .await?;
        device.state = DeviceState::Revoked { reason, since: self.now() };
        let done = draft.make(json!(device), vec![put(place, &device)]).await?;
        Ok(json!({ "device": id, "decision": done.decision }))
    }

    /// What `person` would agree to by enrolling the device that `asked`.
    async fn terms(
        &self,
        reader: &mut Reader<'_>,
        (person, asked): (&PersonId, &DeviceAsked),
    ) -> Result<Terms, AdminError> {
        let Agent { sponsor, purposes, .. } = registered(reader, &asked.agent).await?;
        let begins = authority::may_begin(reader, &asked.agent, self.now()).await;
        if let Err(why) = begins.map_err(AdminError::unavailable)? {
            self.refuse_person(why.code());
            return Err(AdminError::Conflict("this agent can begin nothing now".to_owned()));
        }
        let from = match asked.from {
            Some(from) => format!("{}, from {from}", plain(asked.asked)),
            None => plain(asked.asked),
        };
        let days = LEASE.as_secs() / (24 * 3_600);
        let all = [
            ("Agent", asked.agent.to_string()),
            ("Who answers for it", sponsor.to_string()),
            ("What for", listed(purposes.iter().map(PurposeId::as_str), "nothing")),
            ("Device, as it calls itself", asked.name.clone()),
            ("Its key begins with", asked.id.fingerprint()),
            ("Asked", from),
            ("On whose word", format!("yours, {person}")),
            ("For how long", format!("{days} days, or until it is revoked or you leave")),
        ];
        let escaped =
            |(name, value): (&str, String)| (name.to_owned(), mcp::render_untrusted(&value));
        Ok(Terms(all.into_iter().map(escaped).collect()))
    }
}
