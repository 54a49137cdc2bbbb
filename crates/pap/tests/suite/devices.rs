//! Devices: what a person is shown of one, what they enrol, and whose key that is.

use std::time::Duration;

use keys::{KeyAlgorithm, Signer as _, SigningKey};
use model::{
    Clock as _, Device, DeviceAsked, DeviceState, FactKey, InstanceState, PersonId, Stopped,
    Thumbprint,
};
use pap::{AdminError, Command};

use crate::desk::{Desk, files};

pub(crate) fn key() -> SigningKey {
    SigningKey::generate(KeyAlgorithm::Es256).expect("a key")
}

/// What the device with the key `own` asks for the agent of the tests.
pub(crate) fn asks(desk: &Desk, own: &SigningKey) -> DeviceAsked {
    DeviceAsked {
        agent: desk.world.standing.agent.name.clone(),
        id: Thumbprint::from_bytes(own.public().thumbprint()),
        key: own.public().to_jwk(),
        name: "laptop".to_owned(),
        from: Some("192.0.2.1".parse().unwrap()),
        asked: desk.world.clock.now(),
    }
}

/// The sponsor, who may enrol devices.
fn sponsor(desk: &Desk) -> PersonId {
    desk.world.standing.sponsor.id.clone()
}

/// Reads what is `asked`, and enrols it.
async fn enrol(desk: &Desk, by: &PersonId, asked: &DeviceAsked) -> Result<Device, AdminError> {
    let terms = desk.administration.device_show(by, asked).await?;
    let shown = terms.digest().to_string();
    desk.administration.device_enrol(by, (asked, &shown)).await
}

async fn revoke(desk: &Desk, device: &Device) {
    let (agent, id) = (device.agent.to_string(), device.id.to_string());
    let command = Command::DeviceRevoke { agent, id, reason: "lost".to_owned() };
    desk.run(command).await.expect("it is revoked");
}

#[tokio::test]
async fn a_key_is_enrolled_for_one_agent_and_is_nobody_elses() {
    let (desk, own) = (Desk::new().await, key());
    let sponsor = sponsor(&desk);
    let asked = asks(&desk, &own);
    let device = enrol(&desk, &sponsor, &asked).await.expect("it is enrolled");
    assert_eq!((&device.by, &device.key, device.id), (&sponsor, &asked.key, asked.id));
    assert_eq!(device.valid_until.since(device.enrolled), Duration::from_hours(30 * 24));
    let place = FactKey::device(&asked.agent, &asked.id);
    let owner = desk.fact(FactKey::registered(&asked.id)).await.expect("it is known whose it is");
    assert_eq!(owner, place.to_string());

    // Nor is it another agent's, and no device has the key of an instance.
    let mut other = desk.world.standing.agent.clone();
    other.name = "other".parse().unwrap();
    desk.world.put(FactKey::agent(&other.name), &other).await;
    let of_other = DeviceAsked { agent: other.name.clone(), ..asked.clone() };
    let of_instance = key();
    let thumbprint = Thumbprint::from_bytes(of_instance.public().thumbprint());
    desk.world.put(FactKey::key(&thumbprint), &desk.world.standing.instance.id).await;
    for asked in [of_other, asks(&desk, &of_instance)] {
        let refused = enrol(&desk, &sponsor, &asked).await;
        assert!(matches!(refused, Err(AdminError::Invalid(_))), "{refused:?}");
        let place = FactKey::device(&asked.agent, &asked.id);
        assert_eq!(desk.fact(place).await, None);
    }
}

/// Hidden characters are made visible, and what changed since is read again.
#[tokio::test]
async fn n_040f_what_is_enrolled_is_what_was_shown() {
    let (desk, own) = (Desk::new().await, key());
    let sponsor = sponsor(&desk);
    let asked = DeviceAsked { name: "lap\u{202e}top".to_owned(), ..asks(&desk, &own) };
    let terms = desk.administration.device_show(&sponsor, &asked).await.expect("it is shown");
    let told =
        |name: &str| terms.0.iter().find(|(known, _)| known == name).expect("it is told").1.clone();
    assert_eq!(told("Device, as it calls itself"), "lap\\u{202e}top");
    assert_eq!(told("Its key begins with"), asked.id.fingerprint());
    assert!(told("Asked").ends_with("from 192.0.2.1"), "{terms:?}");
    assert!(told("On whose word").contains(sponsor.as_str()), "{terms:?}");
    let renamed = DeviceAsked { name: "another".to_owned(), ..asked.clone() };
    let stale =
        desk.administration.device_enrol(&sponsor, (&renamed, &terms.digest().to_string())).await;
    assert!(matches!(stale, Err(AdminError::Conflict(_))), "{stale:?}");
    assert_eq!(desk.fact(FactKey::device(&asked.agent, &asked.id)).await, None);
}

/// By the starter set, the agent's sponsor may, and nobody else.
#[tokio::test]
async fn n_040g_who_is_not_permitted_enrols_and_learns_nothing() {
    let (desk, own) = (Desk::new().await, key());
    let starter = files(include_str!("../../../../policies/starter.cedar"));
    desk.publisher.replace(starter).await.expect("the set compiles");
    let command = Command::PersonAdd { id: "eve".to_owned(), groups: Vec::new() };
    desk.run(command).await.expect("she is added");
    let eve = "eve".parse().unwrap();
    let mut asked = asks(&desk, &own);
    let mut told = Vec::new();
    for agent in [asked.agent.clone(), "nobody".parse().unwrap()] {
        asked.agent = agent;
        let shown = desk.administration.device_show(&eve, &asked).await.unwrap_err().to_string();
        told.push(shown.split(" (decision").next().unwrap_or_default().to_owned());
        let enrolled = desk.administration.device_enrol(&eve, (&asked, "")).await;
        assert!(matches!(enrolled, Err(AdminError::Refused(_))), "{enrolled:?}");
    }
    told.dedup();
    assert_eq!(told, ["not permitted: no policy grants this access"]);
    let asked = asks(&desk, &own);
    enrol(&desk, &sponsor(&desk), &asked).await.expect("the sponsor may");
}

#[tokio::test]
async fn n_012_nobody_enrols_a_device_for_an_agent_that_is_stopped() {
    let (desk, own) = (Desk::new().await, key());
    let asked = asks(&desk, &own);
    let (since, signal) = (desk.world.clock.now(), "key_copied".to_owned());
    let state = InstanceState::Quarantined { signal, since };
    let stopped = Stopped([(desk.world.standing.instance.id, state)].into());
    desk.world.put(FactKey::stopped(&asked.agent), &stopped).await;
    let refused = enrol(&desk, &sponsor(&desk), &asked).await;
    assert!(matches!(refused, Err(AdminError::Conflict(_))), "{refused:?}");
}

#[tokio::test]
async fn a_key_is_enrolled_anew_unless_it_was_revoked() {
    let (desk, own) = (Desk::new().await, key());
    let sponsor = sponsor(&desk);
    let asked = asks(&desk, &own);
    let first = enrol(&desk, &sponsor, &asked).await.expect("it is enrolled");
    desk.world.clock.advance(Duration::from_hours(24));
    let again = enrol(&desk, &sponsor, &asked).await.expect("it is enrolled anew");
    assert_eq!(again.enrolled.since(first.enrolled), Duration::from_hours(24));
    revoke(&desk, &again).await;
    let place = FactKey::device(&asked.agent, &asked.id);
    let kept = desk.fact(place).await.expect("it is known for good");
    let kept: Device = serde_json::from_value(kept).expect("a device");
    assert!(matches!(kept.state, DeviceState::Revoked { .. }), "{kept:?}");
    let refused = enrol(&desk, &sponsor, &asked).await;
    assert!(matches!(refused, Err(AdminError::Invalid(_))), "{refused:?}");
}
