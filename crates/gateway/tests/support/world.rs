//! One deployment in a temporary directory.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use authority::{Authority, OutcomeWriter, Parts, Pip, SharedCompiler};
use gateway::{Assertions, Gateway, GatewayLimits, GatewayParts, Route, Routes, Target, Tokens};
use journal::{Journal, LogDirectory, Sealer};
use keys::{KeyRing, TokenKeys};
use mcp::DenialStyle;
use model::{Clock, Entropy, PersonId, Sha256Digest, Timestamp};
use oauth::access_token::{self, AccessTokenClaims, Actor};
use oauth::nonces::Nonces;
use pap::{
    Administration, Command, Founder, Founding, KeptTokenKeys, PolicyFiles, PolicyKey, Publisher,
    WrittenKeys,
};
use serde_json::Value;
use store_sqlite::{Options, SqliteStore};
use sts::TokenService;
use tempfile::TempDir;
use testkit::{FaultyStore, ManualClock, SeededEntropy};
use tokio_util::task::TaskTracker;

use super::client::Agent;
use super::parts::{self, Sources};

/// The issuer, under which agents reach the gateway.
pub const ISSUER: &str = "http://chancery.test:8420";

/// The gateway's boot, and another one.
pub const BOOT: u8 = 1;
pub const OTHER_BOOT: u8 = 2;

/// The nonces of `boot`.
pub fn nonces(boot: u8) -> Arc<Nonces> {
    Arc::new(Nonces::new(&[boot; 32]))
}

/// Compiles for all tests: most of what they put in force is the starter policy.
static COMPILER: LazyLock<SharedCompiler> = LazyLock::new(SharedCompiler::default);

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_mins(1);

/// What differs from test to test.
pub struct Setup {
    pub policy: String,
    pub routes: Vec<(&'static str, Target)>,
    pub limits: GatewayLimits,
    pub denials: DenialStyle,
    pub elicitation_hosts: Vec<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        let (policy, routes, limits) = (String::new(), Vec::new(), parts::limits());
        let (denials, elicitation_hosts) = (DenialStyle::Result, Vec::new());
        Self { policy, routes, limits, denials, elicitation_hosts }
    }
}

/// A running deployment.
pub struct World {
    pub clock: Arc<ManualClock>,
    pub authority: Arc<Authority>,
    pub gateway: Arc<Gateway>,
    pub tokens: Arc<TokenService>,
    pub administration: Arc<Administration>,
    pub publisher: Arc<Publisher>,
    pub sources: Arc<Sources>,
    pub journal: Journal,
    pub store: Arc<FaultyStore>,
    ring: KeyRing,
    pub keys: Arc<TokenKeys>,
    tasks: TaskTracker,
    /// Last: everything else lets go of it first.
    pub dir: TempDir,
}

impl World {
    /// Founds a deployment, with `alice` as its administrator and `sam` to sponsor agents.
    pub async fn new(setup: Setup) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let ring = KeyRing::create(&dir.path().join("keys"), [7; 32]).expect("keys");
        let kept =
            KeptTokenKeys::open(dir.path().join("keys"), &WrittenKeys::default()).expect("a key");
        let keys = kept.keys.clone();
        let (store, journal, authority, outcomes) = authority(&dir, &clock, &entropy, &ring).await;
        tokio::spawn(outcomes.run());
        let starter = ("starter.cedar".to_owned(), pdp::STARTER_POLICY.to_owned());
        let mut files = BTreeMap::from([starter]);
        if !setup.policy.is_empty() {
            files.insert("test.cedar".to_owned(), setup.policy.clone());
        }
        let publisher = Publisher::new(authority.clone(), files, COMPILER.clone());
        let publisher = Arc::new(publisher);
        publisher.publish().await.expect("the policy compiles");

        let (tasks, sources) = (TaskTracker::new(), Arc::new(Sources::default()));
        let parts = gateway_parts(&setup, &authority, (&ring, &keys), (&sources, &tasks), BOOT);
        let gateway = Arc::new(Gateway::new(parts).expect("a gateway"));
        let log = LogDirectory::new(dir.path().join("log"));
        let (of, read) = (authority.clone(), sources.clone());
        let keys_of = (ISSUER.to_owned(), kept, policy_key(&dir, &ring));
        let administration = Administration::new(of, publisher.clone(), read, log, keys_of);
        let administration = Arc::new(administration);
        sources.connect(&gateway, &administration);
        let signs = (keys.clone(), nonces(BOOT));
        let tokens = TokenService::new(authority.clone(), ISSUER.to_owned(), signs);
        let tokens = Arc::new(tokens.sharing(gateway.known_tokens()));
        let world = Self {
            clock,
            authority,
            gateway,
            tokens,
            administration,
            publisher,
            sources,
            journal,
            store,
            ring,
            keys,
            tasks,
            dir,
        };
        world.run(Command::PersonAdd { id: "sam".to_owned(), groups: Vec::new() }).await;
        world
    }

    /// Does `command` as `alice`; it must be done.
    pub async fn run(&self, command: Command) -> Value {
        let alice: PersonId = "alice".parse().expect("a person");
        let name = format!("{command:?}");
        let done = Box::pin(self.administration.run(&alice, command)).await;
        done.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What `token` for `server` would be if it were bound to no key.
    pub fn unbound(&self, token: &str, server: &str) -> String {
        self.signed_anew(token, server, |claims| {
            claims.cnf = None;
            claims.exp = claims.iat + access_token::BEARER_LIFETIME_MAX_S;
        })
    }

    /// What `token` for `server` would be if the work were done for `person`.
    pub fn for_person(&self, token: &str, server: &str, person: &str) -> String {
        self.signed_anew(token, server, |claims| {
            claims.act = Actor::chain([claims.instance().to_owned()].into_iter());
            person.clone_into(&mut claims.sub);
        })
    }

    fn signed_anew(
        &self,
        token: &str,
        server: &str,
        change: impl FnOnce(&mut AccessTokenClaims),
    ) -> String {
        let audience = format!("{ISSUER}/mcp/{server}");
        let parties = (ISSUER, audience.as_str());
        let claims = access_token::verify(token, self.keys.as_ref(), parties, self.now());
        let mut claims = claims.expect("it holds");
        change(&mut claims);
        access_token::mint(&claims, self.keys.signer().as_ref()).expect("it can be signed")
    }

    /// Onboards `server`, whose tools have these harm classes (`TOOL=CLASS`, `*=CLASS`).
    pub async fn onboard(&self, server: &str, harm: &[&str]) {
        let harm = harm.iter().map(|rule| (*rule).to_owned()).collect();
        let (name, owner) = (server.to_owned(), Some("alice".to_owned()));
        self.run(Command::ServerAdd {
            name,
            said: pap::ServerSaid { owner, harm, ..pap::ServerSaid::default() },
        })
        .await;
    }

    /// Registers an agent for a purpose of its own, whose tools are those patterns.
    pub async fn agent(&self, name: &str, tools: &[&str]) -> Agent {
        let purpose = format!("{name}-work");
        let classes = ["reads-data", "exposes-data", "moves-money", "changes-production"];
        self.run(Command::PurposeAdd(pap::PurposeRegistration {
            objects: Vec::new(),
            id: purpose.clone(),
            owner: "alice".to_owned(),
            tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
            harm: classes.map(str::to_owned).to_vec(),
            data: Vec::new(),
            max_calls: None,
            max_tasks_a_day: None,
            description: String::new(),
        }))
        .await;
        let agent = Agent::new(name);
        self.run(Command::AgentAdd(pap::Registration {
            name: name.to_owned(),
            sponsor: "sam".to_owned(),
            purpose,
            business_owner: "sam".to_owned(),
            technical_owner: "sam".to_owned(),
            backups: Vec::new(),
            key: agent.public_jwk(),
            host: Some(model::HostRule { exe: None, uid: 1_000 }),
            workloads: Vec::new(),
            client: None,
            on_behalf_only: false,
            memory: model::Memory::Kept,
        }))
        .await;
        agent
    }

    /// The gateway of another start of the same deployment: it remembers nothing.
    pub fn restarted(&self, setup: &Setup, boot: u8) -> Gateway {
        let kept = (&self.sources, &self.tasks);
        let parts = gateway_parts(setup, &self.authority, (&self.ring, &self.keys), kept, boot);
        Gateway::new(parts).expect("a gateway")
    }

    /// The log, oldest first.
    pub async fn records(&self) -> Vec<Value> {
        let store = self.journal.store();
        let size = store.log_size().await.expect("it can be read");
        let mut records = Vec::new();
        while (records.len() as u64) < size {
            let entries = store.entries(records.len() as u64, 1_000).await.expect("it can be read");
            let parse = |bytes: &[u8]| serde_json::from_slice(bytes).expect("records are JSON");
            records.extend(entries.iter().map(|entry| parse(&entry.bytes)));
        }
        records
    }

    /// The newest record for which `wanted` holds, once there is one.
    pub async fn record(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || async { self.records().await.into_iter().rev().find(|r| wanted(r)) }).await
    }

    /// The refusal record with this cause, once there is one.
    pub async fn refusal(&self, cause: &str) -> Value {
        let wanted = |record: &Value| record["kind"] == "refusal" && record["cause"] == cause;
        self.record(&format!("a refusal for `{cause}` is recorded"), wanted).await
    }

    /// The outcome of the newest permitted act `action`, once it is recorded.
    pub async fn outcome(&self, action: &str) -> Value {
        let permitted = |record: &Value| {
            record["kind"] == "decision"
                && record["action"] == action
                && record["decision"] == "permit"
        };
        let decision = self.record(&format!("`{action}` is permitted"), permitted).await;
        let closes =
            |record: &Value| record["kind"] == "outcome" && record["decision"] == decision["id"];
        let outcome = self.record(&format!("the outcome of `{action}` is recorded"), closes).await;
        outcome["outcome"].clone()
    }

    /// How many decisions there are on `action`, by answer.
    pub async fn decisions(&self, action: &str, answer: &str) -> usize {
        let records = self.records().await;
        let same = |record: &&Value| {
            record["kind"] == "decision"
                && record["action"] == action
                && record["decision"] == answer
        };
        records.iter().filter(same).count()
    }
}

/// Waits until `condition` gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, condition: impl Fn() -> F) -> T {
    let waiting = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    found.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}

/// The key that countersigns releases.
fn policy_key(dir: &TempDir, ring: &KeyRing) -> PolicyKey {
    PolicyKey::new(ring.policy.clone(), &dir.path().join("keys"))
}

async fn authority(
    dir: &TempDir,
    clock: &Arc<ManualClock>,
    entropy: &Arc<dyn Entropy>,
    ring: &KeyRing,
) -> (Arc<FaultyStore>, Journal, Arc<Authority>, OutcomeWriter) {
    let options = Options {
        clock: clock.clone(),
        on_fatal: Arc::new(|error| panic!("the store gave up: {error}")),
    };
    let store = SqliteStore::open(&dir.path().join("chancery.db"), options).expect("a store");
    let store = FaultyStore::over(Arc::new(store));
    let sealer = Arc::new(Sealer::new(ring.sealing(), entropy.clone()));
    let journal = Journal::new(store.clone(), sealer);
    let founding = Founding {
        founders: vec![Founder { id: "alice".parse().expect("a person"), code: None }],
        keys: BTreeMap::new(),
        origin: "chancery.test/log".to_owned(),
        configuration: Sha256Digest::of(b"none"),
        policy: PolicyFiles::default(),
        development: true,
    };
    let key = policy_key(dir, ring);
    let by = (clock.as_ref() as &dyn Clock, entropy.as_ref());
    pap::found(&journal, founding, &key, by).await.expect("founded");
    let (authority, outcomes) = Authority::new(Parts {
        journal: journal.clone(),
        pip: Pip::open(&journal).await.expect("it can be read"),
        clock: clock.clone(),
        last_record: Timestamp::from_millis(0),
        entropy: entropy.clone(),
        limits: authority::Limits {
            decision_timeout: Duration::from_secs(10),
            review_interval: authority::REVIEW_INTERVAL,
            tasks_of_person: None,
            calls_of_person: None,
            policy_grace: Duration::from_hours(24),
        },
    });
    (store, journal, Arc::new(authority), outcomes)
}

fn gateway_parts(
    setup: &Setup,
    authority: &Arc<Authority>,
    (ring, keys): (&KeyRing, &Arc<TokenKeys>),
    (sources, tasks): (&Arc<Sources>, &TaskTracker),
    boot: u8,
) -> GatewayParts {
    let (clock, entropy) = (authority.clock().clone(), authority.entropy().clone());
    let route = |(name, target): &(&str, Target)| {
        let audience = format!("upstream:{name}");
        let hosts = setup.elicitation_hosts.iter().map(|host| (*host).to_owned());
        let elicitation_hosts = hosts.collect();
        let (target, denials) = (target.clone(), setup.denials);
        let route = Route { target, audience, denials, elicitation_hosts };
        (name.parse().expect("a server"), Arc::new(route))
    };
    let routes: Routes = setup.routes.iter().map(route).collect();
    let path = std::env::var("PATH").expect("there is a PATH");
    let own = [("PATH", path.as_str()), ("LANG", "C"), ("CHANCERY_SECRET", "never-passed-on")];
    GatewayParts {
        authority: authority.clone(),
        tokens: Tokens::new(ISSUER.to_owned(), keys.clone(), clock.clone(), nonces(boot)),
        assertions: Assertions { issuer: ISSUER.to_owned(), keys: keys.clone(), clock, entropy },
        routes,
        states: ring.state_sealing(),
        pins: sources.clone(),
        environment: own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        limits: setup.limits,
        tasks: tasks.clone(),
    }
}

impl World {
    /// The time, in seconds since the epoch.
    pub fn now(&self) -> i64 {
        self.clock.now().as_seconds()
    }
}
