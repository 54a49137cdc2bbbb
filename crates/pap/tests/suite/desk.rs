//! Somebody who administers the deployment of the tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use authority::NotPermitted;
use keys::{KeyAlgorithm, KeyRing, SigningKey, TokenKeys};
use model::{
    Clock, Enforcement, Entropy, FactKey, PersonId, ServerName, Sha256Digest, ToolName, Widening,
};
use oauth::people::{self, ListedPerson, People};
use pap::{
    AdminError, Administration, Command, Content, Found, Founder, Founding, KeptTokenKeys,
    PolicyFiles, PolicyKey, Publisher, SourceKey, ToolSource, WrittenKeys,
};
use serde_json::{Value, json};
use store::Store as _;
use testkit::ManualClock;

use crate::support::{POLICY, World, compiler};

/// The deployment of the tests, as it is named in what is signed for it.
pub(crate) const ISSUER: &str = "https://chancery.example";

/// The sponsor of the tests, who administers.
pub(crate) const SAM: &str = "sam.sponsor@example.org";

/// What the server of the tests lists, until somebody changes it.
pub(crate) struct Shelf(Mutex<Found>);

#[async_trait]
impl ToolSource for Shelf {
    async fn read(&self, server: &ServerName) -> Result<Found, String> {
        if server.as_str() == "nowhere" {
            return Err("it is not configured".to_owned());
        }
        Ok(self.0.lock().expect("no test panics while it holds it").clone())
    }
}

/// The deployment with its administration.
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) administration: Arc<Administration>,
    pub(crate) shelf: Arc<Shelf>,
    /// The key of the directory `hr`.
    pub(crate) hr: SigningKey,
    /// The keys that sign tokens.
    pub(crate) token_keys: Arc<TokenKeys>,
}

/// What is said of the key of the directory `name`.
pub(crate) fn source_key(name: &str, key: Value) -> SourceKey {
    let expires = ManualClock::new().now().plus(Duration::from_hours(24));
    SourceKey { name: name.to_owned(), key, expires }
}

/// Registers a directory that signs lists, which nobody waits for.
pub(crate) const fn registers(said: SourceKey) -> Command {
    Command::PeopleSourceAdd { said, silence_min: None }
}

/// The files of a policy set with one file.
pub(crate) fn files(policy: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("test.cedar".to_owned(), policy.to_owned())])
}

/// The public half of a new key.
pub(crate) fn jwk() -> Value {
    SigningKey::generate(KeyAlgorithm::Es256).expect("a key").verifying().to_jwk()
}

/// The key that countersigns releases, which lies in `dir` with the others.
pub(crate) fn policy_key(dir: &Path) -> PolicyKey {
    let dir = dir.join("keys");
    let ring = KeyRing::open(&dir).or_else(|_| KeyRing::create(&dir, [7; 32])).expect("keys");
    PolicyKey::new(ring.policy, &dir)
}

/// Who founds a deployment, each with the code that they redeem, if they have to.
pub(crate) type Founders<'a> = &'a [(&'a str, Option<&'a str>)];

/// Founds the deployment of `world`.
pub(crate) async fn found(world: &World, development: bool) {
    found_by(world, development, &[]).await;
}

/// The same, by these founders.
async fn found_by(world: &World, development: bool, founders: Founders<'_>) {
    let founder = |(id, code): &(&str, Option<&str>)| Founder {
        id: id.parse().expect("a person"),
        code: code.map(|code| Sha256Digest::of(code.as_bytes())),
    };
    let founding = Founding {
        founders: founders.iter().map(founder).collect(),
        keys: BTreeMap::new(),
        origin: "example.com/log".to_owned(),
        configuration: Sha256Digest::of(b"configuration"),
        policy: PolicyFiles { policies: files(POLICY), ..PolicyFiles::default() },
        development,
    };
    let by = (world.clock.as_ref() as &dyn Clock, world.entropy.as_ref() as &dyn Entropy);
    let key = policy_key(world.dir.path());
    pap::found(&world.journal, founding, &key, by).await.expect("it is founded");
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::over(World::new().await).await
    }

    pub(crate) async fn over(world: World) -> Self {
        Box::pin(Self::with(world, files(POLICY).into())).await
    }

    /// The same, founded, where what is released is in force.
    pub(crate) async fn released(world: World) -> Self {
        found(&world, false).await;
        Self::with(world, Content { release: Some(1), ..files(POLICY).into() }).await
    }

    /// The same, where these founded it, for development or not, and what is released is in force, or files are.
    pub(crate) async fn founded_by(
        founders: Founders<'_>,
        (development, release): (bool, Option<u64>),
    ) -> Self {
        let world = World::new().await;
        found_by(&world, development, founders).await;
        let content = match release {
            Some(_) => files(POLICY),
            // Another text than the world's, which nobody put in force.
            None => files(&format!("{POLICY}\n")),
        };
        Self::with(world, Content { release, ..content.into() }).await
    }

    async fn with(world: World, content: Content) -> Self {
        let publisher = Publisher::new(world.authority.clone(), content, compiler());
        let publisher = Arc::new(publisher);
        publisher.publish().await.expect("the set compiles");
        let listed = |tool: &model::Tool| (tool.tool.tool.clone(), tool.descriptor.clone());
        let found = Found {
            tools: world.standing.tools.iter().map(listed).collect(),
            origin: world.standing.server.origin.clone(),
            enforcement: Enforcement::Mandatory,
            account: None,
        };
        let shelf = Arc::new(Shelf(Mutex::new(found)));
        let log = journal::LogDirectory::new(world.dir.path().join("log"));
        let policy_key = policy_key(world.dir.path());
        let kept = KeptTokenKeys::open(world.dir.path().join("keys"), &WrittenKeys::default())
            .expect("a key");
        let token_keys = kept.keys.clone();
        let administration = Arc::new(Administration::new(
            world.authority.clone(),
            publisher.clone(),
            shelf.clone(),
            log,
            (ISSUER.to_owned(), kept, policy_key),
        ));
        // What widens waits in the tests of that.
        let at_once = Widening { after_s: Some(0), ..Widening::default() };
        world.put(FactKey::widening(), &at_once).await;
        let hr = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        Self { world, publisher, administration, shelf, hr, token_keys }
    }

    /// The process ends, as it were, and starts again over the same database.
    pub(crate) async fn restarted(self) -> Self {
        let Self { world, publisher, administration, .. } = self;
        drop((publisher, administration));
        Self::over(world.restarted().await).await
    }

    /// Registers the directory `hr`.
    pub(crate) async fn directory(&self) {
        let said = source_key("hr", self.hr.verifying().to_jwk());
        self.run(registers(said)).await.expect("it is registered");
    }

    /// What the directory `hr` signs by `key` as its list `version`.
    pub(crate) fn signed(&self, key: &SigningKey, version: u64, people: &[ListedPerson]) -> String {
        let people = People { version, people: people.to_vec() };
        let now = self.world.clock.now().as_seconds();
        people::make(("hr", ISSUER), key, now, &people).expect("it is signed")
    }

    /// Does `command` as the sponsor, who administers.
    pub(crate) async fn run(&self, command: Command) -> Result<Value, AdminError> {
        let by = self.world.standing.sponsor.id.clone();
        self.run_as(&by, command).await
    }

    pub(crate) async fn run_as(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        Box::pin(self.administration.run(by, command)).await
    }

    /// The state of the facts, as a number that every change increases.
    pub(crate) async fn revision(&self) -> u64 {
        self.world.store.load(&[]).await.expect("it can be read").revision.0
    }

    /// The fact at `key`.
    pub(crate) async fn fact(&self, key: FactKey) -> Option<Value> {
        let loaded = self.world.store.load(&[key]).await.expect("it can be read");
        let body = loaded.bodies.into_iter().next().flatten();
        body.map(|body| serde_json::from_slice(&body).expect("facts are JSON"))
    }

    /// Waits until a refusal for `cause` is recorded.
    pub(crate) async fn has_refused_for(&self, cause: &str) {
        crate::support::until("it is recorded", || async {
            let refusals = self.world.records("refusal").await;
            refusals.iter().any(|it| it.text_of("cause") == cause)
        })
        .await;
    }

    /// Changes what the server lists.
    pub(crate) fn list(&self, change: impl FnOnce(&mut BTreeMap<ToolName, Value>)) {
        change(&mut self.shelf.0.lock().expect("no test panics while it holds it").tools);
    }

    /// Serves the tools from somewhere else.
    pub(crate) fn moves_to(&self, origin: &str) {
        let mut found = self.shelf.0.lock().expect("no test panics while it holds it");
        origin.clone_into(&mut found.origin);
    }

    /// Compares what the server lists with the pins, as the gateway does.
    pub(crate) async fn look(&self) {
        let listed = self.shelf.0.lock().expect("no test panics while it holds it").tools.clone();
        let server = &self.world.standing.server.name;
        self.administration.note_tools(server, &listed, true).await.expect("it is noted");
    }

    /// Why a call of `tool` is denied; `permitted` if it is not.
    pub(crate) async fn call(&self, tool: &str) -> String {
        told(&self.world.authorize(self.world.call(tool, json!({ "amount": 5 }))).await)
    }

    /// The same; what is permitted is done, and returns.
    pub(crate) async fn called(&self, tool: &str) -> String {
        told(&self.world.done(self.world.call(tool, json!({ "amount": 5 }))).await)
    }

    /// Permits a refund, and loses its outcome; gives the decision.
    pub(crate) async fn lose(&self) -> String {
        let act = self.world.call("refund", json!({ "amount": 5 }));
        let permit = self.world.authorize(act).await.expect("it is permitted");
        let decision = permit.context().decision.to_string();
        drop(permit.begin(self.world.clock.as_ref()).expect("it begins"));
        self.world.drained().await;
        decision
    }
}

/// `permitted`, or the reason.
pub(crate) fn told<T>(answer: &Result<T, NotPermitted>) -> String {
    match answer {
        Ok(_) => "permitted".to_owned(),
        Err(NotPermitted::Denied { denial, .. }) => denial.code().to_owned(),
        Err(other) => other.to_string(),
    }
}

/// What an act came to, in a word.
pub(crate) fn word(answer: &Result<Value, AdminError>) -> &'static str {
    match answer {
        Ok(_) => "done",
        Err(AdminError::Refused(_)) => "refused",
        Err(AdminError::Missing(_)) => "missing",
        Err(AdminError::Invalid(_)) => "invalid",
        Err(AdminError::Conflict(_)) => "conflict",
        Err(AdminError::Unavailable(_)) => "unavailable",
        Err(AdminError::Unknown(_)) => "unknown",
    }
}
