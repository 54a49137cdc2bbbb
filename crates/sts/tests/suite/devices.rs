//! Devices: how one comes to be enrolled, for what it vouches, and when that ends.

use std::time::Duration;

use keys::{Signer as _, SigningKey};
use model::{
    Attestation, Clock as _, Device, DeviceState, FactKey, Instance, InstanceId, InstanceState,
    Person, PersonState, Thumbprint,
};
use oauth::device::{self, Enrolment, Told};
use oauth::{ErrorCode, OAuthError};
use sts::{NoDevice, TokenHttpRequest};

use crate::client::{Request, Sts, key};

const DAY: Duration = Duration::from_hours(24);

pub(crate) fn id(own: &SigningKey) -> Thumbprint {
    Thumbprint::from_bytes(own.public().thumbprint())
}

/// The device that has the key `own`, as Olga enrolled it.
async fn enrol(sts: &Sts, own: &SigningKey) -> Device {
    let now = sts.world.clock.now();
    let device = Device {
        agent: sts.world.standing.agent.name.clone(),
        id: id(own),
        key: own.public().to_jwk(),
        name: "laptop".to_owned(),
        by: sts.world.standing.other.id.clone(),
        enrolled: now,
        valid_until: now.plus(30 * DAY),
        state: DeviceState::Active,
    };
    put(sts, &device).await;
    device
}

async fn put(sts: &Sts, device: &Device) {
    let place = FactKey::device(&device.agent, &device.id);
    sts.world.put(FactKey::registered(&device.id), &place).await;
    sts.world.put(place, device).await;
}

/// Changes the state of Olga.
async fn olga(sts: &Sts, state: PersonState) {
    let olga = Person { state, ..sts.world.standing.other.clone() };
    sts.world.put(FactKey::person(&olga.id), &olga).await;
}

/// What the device signs for the instance with the key `own`.
pub(crate) fn enrolment(sts: &Sts, device: &SigningKey, own: &SigningKey, agent: &str) -> String {
    let now = sts.world.clock.now().as_seconds();
    let (jkt, jti) = (own.public().thumbprint_text(), sts.jti());
    let enrolment = Enrolment { jkt, jti, exp: now + device::LIFETIME_MAX_S };
    device::make((agent, crate::ISSUER), device, now, &enrolment).expect("it can be signed")
}

/// The same with another signature.
fn forged(sts: &Sts, device: &SigningKey, own: &SigningKey, agent: &str) -> String {
    let signed = enrolment(sts, device, own, agent);
    let other = enrolment(sts, device, own, agent);
    let (what, _) = signed.rsplit_once('.').expect("it is signed");
    let (_, by) = other.rsplit_once('.').expect("it is signed");
    format!("{what}.{by}")
}

/// A request for the instance with the key `own`, by the word of the device.
fn request(sts: &Sts, device: &SigningKey, own: &SigningKey) -> Request {
    shown(sts.request(own), &enrolment(sts, device, own, "billing"))
}

/// `request`, by the word of the device that signed `enrolment`.
pub(crate) fn shown(request: Request, enrolment: &str) -> Request {
    request.with("client_assertion_type", device::TYPE).with("client_assertion", enrolment)
}

async fn instance(sts: &Sts, own: &SigningKey) -> Instance {
    let known: InstanceId = sts.fact(FactKey::key(&id(own))).await;
    sts.fact(FactKey::instance(known)).await
}

/// Asks as the device with the key `own` that calls itself `name`.
async fn ask(sts: &Sts, own: &SigningKey, name: &str) -> Result<Told, OAuthError> {
    let form = oauth::form::form(&[("client_id", "billing"), ("device_name", name)]);
    let proof = sts.proof_at("/oauth/device", (own, &sts.jti()));
    let (form, arrived) = (form.as_bytes(), sts.world.clock.monotonic());
    let http = TokenHttpRequest { form, dpop: Some(&proof), from: None, client: None, arrived };
    sts.service.enrol(http).await
}

#[tokio::test]
async fn a_device_vouches_for_instances_with_keys_of_their_own() {
    let (sts, laptop, own) = (Sts::new().await, key(), key());
    let device = enrol(&sts, &laptop).await;
    for _ in 0..2 {
        let token = sts.send(request(&sts, &laptop, &own)).await.expect("a token");
        assert_eq!(sts.verified(&token).client_id, "billing");
    }
    let known = instance(&sts, &own).await;
    assert_eq!((known.device, known.attestation), (Some(device.id), Attestation::User));
    let issued = sts.world.records("issuance").await;
    assert!(issued.iter().all(|entry| entry.text_of("attestation") == "user"), "{issued:?}");
    // Its own key is none for an instance.
    let refused = sts.send(request(&sts, &laptop, &laptop)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidDpopProof);
    assert_eq!(sts.causes(1).await, ["registered_key_as_instance"]);
}

/// What is known of whom is at hand; that it is looked up all the same tells nobody whether there is such
/// an agent, or such a device.
#[tokio::test]
async fn i_21_who_is_there_is_looked_up_as_often_as_who_is_not() {
    let (sts, laptop, strange, own) = (Sts::new().await, key(), key(), key());
    enrol(&sts, &laptop).await;
    let readings = async |request: Request| {
        let before = sts.world.store.loaded();
        let refused = sts.send(request).await.expect_err("nobody has proved anything");
        assert_eq!(refused.code, ErrorCode::InvalidClient);
        sts.world.store.loaded() - before
    };
    let by_key = |name| sts.request_of((name, &own), &own);
    let by_device = |name, device| shown(by_key(name), &forged(&sts, device, &own, name));
    for round in 0..2 {
        sts.token(&key()).await.expect("the agent is known");
        sts.send(request(&sts, &laptop, &key())).await.expect("and so is the device");
        let there = readings(by_key("billing")).await;
        assert_eq!(readings(by_key(["nobody", "no-one"][round])).await, there, "by a key");
        let there = readings(by_device("billing", &laptop)).await;
        assert_eq!(readings(by_device("billing", &strange)).await, there, "of no device");
        let name = ["nobody", "no-one"][round];
        assert_eq!(readings(by_device(name, &laptop)).await, there, "of no agent");
    }
}

#[tokio::test]
async fn n_142_an_enrolment_is_good_once() {
    let (sts, laptop, own) = (Sts::new().await, key(), key());
    enrol(&sts, &laptop).await;
    let enrolment = enrolment(&sts, &laptop, &own, "billing");
    sts.send(shown(sts.request(&own), &enrolment)).await.expect("a token");
    let again = sts.send(shown(sts.request(&own), &enrolment)).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::InvalidClient);
    assert_eq!(again.description, "the assertion was used before");
    assert_eq!(sts.causes(1).await, ["replayed"]);
}

/// Whatever is wrong with it, the answer is the same.
#[tokio::test]
async fn n_001_an_enrolment_is_for_one_agent_and_one_key() {
    let (sts, laptop, own) = (Sts::new().await, key(), key());
    enrol(&sts, &laptop).await;
    sts.another_agent("other", &key()).await;
    let (strange, stolen) = (key(), key());
    let good = enrolment(&sts, &laptop, &own, "billing");
    let late = enrolment(&sts, &laptop, &own, "billing");
    let sent = [
        ("of another key", shown(sts.request(&stolen), &good)),
        ("of another agent", shown(sts.request(&own), &good).with("client_id", "other")),
        ("for another", shown(sts.request(&own), &enrolment(&sts, &laptop, &own, "other"))),
        ("of no device", request(&sts, &strange, &own)),
        ("for no agent", request(&sts, &laptop, &own).with("client_id", "nobody")),
        ("none", shown(sts.request(&own), "an enrolment")),
    ];
    let mut told = Vec::new();
    for (what, request) in sent {
        let refused = sts.send(request).await.expect_err(what);
        assert_eq!(refused.code, ErrorCode::InvalidClient, "{what}");
        told.push(refused.description);
    }
    sts.world.clock.advance(Duration::from_secs(61));
    told.push(sts.send(shown(sts.request(&own), &late)).await.unwrap_err().description);
    told.dedup();
    assert_eq!(told, ["the client did not authenticate"]);
    let causes = sts.causes(7).await;
    assert_eq!(causes[0], "enrolment_of_another");
    let events = sts.world.records("system").await;
    let event = events.iter().find(|entry| entry.text_of("event") == "enrolment_of_another");
    let device = FactKey::device(&sts.world.standing.agent.name, &id(&laptop));
    assert_eq!(event.expect("it is told").value["details"]["held_by"], device.as_str());
    assert!(causes[1..].iter().all(|cause| cause == "client_unknown"), "{causes:?}");
    // It can be used by whom it is for, if it is not late: nothing of that used it up.
    sts.send(request(&sts, &laptop, &own)).await.expect("a token");
}

#[tokio::test]
async fn n_012_a_device_of_who_left_was_revoked_or_is_over_vouches_for_nothing() {
    let check = async |change: fn(&mut Device), state: Option<PersonState>| {
        let (sts, laptop, own) = (Sts::new().await, key(), key());
        let mut device = enrol(&sts, &laptop).await;
        sts.send(request(&sts, &laptop, &own)).await.expect("a token");
        change(&mut device);
        put(&sts, &device).await;
        if let Some(state) = state {
            olga(&sts, state).await;
        }
        // Neither goes on what it vouched for, nor begins anything.
        for own in [&own, &key()] {
            let refused = sts.send(request(&sts, &laptop, own)).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidClient);
        }
        assert_eq!(sts.causes(2).await, ["device_not_active"; 2]);
    };
    let now = Sts::new().await.world.clock.now();
    check(
        |device| {
            let since = device.enrolled;
            device.state = DeviceState::Revoked { reason: "lost".to_owned(), since };
        },
        None,
    )
    .await;
    check(|device| device.valid_until = device.enrolled, None).await;
    check(|_| {}, Some(PersonState::Inactive { since: now })).await;
    let back = PersonState::Active { authorization_cutoff: Some(now.plus(DAY)) };
    check(|_| {}, Some(back)).await;
}

/// Whoever has the key of an instance, and another word than the device's, has copied it.
#[tokio::test]
async fn an_instance_is_renewed_by_the_device_that_it_was_entered_by() {
    let check = async |by: fn(&Sts, &SigningKey, &SigningKey) -> Request| {
        let (sts, laptop, own) = (Sts::new().await, key(), key());
        enrol(&sts, &laptop).await;
        let other = key();
        enrol(&sts, &other).await;
        sts.send(request(&sts, &laptop, &own)).await.expect("a token");
        let refused = sts.send(by(&sts, &other, &own)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidGrant, "{refused}");
        let state = instance(&sts, &own).await.state;
        assert!(matches!(state, InstanceState::Quarantined { .. }), "{state:?}");
        // What starts anew sheds nothing, by whichever device.
        let again = sts.send(request(&sts, &laptop, &key())).await.unwrap_err();
        assert_eq!(again.code, ErrorCode::AccessDenied, "{again}");
    };
    check(|sts, _, own| sts.request(own)).await;
    check(request).await;
}

#[tokio::test]
async fn a_device_asks_until_somebody_has_answered() {
    let (sts, laptop) = (Sts::new().await, key());
    let person = &sts.world.standing.other.id;
    let Told::Pending { user_code, verification_uri, expires_in, interval } =
        ask(&sts, &laptop, "laptop").await.expect("it waits")
    else {
        panic!("nobody enrolled it");
    };
    assert_eq!((expires_in, verification_uri.as_str()), (600, "https://people.example/device"));
    let asked = sts.service.device_asked(person, &user_code).expect("it is shown");
    assert_eq!((asked.id, asked.name.as_str()), (id(&laptop), "laptop"));
    let soon = ask(&sts, &laptop, "laptop").await.unwrap_err();
    assert_eq!(soon.code, ErrorCode::SlowDown);
    sts.world.clock.advance(Duration::from_secs(interval.cast_unsigned()));
    let other = ask(&sts, &laptop, "another name").await.unwrap_err();
    assert_eq!(other.code, ErrorCode::InvalidRequest, "what a person reads does not change");
    let device = enrol(&sts, &laptop).await;
    sts.service.device_answered(&asked, true);
    let told = ask(&sts, &laptop, "laptop").await.expect("it was enrolled");
    let valid_until = device.valid_until.as_seconds();
    assert_eq!(told, Told::Enrolled { by: person.to_string(), valid_until });
    assert_eq!(sts.service.device_asked(person, &user_code), Err(NoDevice::Unknown));
}

#[tokio::test]
async fn who_refuses_a_device_is_not_asked_again_and_a_revoked_one_asks_nobody() {
    let (sts, laptop) = (Sts::new().await, key());
    let Ok(Told::Pending { user_code, .. }) = ask(&sts, &laptop, "laptop").await else {
        panic!("it waits");
    };
    let person = &sts.world.standing.other.id;
    let asked = sts.service.device_asked(person, &user_code).expect("it is shown");
    sts.service.device_answered(&asked, false);
    let refused = ask(&sts, &laptop, "laptop").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AccessDenied);

    let lost = key();
    let mut device = enrol(&sts, &lost).await;
    device.state = DeviceState::Revoked { reason: "lost".to_owned(), since: device.enrolled };
    put(&sts, &device).await;
    let refused = ask(&sts, &lost, "laptop").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AccessDenied);
    // One that is only over asks anew.
    device.state = DeviceState::Active;
    device.valid_until = device.enrolled;
    put(&sts, &device).await;
    assert!(matches!(ask(&sts, &lost, "laptop").await, Ok(Told::Pending { .. })));
}

/// Who has seen a proof learns nothing by it: neither what waits, nor who enrolled the device.
#[tokio::test]
async fn n_142_the_proof_by_which_a_device_asks_is_good_once() {
    let (sts, laptop) = (Sts::new().await, key());
    let form = oauth::form::form(&[("client_id", "billing"), ("device_name", "laptop")]);
    let send = async |proof: &str| {
        let (form, arrived) = (form.as_bytes(), sts.world.clock.monotonic());
        let http = TokenHttpRequest { form, dpop: Some(proof), from: None, client: None, arrived };
        sts.service.enrol(http).await.map_err(|error| error.code)
    };
    let proof = || sts.proof_at("/oauth/device", (&laptop, &sts.jti()));
    let [first, second, third] = [proof(), proof(), proof()];
    assert!(matches!(send(&first).await, Ok(Told::Pending { .. })));
    assert_eq!(send(&second).await, Err(ErrorCode::SlowDown));
    sts.world.clock.advance(Duration::from_secs(2));
    for shown in [&first, &second] {
        assert_eq!(send(shown).await, Err(ErrorCode::InvalidDpopProof), "it was used, if in vain");
    }
    enrol(&sts, &laptop).await;
    assert!(matches!(send(&third).await, Ok(Told::Enrolled { .. })));
    assert_eq!(send(&third).await, Err(ErrorCode::InvalidDpopProof));
    assert_eq!(sts.causes(4).await, ["device_too_soon", "replayed", "replayed", "replayed"]);
}

/// Nobody is told whether there is such an agent, and no key is believed without its proof.
#[tokio::test]
async fn i_21_who_asks_learns_nothing_and_proves_the_key() {
    let sts = Sts::new().await;
    let form = |agent: &str| oauth::form::form(&[("client_id", agent), ("device_name", "laptop")]);
    let send = async |form: String, dpop: Option<&str>| {
        let (form, arrived) = (form.as_bytes(), sts.world.clock.monotonic());
        let http = TokenHttpRequest { form, dpop, from: None, client: None, arrived };
        sts.service.enrol(http).await
    };
    for agent in ["billing", "nobody"] {
        let proof = sts.proof_at("/oauth/device", (&key(), &sts.jti()));
        let told = send(form(agent), Some(&proof)).await;
        assert!(matches!(told, Ok(Told::Pending { .. })), "{agent}: {told:?}");
    }
    let elsewhere = sts.proof(&key(), &sts.jti());
    for proof in [None, Some(elsewhere.as_str())] {
        let refused = send(form("billing"), proof).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidDpopProof);
    }
    let proof = sts.proof_at("/oauth/device", (&key(), &sts.jti()));
    let refused = send(form("no/agent"), Some(&proof)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest);
}
