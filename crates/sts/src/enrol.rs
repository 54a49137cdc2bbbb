//! Devices at the service: how one asks a person to enrol it, and how an instance authenticates by one.

use authority::OnceScope;
use keys::{Signer as _, VerifyingKey};
use model::{
    Agent, AgentName, Device, DeviceAsked, DeviceState, Enrolled, FactKey, PersonId, Thumbprint,
};
use oauth::device::{self, INTERVAL_S, Told};
use oauth::form::Client;
use oauth::{ErrorCode, OAuthError};

use crate::client::{Authenticated, claimed_name, error, unknown};
use crate::devices::{NoDevice, NotWaiting, Waiting};
use crate::service::{TokenHttpRequest, TokenRefusal, TokenService, before, once, unavailable};

/// Where a device asks, behind the issuer.
const DEVICE: &str = "/oauth/device";

/// A device that vouches for an instance.
#[derive(Clone, Debug)]
pub(crate) struct Vouching {
    /// The thumbprint of its key.
    pub(crate) id: Thumbprint,
    /// That of the one key for which it vouches, as JOSE spells it.
    jkt: String,
}

impl TokenService {
    /// Tells a device, which proves its key, what became of what it asks. It asks by that.
    pub async fn enrol(&self, http: TokenHttpRequest<'_>) -> Result<Told, OAuthError> {
        self.within(http, self.told_device(http)).await
    }

    /// What the device asks that shows the code that `person` typed.
    pub fn device_asked(&self, person: &PersonId, typed: &str) -> Result<DeviceAsked, NoDevice> {
        self.devices.find(person, typed, self.authority.clock().as_ref())
    }

    /// Takes note that the device that `asked` was enrolled, or refused.
    pub fn device_answered(&self, asked: &DeviceAsked, is_enrolled: bool) {
        if is_enrolled {
            self.devices.enrolled(&asked.id);
        } else {
            self.devices.refused(&asked.id);
        }
    }

    async fn told_device(&self, http: TokenHttpRequest<'_>) -> Result<Told, TokenRefusal> {
        let refuse =
            |code, cause, why: &str| Err(before(cause)(OAuthError::new(code, why.to_owned())));
        let asked = device::parse(http.form).map_err(before("malformed"))?;
        let proof = self.proof(http.dpop, DEVICE)?;
        let Some(people_url) = &self.people_url else {
            let why = "nobody can enrol a device here: no login of people is configured";
            return refuse(ErrorCode::InvalidRequest, "no_login", why);
        };
        let Ok(agent) = asked.agent.parse::<AgentName>() else {
            return refuse(ErrorCode::InvalidRequest, "malformed", "no agent has such a name");
        };
        let (id, now) = (Thumbprint::from_bytes(proof.thumbprint), self.authority.clock().now());
        let mut reader = self.authority.pip().reader();
        let enrolled = reader.device(&agent, &id).await.map_err(unavailable)?;
        match enrolled {
            Some(enrolled) if enrolled.vouches(now) => return Ok(told(&enrolled)),
            Some(Enrolled { device, .. }) if device.state != DeviceState::Active => {
                let why = "this key was revoked: make another one";
                return refuse(ErrorCode::AccessDenied, "device_not_active", why);
            }
            // Its time is over, or who enrolled it has left: somebody may enrol it anew.
            Some(_) | None => {}
        }
        let (key, name, from) = (proof.key.to_jwk(), asked.name, http.from);
        let what = DeviceAsked { agent, id, key, name, from, asked: now };
        let (clock, entropy) = (self.authority.clock(), self.authority.entropy());
        match self.devices.ask(what, (clock.as_ref(), entropy.as_ref())) {
            Ok(Waiting { code, expires_in }) => Ok(Told::Pending {
                user_code: code,
                verification_uri: format!("{people_url}/device"),
                expires_in: expires_in.as_secs().cast_signed(),
                interval: INTERVAL_S,
            }),
            Err(NotWaiting::TooSoon) => {
                refuse(ErrorCode::SlowDown, "device_too_soon", "wait before you ask again")
            }
            Err(NotWaiting::Refused) => {
                refuse(ErrorCode::AccessDenied, "device_refused", "the person refused")
            }
            Err(NotWaiting::Other) => {
                let why = "this key asks for something else already: wait ten minutes";
                refuse(ErrorCode::InvalidRequest, "device_asks_for_another", why)
            }
            Err(NotWaiting::Full) => {
                let why = "too many devices wait for an answer: try again later";
                refuse(ErrorCode::TemporarilyUnavailable, "devices_pending", why)
            }
        }
    }

    /// The agent for whose instance a device vouches, by an enrolment, and what that uses up.
    pub(crate) async fn by_device(&self, client: &Client) -> Result<Authenticated, TokenRefusal> {
        let agent = self.claimed(client).await?;
        let id = device::claimed(&client.assertion).ok_or_else(unknown)?;
        let place = FactKey::device(&claimed_name(client)?, &Thumbprint::from_bytes(id));
        let mut reader = self.looking();
        let device = reader.find::<Device>(place).await.map_err(unavailable)?;
        let now = self.authority.clock().now();
        // What is not there is asked for as much work as what is, so that time tells nothing.
        let own = || self.keys.signer().public().clone();
        let key = device.as_ref().and_then(key).unwrap_or_else(own);
        let parties = (client.id.as_str(), self.minter.issuer.as_str());
        let verified = device::verify(&client.assertion, parties, &key, now.as_seconds());
        let known = agent.zip(device).zip(verified.ok());
        let ((agent, device), verified) = known.ok_or_else(unknown)?;
        // Who enrolled it is asked for once it has proved its key.
        let by = reader.need(FactKey::person(&device.by)).await.map_err(unavailable)?;
        let enrolled = Enrolled { device, by };
        if !enrolled.vouches(now) {
            let device = FactKey::device(&agent.name, &enrolled.device.id).to_string();
            let refusal = TokenRefusal::of("device_not_active", error(), &agent);
            return Err(refusal.with([("held_by", device)]));
        }
        let uses = vec![once(OnceScope::Assertion, &key.thumbprint(), &verified.jti, verified.exp)];
        let device = Some(Vouching { id: enrolled.device.id, jkt: verified.jkt });
        Ok(Authenticated { agent, uses, shown: None, device })
    }
}

impl Vouching {
    /// Refuses the key `proven` if it is not the one for which the device vouches.
    pub(crate) fn is_for(&self, proven: &[u8; 32], agent: &Agent) -> Result<(), TokenRefusal> {
        if self.jkt == keys::base64url(proven) {
            return Ok(());
        }
        let device = FactKey::device(&agent.name, &self.id).to_string();
        let refusal = TokenRefusal::of("enrolment_of_another", error(), agent);
        Err(refusal.with([("held_by", device)]))
    }
}

fn key(device: &Device) -> Option<VerifyingKey> {
    VerifyingKey::from_jwk(&device.key).ok()
}

fn told(enrolled: &Enrolled) -> Told {
    let valid_until = enrolled.device.valid_until.as_seconds();
    Told::Enrolled { by: enrolled.by.id.to_string(), valid_until }
}
