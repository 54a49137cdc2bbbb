//! A deployment in which every command has something to work on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{
    Agent, AgentName, AgentReview, Clock as _, Covers, DecisionId, Device, DeviceState, Directory,
    DirectoryState, DirectoryToken, DirectoryTokens, Due, Elevation, ElevationId, ElevationState,
    EventAlgorithm, FactKey, Finding, FounderAsked, FounderChange, Harm, InstanceId, InstanceState,
    Mistake, OpenReview, Person, PersonState, REVIEW_MIN, Receiver, RecordId, Review, ReviewId,
    Risk, RiskLevel, Sha256Digest, SourceName, Speaker, Stop, StopTarget, Stopped, Stranger,
    Stream, Thumbprint, Timestamp, ToolState, Undo, UndoState, Waits,
};
use pap::Command;
use pap::directory::UserChange;
use serde_json::json;

use crate::desk::{Desk, jwk};
use crate::directories::user;
use crate::support::World;

/// The code of a founder who has not redeemed it.
pub(crate) const CODE: &str = "founder-code";

/// An instance whose sponsor administers nothing, and which is stopped.
pub(crate) const OTHERS: [u8; 16] = [77; 16];

/// A caller that is no active agent.
pub(crate) fn finding() -> Finding {
    let stranger = Stranger {
        cause: "client_unknown".to_owned(),
        tried: "token".to_owned(),
        ..Stranger::default()
    };
    let at = Timestamp::from_millis(1);
    let state = "unknown".to_owned();
    let (id, told) = (stranger.id(), Vec::new());
    Finding { id, state, stranger, first: at, last: at, count: 1, told, closed: None }
}

/// A device of `agent`.
pub(crate) fn device(agent: AgentName) -> Device {
    Device {
        agent,
        id: Thumbprint::from_bytes([55; 32]),
        key: json!({}),
        name: "laptop".to_owned(),
        by: "ordinary".parse().expect("a person"),
        enrolled: Timestamp::from_millis(1),
        valid_until: Timestamp::from_millis(2),
        state: DeviceState::Active,
    }
}

/// A stream that speaks for the directory `okta`.
fn stream(desk: &Desk) -> Stream {
    Stream {
        name: "caep".parse().expect("a source"),
        issuer: "https://idp.example".to_owned(),
        audience: "https://chancery.example".to_owned(),
        algorithms: ["ES256".to_owned()].into(),
        directory: "okta".parse().expect("a source"),
        email: false,
        silence_min: None,
        registered: desk.world.clock.now(),
        state: DirectoryState::Active,
    }
}

fn receiver(desk: &Desk) -> Receiver {
    Receiver {
        name: "siem".parse().expect("a source"),
        audience: "https://siem.example".to_owned(),
        covers: Covers::These([].into()),
        issuer: None,
        push_host: None,
        algorithm: EventAlgorithm::Es256,
        key: None,
        registered: desk.world.clock.now(),
        state: DirectoryState::Active,
    }
}

/// What somebody else asked for.
pub(crate) fn elevation(desk: &Desk) -> Elevation {
    let task = &desk.world.standing.task;
    Elevation {
        id: ElevationId::from_bytes([66; 16]),
        name: "month-end".parse().expect("a name"),
        task: task.id,
        instance: task.instance,
        tools: [("crm/refund".parse().expect("a tool"), [Harm::MovesMoney].into())].into(),
        max_calls: None,
        lasts_s: 60,
        reason: "because".to_owned(),
        asked_by: "ordinary".parse().expect("a person"),
        key: None,
        asked: desk.world.clock.now(),
        state: ElevationState::Asked,
    }
}

/// A review of an agent whose sponsor administers nothing, which nobody has answered yet.
pub(crate) fn review(world: &World) -> Review {
    let opened = world.clock.now();
    Review {
        id: ReviewId::from_bytes([88; 16]),
        opened_by: world.standing.sponsor.id.clone(),
        opened,
        due: opened.plus(REVIEW_MIN),
        items: [("others".parse().expect("an agent"), None)].into(),
        withdrawn: None,
    }
}

/// An agent whose sponsor administers nothing.
pub(crate) fn others(world: &World) -> Agent {
    let Review { id, due, opened_by, .. } = review(world);
    Agent {
        name: "others".parse().expect("an agent"),
        sponsor: world.standing.other.id.clone(),
        review: AgentReview { open: Some(OpenReview { id, due, opened_by }), passed: None },
        ..world.standing.agent.clone()
    }
}

/// That agent with an instance that is stopped; a device, a review, and an agent that nobody answered for
/// in another.
async fn furnish(world: &World) {
    let (agent, mut instance) = (others(world), world.standing.instance.clone());
    let mut lapsed = Agent { name: "lapsed".parse().expect("an agent"), ..agent.clone() };
    lapsed.sponsor = world.standing.sponsor.id.clone();
    lapsed.review.open.as_mut().expect("there is one").due = world.clock.now();
    world.put(FactKey::agent(&lapsed.name), &lapsed).await;
    world.put(FactKey::review(review(world).id), &review(world)).await;
    (instance.id, instance.agent) = (InstanceId::from_bytes(OTHERS), agent.name.clone());
    let since = world.standing.task.opened;
    instance.state = InstanceState::Quarantined { signal: "test".to_owned(), since };
    instance.risk = Some(Risk { level: RiskLevel::Low, since });
    let stopped = Stopped([(instance.id, instance.state.clone())].into());
    world.put(FactKey::agent(&agent.name), &agent).await;
    world.put(FactKey::instance(instance.id), &instance).await;
    world.put(FactKey::stopped(&agent.name), &stopped).await;
    world.put(FactKey::kept(&world.standing.server.name, None), &["external"]).await;
    let device = device(world.standing.agent.name.clone());
    world.put(FactKey::device(&device.agent, &device.id), &device).await;
}

/// What somebody else wants undone.
pub(crate) fn undo(desk: &Desk) -> Undo {
    let directory: SourceName = "okta".parse().expect("a source");
    Undo {
        id: RecordId::from_bytes([68; 16]),
        event: Mistake::Record { record: DecisionId::from_bytes([69; 16]) },
        speaker: Speaker::directory(),
        directory,
        people: BTreeMap::new(),
        reason: "because".to_owned(),
        asked_by: "ordinary".parse().expect("a person"),
        key: None,
        asked: desk.world.clock.now(),
        state: UndoState::Asked,
    }
}

/// Somebody of the directory `name` whom it sent away.
async fn left(desk: &Desk, name: &SourceName) {
    let token = "okta.secret";
    let expires = desk.world.clock.now().plus(Duration::from_hours(1));
    let digest = Sha256Digest::of(token.as_bytes());
    let tokens = DirectoryTokens(vec![DirectoryToken { digest, expires, read_only: false }]);
    desk.world.put(FactKey::directory_tokens(name), &tokens).await;
    let okta = desk.administration.known_directory(token).await.expect("it can be read");
    let okta = okta.expect("it is known");
    let said = |active: bool| {
        let mut user = user("left");
        user["active"] = json!(active);
        scim::USER.read(user).expect("it makes sense")
    };
    let id = desk.administration.create_user(&okta, said(true)).await.expect("they are new");
    let gone = UserChange::Replace(said(false));
    desk.administration.change_user(&okta, (id.as_str(), None), &gone).await.expect("gone");
}

/// The person `waiting`, who joins a group that waits.
async fn waiting(desk: &Desk) {
    let due = Due { from: None, by: None };
    let joins = [("approvers".parse().expect("a group"), due)].into();
    let mut person = Person::new("waiting".parse().expect("a person"), BTreeSet::new());
    person.waits = Waits { returns: None, joins };
    desk.world.put(FactKey::person(&person.id), &person).await;
}

/// Who is to be a founder, or has another code.
pub(crate) fn founder_said() -> pap::FounderSaid {
    let (id, reason) = ("ordinary".to_owned(), "because".to_owned());
    pap::FounderSaid { id, code: Sha256Digest::of(b"half"), reason }
}

/// One more code of a founder who has not redeemed it, and a key that waits.
async fn founders(world: &World) {
    let code = FactKey::from_text(&format!("founder/{}", Sha256Digest::of(b"another")));
    world.put(code, &json!({ "founder": founder_said().id })).await;
    let asked = FounderAsked {
        founder: "waiting".parse().expect("a person"),
        change: FounderChange::Add,
        code: Sha256Digest::of(b"half"),
        reason: "because".to_owned(),
        by: world.standing.sponsor.id.clone(),
        key: None,
        at: world.standing.task.opened,
        alone_from: None,
        gone: None,
    };
    world.put(FactKey::founder_asked(&asked.founder), &asked).await;
}

/// A deployment in which every command has something to work on.
pub(crate) async fn desk() -> (Desk, String) {
    let world = World::with(|facts| {
        // The deactivated one was an administrator.
        facts.other.groups.insert("administrators".parse().expect("a group"));
        facts.other.state = PersonState::Inactive { since: facts.task.opened };
        facts.other.manager = Some("ordinary".parse().expect("a person"));
        let seen = facts.task.opened;
        facts.tools[2].state = ToolState::Changed { descriptor: json!({ "name": "deploy" }), seen };
    })
    .await;
    world.portal(jwk()).await;
    let founder = &world.standing.sponsor.id;
    let code = FactKey::from_text(&format!("founder/{}", Sha256Digest::of(CODE.as_bytes())));
    world.put(code, &json!({ "founder": founder })).await;
    founders(&world).await;
    world.put(FactKey::finding(&finding().id), &finding()).await;
    furnish(&world).await;
    let all = Stop {
        what: StopTarget::All,
        by: founder.clone(),
        reason: "test".to_owned(),
        since: world.standing.task.opened,
        wish: None,
    };
    let desk = Desk::over(world).await;
    let person = Command::PersonAdd { id: "ordinary".to_owned(), groups: Vec::new() };
    desk.run(person).await.expect("the person is added");
    desk.directory().await;
    let directory = Directory {
        name: "okta".parse().expect("a source"),
        logins: None,
        silence_min: None,
        registered: desk.world.clock.now(),
        state: DirectoryState::Active,
    };
    desk.world.put(FactKey::directory(&directory.name), &directory).await;
    left(&desk, &directory.name).await;
    let undo = undo(&desk);
    desk.world.put(FactKey::undo(undo.id), &undo).await;
    let stream = stream(&desk);
    desk.world.put(FactKey::stream(&stream.name), &stream).await;
    desk.world.put(FactKey::stream_tokens(&stream.name), &json!([])).await;
    let receiver = receiver(&desk);
    desk.world.put(FactKey::receiver(&receiver.name), &receiver).await;
    desk.world.put(FactKey::receiver_tokens(&receiver.name), &json!([])).await;
    let elevation = elevation(&desk);
    desk.world.put(FactKey::elevation(elevation.id), &elevation).await;
    waiting(&desk).await;
    let decision = desk.lose().await;
    desk.world.put(FactKey::stop(&all.what), &all).await;
    (desk, decision)
}

/// A token of a directory.
fn directory_token(desk: &Desk) -> pap::NewToken {
    let expires = desk.world.clock.now().plus(Duration::from_mins(1));
    pap::NewToken { digest: Sha256Digest::of(b"a token"), expires, read_only: false }
}

/// That the transmitter of a stream is to delete it.
pub(crate) fn stream_managed() -> pap::StreamManaged {
    pap::StreamManaged {
        name: "caep".to_owned(),
        act: pap::ManagedAct::Delete,
        id: Some("f67e39a0".to_owned()),
        delivery: None,
        events: BTreeSet::new(),
        subject: None,
        reason: None,
    }
}

/// What the transmitter answered to what was decided by `decision`.
pub(crate) fn stream_answered(decision: String) -> pap::StreamAnswered {
    pap::StreamAnswered { decision, status: Some(204), body: Some(Sha256Digest::of(b"")) }
}

/// What somebody wants undone of what a directory said.
fn undo_asked(desk: &Desk) -> pap::UndoAsked {
    pap::UndoAsked {
        record: None,
        directory: Some("okta".to_owned()),
        stream: None,
        from: Some(desk.world.standing.task.opened),
        until: Some(desk.world.clock.now()),
        reason: "because".to_owned(),
    }
}

/// Those about directories, and about the signals that are taken and told.
pub(crate) fn of_directories(desk: &Desk) -> Vec<Command> {
    let (reason, okta) = (|| "because".to_owned(), || "okta".to_owned());
    vec![
        Command::DirectoryAdd(pap::DirectoryRegistration {
            name: "new".to_owned(),
            logins: None,
            silence_min: None,
            token: directory_token(desk),
        }),
        Command::DirectoryToken { name: okta(), token: directory_token(desk), alone: false },
        Command::DirectoryAdopt { name: okta(), person: "ordinary".to_owned() },
        Command::DirectorySuspend { name: okta(), reason: reason() },
        Command::DirectoryResume { name: okta() },
        Command::DirectorySilence { name: okta(), silence_min: Some(60) },
        Command::DirectoryList,
        Command::StreamAdd(pap::StreamRegistration {
            name: "new".to_owned(),
            issuer: "https://idp.example".to_owned(),
            audience: "https://chancery.example".to_owned(),
            algorithms: vec!["ES256".to_owned()],
            directory: "okta".to_owned(),
            email: false,
            silence_min: None,
            token: directory_token(desk),
        }),
        Command::StreamToken {
            name: "caep".to_owned(),
            token: directory_token(desk),
            alone: false,
        },
        Command::StreamSuspend { name: "caep".to_owned(), reason: reason() },
        Command::StreamResume { name: "caep".to_owned() },
        Command::StreamSilence { name: "caep".to_owned(), silence_min: None },
        Command::StreamManage(stream_managed()),
        Command::StreamAnswered(stream_answered(String::new())),
        Command::StreamList,
        Command::ReceiverAdd(pap::ReceiverRegistration {
            name: "new".to_owned(),
            audience: "https://new.example".to_owned(),
            covers: Covers::All,
            issuer: None,
            push_host: None,
            algorithm: EventAlgorithm::Es256,
            token: Some(directory_token(desk)),
            key: None,
        }),
        Command::ReceiverCover { name: "siem".to_owned(), covers: Covers::All },
        Command::ReceiverIssuer { name: "siem".to_owned(), issuer: None },
        Command::ReceiverToken {
            name: "siem".to_owned(),
            token: directory_token(desk),
            alone: false,
        },
        Command::ReceiverKey { name: "siem".to_owned(), key: None },
        Command::ReceiverSuspend { name: "siem".to_owned(), reason: reason() },
        Command::ReceiverResume { name: "siem".to_owned() },
        Command::ReceiverRemove { name: "siem".to_owned() },
        Command::ReceiverList,
        Command::SignalUndo { asked: undo_asked(desk), word: None },
        Command::SignalApprove { id: undo(desk).id.to_string(), word: None },
        Command::SignalList,
    ]
}
