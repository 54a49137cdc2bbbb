//! `chancery init`: founds a deployment in a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use authority::Reader;
use journal::{Journal, Sealer};
use keys::{KeyRing, SigningKey};
use model::{Clock, Entropy, PersonId, Sha256Digest, Thumbprint};
use pap::{Founder, Founding, KeptTokenKeys, PolicyFiles, PolicyKey, WrittenKeys};
use store::Store;
use store_sqlite::{Options, SqliteStore};
use tlog::note::{Algorithm, VerifierKey};

use crate::config::Config;
use crate::system::{SystemClock, SystemEntropy};

/// The configuration that a new deployment starts with.
pub(crate) const CONFIGURATION: &str = "\
# Where state is kept: the database, keys, the log, the administrator's socket.
state_dir: state
listen:
  agents: 127.0.0.1:8420
  admin: 127.0.0.1:8421
# Upstream MCP servers, by name, each with `url` or `command`:
# servers:
#   crm:
#     url: http://127.0.0.1:9000/mcp
";

/// The file of the policy set that a deployment begins with.
const STARTER: &str = "starter.cedar";

/// The file of its cases.
const STARTER_CASES: &str = "cases/starter.yaml";

/// What `init` shows once.
pub(crate) struct Founded {
    /// The founders' codes.
    codes: Vec<Code>,
    /// The thumbprints of the service's keys (RFC 7638), by use.
    keys: BTreeMap<String, Thumbprint>,
    /// The key by which outsiders verify the log.
    verifier: VerifierKey,
}

impl Founded {
    /// Shows it, of the deployment in `dir`.
    pub(crate) fn print(&self, dir: &Path) {
        println!("founded in {}", dir.display());
        for (purpose, thumbprint) in &self.keys {
            println!("key {purpose} {thumbprint}");
        }
        println!("outsiders verify the log by {}", self.verifier);
        println!("each founder redeems a code once: chancery founder redeem CODE --key FILE");
        let first = "who does so first owns the policy that it begins with";
        println!("{first}, the next one approves it");
        for Code { founder, code } in &self.codes {
            println!("code {founder} {code}");
        }
    }
}

/// A founder and the code that they redeem, to be shown once.
struct Code {
    founder: String,
    code: String,
}

/// Makes the directory's files and founds the deployment.
pub(crate) async fn init(
    dir: &Path,
    founders: &[String],
    development: bool,
) -> anyhow::Result<Founded> {
    let empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    ensure!(
        empty,
        "`{}` is not empty: found a deployment in a directory of its own",
        dir.display()
    );
    let people: BTreeSet<PersonId> =
        founders.iter().map(|founder| founder.parse()).collect::<Result<_, _>>()?;
    let enough = if development { 1 } else { 2 };
    ensure!(people.len() >= enough, "name two founders: nobody founds a deployment alone");
    ensure!(people.len() == founders.len(), "name each founder once");
    for folder in ["policies/cases", "policies/properties"] {
        std::fs::create_dir_all(dir.join(folder))
            .with_context(|| format!("could not create `{}`", dir.display()))?;
    }
    open_the_way(dir)?;
    std::fs::write(dir.join("chancery.yaml"), CONFIGURATION)?;
    std::fs::write(dir.join("policies").join(STARTER), pdp::STARTER_POLICY)?;
    std::fs::write(dir.join("policies").join(STARTER_CASES), pap::STARTER_CASES)?;
    std::fs::write(dir.join("policies/properties/starter.cedar"), pdp::STARTER_PROPERTIES)?;
    let config = crate::config::read(&dir.join("chancery.yaml"), std::iter::empty())?;
    let entropy = SystemEntropy::new();
    let mut codes = Vec::new();
    for founder in founders {
        let code = crate::founders::new_code(&entropy);
        codes.push(Code { founder: founder.clone(), code });
    }
    let digest = |code: &Code| Some(Sha256Digest::of(code.code.as_bytes()));
    let named = codes.iter().map(|code| (code.founder.clone(), digest(code))).collect();
    found(&config, named, development).await.with_context(|| {
        format!("`{}` is not founded: remove what was made there, and try again", dir.display())
    })?;
    let ring = KeyRing::open(&config.keys_dir())?;
    let verifier = log_verifier(&config, &ring)?;
    Ok(Founded { codes, keys: thumbprints(&config, &ring)?, verifier })
}

/// The thumbprints of the keys that sign, by use.
fn thumbprints(config: &Config, ring: &KeyRing) -> anyhow::Result<BTreeMap<String, Thumbprint>> {
    let token = keys::read_token_key(&config.keys_dir(), None)?;
    let uses = [("log", ring.log.as_ref()), ("policy", &ring.policy), ("token", &token)];
    let named = |(name, key): (&str, &SigningKey)| {
        (name.to_owned(), Thumbprint::from_bytes(key.verifying().thumbprint()))
    };
    Ok(uses.into_iter().map(named).collect())
}

/// Lets other users pass through a directory, to the host's socket, and see nothing in it.
fn open_the_way(dir: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711))
}

/// Makes keys and database and writes leaf 0.
pub(crate) async fn found(
    config: &Config,
    founders: Vec<(String, Option<Sha256Digest>)>,
    development: bool,
) -> anyhow::Result<()> {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    std::fs::create_dir_all(&config.state_dir)
        .and_then(|()| open_the_way(&config.state_dir))
        .with_context(|| format!("could not create `{}`", config.state_dir.display()))?;
    let mut sealing = [0; 32];
    entropy.fill(&mut sealing);
    let ring = KeyRing::create(&config.keys_dir(), sealing)?;
    let verifier = log_verifier(config, &ring)?;
    std::fs::write(config.keys_dir().join("log.pub"), format!("{verifier}\n"))?;
    let options = Options { clock: clock.clone(), on_fatal: crate::own_process::end_process() };
    let store = Arc::new(SqliteStore::open(&config.database(), options)?);
    let journal = Journal::new(store, Arc::new(Sealer::new(ring.sealing(), entropy.clone())));
    let founders = founders.into_iter().map(|(id, code)| Ok(Founder { id: id.parse()?, code }));
    let founding = Founding {
        founders: founders.collect::<anyhow::Result<_>>()?,
        keys: thumbprints(config, &ring)?,
        origin: config.origin(),
        configuration: Sha256Digest::of(&json::canonical_of(config)),
        policy: starter(),
        development,
    };
    let policy_key = PolicyKey::new(ring.policy.clone(), &config.keys_dir());
    pap::found(&journal, founding, &policy_key, (clock.as_ref(), entropy.as_ref())).await?;
    Ok(())
}

/// The set that a deployment begins with.
pub(crate) fn starter() -> PolicyFiles {
    let starter = (STARTER.to_owned(), pdp::STARTER_POLICY.to_owned());
    let cases = (STARTER_CASES.to_owned(), pap::STARTER_CASES.to_owned());
    PolicyFiles { policies: [starter].into(), cases: [cases].into(), ..PolicyFiles::default() }
}

/// The log's verifier key as it was founded: its name stays, wherever the service moves.
pub(crate) fn founded_verifier(config: &Config, ring: &KeyRing) -> anyhow::Result<VerifierKey> {
    let path = config.keys_dir().join("log.pub");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("could not read the log's verifier key `{}`", path.display()))?;
    let founded: VerifierKey = text
        .trim()
        .parse()
        .with_context(|| format!("`{}` does not hold the log's verifier key", path.display()))?;
    let name = founded.name().as_str();
    if let Some(origin) = &config.log.origin {
        ensure!(origin == name, "`log.origin` is `{origin}`, but the log was founded as `{name}`");
    }
    let own = verifier_named(name, ring)?;
    ensure!(own == founded, "`{}` is not the verifier of the key `log.pem`", path.display());
    Ok(founded)
}

/// The key by which outsiders verify the log's checkpoints.
fn log_verifier(config: &Config, ring: &KeyRing) -> anyhow::Result<VerifierKey> {
    verifier_named(&config.origin(), ring)
}

fn verifier_named(origin: &str, ring: &KeyRing) -> anyhow::Result<VerifierKey> {
    let name = origin.parse().with_context(|| format!("`{origin}` cannot name a log"))?;
    let public = ring.log.verifying().as_bytes().try_into().context("the log key is Ed25519")?;
    Ok(VerifierKey::new(name, Algorithm::Ed25519, public))
}

/// The keys that sign tokens, as they are by now.
pub(crate) async fn token_keys(
    config: &Config,
    store: &dyn Store,
) -> anyhow::Result<KeptTokenKeys> {
    let written = WrittenKeys::read(&mut Reader::new(store)).await?;
    KeptTokenKeys::open(config.keys_dir(), &written).context(
        "could not read the keys that sign tokens: is the directory of keys an older copy?",
    )
}
