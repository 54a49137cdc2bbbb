//! A log in a directory, with records as the service writes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::verify::{Report, VerifyError, verify};
use journal::{Integrator, LogDirectory};
use keys::{Signer as _, SigningKey};
use model::record::{
    Commitments, DecisionRecord, FactsRecord, FactsRef, FoundingRecord, OutcomeKind, OutcomeRecord,
    Record, VERSION, Verdict,
};
use model::{
    Answers, Attestation, Binding, Commitment, DecisionId, Harm, InstanceId, MandateDigest,
    PolicyDigest, RecordDigest, RecordId, Revision, Salt, Sha256Digest, TaskId, Timestamp,
};
use store::{NewEntry, Store, Unit};
use store_sqlite::{Options, SqliteStore};
use testkit::ManualClock;
use tlog::note::{Algorithm, KeyId, Name, NoteSigner, VerifierKey};

/// When everything in these logs happened.
pub(crate) const AT: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// The key of RFC 8032 §7.1, TEST 1: known to everybody.
const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

/// Signs checkpoints.
pub(crate) struct LogKey {
    key: SigningKey,
    pub(crate) verifier: VerifierKey,
}

impl LogKey {
    pub(crate) fn new() -> Arc<Self> {
        let key = SigningKey::from_pem(PEM).unwrap();
        let public = key.verifying().as_bytes().try_into().unwrap();
        let name = "example.com/log".parse().unwrap();
        let verifier = VerifierKey::new(name, Algorithm::Ed25519, public);
        Arc::new(Self { key, verifier })
    }
}

impl NoteSigner for LogKey {
    fn name(&self) -> &Name {
        self.verifier.name()
    }

    fn key_id(&self) -> KeyId {
        self.verifier.id()
    }

    fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.key.sign(text).unwrap().try_into().unwrap()
    }
}

/// A store and the directory of its log.
pub(crate) struct Log {
    directory: tempfile::TempDir,
    pub(crate) key: Arc<LogKey>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), key: LogKey::new() }
    }

    /// A log with these records under one checkpoint, and its store closed again.
    pub(crate) async fn of(records: &[Vec<u8>]) -> Self {
        let log = Self::new();
        let store = log.store();
        append(store.as_ref(), records).await;
        let mut integrator = log.integrator(store).await;
        while integrator.step().await.unwrap().is_some() {}
        log
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.directory.path().join("db")
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.file(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.file(name), bytes).unwrap();
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        let on_fatal = Arc::new(|error| panic!("{error}"));
        let options = Options { clock: Arc::new(ManualClock::new()), on_fatal };
        Arc::new(SqliteStore::open(&self.database(), options).unwrap())
    }

    pub(crate) async fn integrator(&self, store: Arc<dyn Store>) -> Integrator {
        self.try_integrator(store).await.unwrap()
    }

    pub(crate) async fn try_integrator(
        &self,
        store: Arc<dyn Store>,
    ) -> Result<Integrator, journal::IntegrateError> {
        let directory = LogDirectory::new(self.path());
        Integrator::open(store, directory, self.key.clone(), self.key.name().clone()).await
    }

    pub(crate) fn verify(&self, since: Option<&[u8]>) -> Result<Report, VerifyError> {
        verify(&LogDirectory::new(self.path()), &self.key.verifier, since)
    }

    /// Every file of the published log, by its name.
    pub(crate) fn files(&self) -> Vec<String> {
        let (mut names, mut todo) = (Vec::new(), vec![self.path()]);
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                names.push(name_in(&self.path(), &path));
            }
        }
        names.sort_unstable();
        names
    }
}

fn name_in(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

/// Verifies as somebody who trusts the key alone, and wants to hear of no problem.
pub(crate) fn verify_as_outsider(log: &Log, since: Option<&[u8]>) -> u64 {
    let report = log.verify(since).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.control_failures, 0);
    report.size
}

/// What a verification says of an altered log, one problem a line; it must say something.
pub(crate) fn problems(log: &Log, since: Option<&[u8]>) -> Vec<String> {
    match log.verify(since) {
        Ok(report) => report.problems.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

pub(crate) async fn append(store: &dyn Store, records: &[Vec<u8>]) {
    for (number, records) in (0_u32..).zip(records.chunks(32)) {
        let entries = (0_u32..).zip(records).map(|(at, bytes)| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            id[4..8].copy_from_slice(&at.to_be_bytes());
            let leaf = RecordDigest::from_bytes(*tlog::leaf_hash(bytes).as_bytes());
            NewEntry { id, bytes: bytes.clone(), leaf, disclosure: None }
        });
        store.commit(Unit { entries: entries.collect(), ..Unit::default() }).await.unwrap();
    }
}

fn id(number: u64, kind: u8) -> [u8; 16] {
    let mut id = [kind; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

pub(crate) fn founding() -> FoundingRecord {
    FoundingRecord {
        configuration: Sha256Digest::of(b"configuration"),
        development: true,
        founders: Vec::new(),
        id: RecordId::from_bytes(id(0, 1)),
        keys: std::collections::BTreeMap::new(),
        kind: "founding".to_owned(),
        origin: "example.com/log".to_owned(),
        policy: PolicyDigest::of(b"policy"),
        time: AT,
        v: VERSION,
    }
}

pub(crate) fn sponsor() -> Commitments {
    let commitment = Commitment::to(&Salt::from_bytes([7; 32]), b"\"alice\"");
    Commitments::from([("sponsor".to_owned(), commitment)])
}

pub(crate) fn facts() -> FactsRecord {
    FactsRecord {
        commitments: sponsor(),
        id: RecordId::from_bytes(id(0, 2)),
        kind: "facts".to_owned(),
        revision: Revision(1),
        time: AT,
        v: VERSION,
    }
}

pub(crate) fn decision(number: u64) -> DecisionRecord {
    let leaf = tlog::leaf_hash(&facts().to_canonical_bytes());
    DecisionRecord {
        action: "crm/lookup".to_owned(),
        agent: "support-bot".parse().unwrap(),
        answers: Answers::default(),
        attestation: Attestation::User,
        binding: Binding::Dpop,
        budget: None,
        commitments: sponsor().try_into().unwrap(),
        decision: Verdict::Permit,
        delegators: Vec::new(),
        elevation: None,
        enforcement: None,
        facts: FactsRef {
            id: facts().id,
            leaf: RecordDigest::from_bytes(*leaf.as_bytes()),
            revision: Revision(1),
        },
        harm: vec![Harm::ReadsData],
        id: DecisionId::from_bytes(id(number, 3)),
        instance: InstanceId::from_bytes([2; 16]),
        kind: "decision".to_owned(),
        latency_us: 321,
        mandate: MandateDigest::of(b"mandate"),
        obligations: Vec::new(),
        observed: Vec::new(),
        observed_set: None,
        pin: None,
        point: "gateway/mcp-http".to_owned(),
        policies: vec!["lookups".into()],
        policy: PolicyDigest::of(b"policy"),
        purpose: "support".parse().unwrap(),
        reason: "granted".to_owned(),
        remedies: Vec::new(),
        resource: "Tool::crm/lookup".to_owned(),
        task: TaskId::from_bytes([3; 16]),
        time: AT,
        trace: None,
        v: VERSION,
    }
}

pub(crate) fn outcome(number: u64) -> OutcomeRecord {
    let DecisionRecord { agent, commitments, id: decided, instance, purpose, task, .. } =
        decision(number);
    OutcomeRecord {
        agent,
        commitments,
        decision: decided,
        duration_ms: 12,
        given_back: false,
        id: RecordId::from_bytes(id(number, 4)),
        instance,
        kind: "outcome".to_owned(),
        mandate: None,
        outcome: OutcomeKind::Returned,
        purpose,
        result: None,
        task,
        time: AT,
        v: VERSION,
    }
}

/// `count` records as a log has them: founding, facts, then decisions and outcomes by turns.
pub(crate) fn records(count: u64) -> Vec<Vec<u8>> {
    let begin = [founding().to_canonical_bytes(), facts().to_canonical_bytes()];
    let calls = (0..).flat_map(|number| {
        [decision(number).to_canonical_bytes(), outcome(number).to_canonical_bytes()]
    });
    begin.into_iter().chain(calls).take(usize::try_from(count).unwrap()).collect()
}
