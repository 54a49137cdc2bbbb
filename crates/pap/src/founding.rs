//! The founding of a deployment: leaf 0, founders, and the first policy set.

use std::collections::BTreeMap;

use authority::{ADMINISTRATORS, CommitError, Effect, OnceScope, Reader, Unit};
use journal::Journal;
use model::record::{FounderMark, FoundingRecord, VERSION};
use model::{
    Clock, Commitment, Entropy, FactKey, FormerKeys, FounderChange, GroupName, Person, PersonId,
    PersonState, RecordId, Release, ReleaseState, ReleaseTerms, Releases, ResourceRef, Salts,
    Sha256Digest, Thumbprint, Timestamp, Widening,
};
use pdp::Bundle;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::flips::PolicyFiles;
use crate::register::{put, put_new};
use crate::release::PolicyKey;

/// The administrator that the service's own user is, on the machine itself.
pub const BOOTSTRAP: &str = "bootstrap-administrator";

/// The version that a deployment begins with.
pub(crate) const FIRST: u64 = 1;

/// A founder as they are named when the deployment begins.
#[derive(Clone, Debug)]
pub struct Founder {
    /// Who.
    pub id: PersonId,
    /// The digest of the one-use code that they redeem; none where they need not.
    pub code: Option<Sha256Digest>,
}

/// What a deployment begins with.
#[derive(Clone, Debug)]
pub struct Founding {
    /// Who founds it.
    pub founders: Vec<Founder>,
    /// The thumbprints of the service's keys, by use.
    pub keys: BTreeMap<String, Thumbprint>,
    /// The log's origin.
    pub origin: String,
    /// The digest of the configuration.
    pub configuration: Sha256Digest,
    /// The first policy set: release 1.
    pub policy: PolicyFiles,
    /// Whether it is for development only.
    pub development: bool,
}

/// What is kept of how a deployment began.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Founded {
    founded: Timestamp,
    /// Who founded it; not of one that was founded before that was kept.
    #[serde(default)]
    founders: Vec<PersonId>,
}

/// A founder's code, as it is kept: by its digest.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    pub(crate) founder: PersonId,
    /// Until when it is redeemed; those of whom the deployment begins with, at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// What it comes of, if of what founders agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<FounderChange>,
    /// Since when the founder was gone when that was agreed to, if they were: redeeming it brings them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gone: Option<Timestamp>,
}

/// How the places of founders' codes begin.
pub(crate) const CODES: &str = "founder/";

pub(crate) fn code_key(digest: &Sha256Digest) -> FactKey {
    FactKey::from_text(&format!("{CODES}{digest}"))
}

/// The digest of the code of which two people have a half each, by the digests of both. No text begins with that byte:
/// it is the digest of no whole code.
pub(crate) fn joined(first: &Sha256Digest, second: &Sha256Digest) -> Sha256Digest {
    Sha256Digest::of(&[&[0xff], first.as_bytes().as_slice(), second.as_bytes()].concat())
}

/// The digest of a code as it is typed: whole, or both halves with a dot between them.
fn digest_of(code: &str) -> Sha256Digest {
    let of = |code: &str| Sha256Digest::of(code.as_bytes());
    code.split_once('.').map_or_else(|| of(code), |(first, second)| joined(&of(first), &of(second)))
}

/// How the places of founders' keys begin.
pub(crate) const FOUNDER_KEYS: &str = "founder-key/";

/// The key by which a founder is known.
pub(crate) fn founder_key(founder: &PersonId) -> FactKey {
    FactKey::from_text(&format!("{FOUNDER_KEYS}{founder}"))
}

/// The place that says that `key` signs nothing any more.
pub(crate) fn replaced(key: &keys::VerifyingKey) -> FactKey {
    FactKey::replaced_key(&Thumbprint::from_bytes(key.thumbprint()))
}

/// Whether the deployment in `journal`'s store was founded.
pub async fn is_founded(journal: &Journal) -> Result<bool, AdminError> {
    let found = journal.store().load(&[FactKey::deployment()]).await;
    Ok(found.map_err(AdminError::unavailable)?.bodies.iter().all(Option::is_some))
}

/// Whether the deployment in `journal`'s store was founded for development only, as its first record
/// says.
pub async fn is_for_development(journal: &Journal) -> Result<bool, AdminError> {
    let first = journal.store().entries(0, 1).await.map_err(AdminError::unavailable)?;
    let founding = first.first().map(|entry| serde_json::from_slice(&entry.bytes));
    Ok(founding.is_some_and(|it| it.is_ok_and(|it: FoundingRecord| it.development)))
}

/// The one person of a deployment for development, whose files are in force there; nobody, elsewhere or if there are
/// more.
pub(crate) async fn alone(journal: &Journal) -> Result<Option<PersonId>, AdminError> {
    if !is_for_development(journal).await? {
        return Ok(None);
    }
    let mut reader = Reader::new(journal.store().as_ref());
    let found = reader.find::<Founded>(FactKey::deployment()).await;
    let founders = found.map_err(AdminError::unavailable)?.map(|it| it.founders);
    let mut founders = founders.unwrap_or_default();
    Ok(if founders.len() == 1 { founders.pop() } else { None })
}

/// Founds a deployment: writes leaf 0, the founders and the first release, which `policy_key` countersigns.
pub async fn found(
    journal: &Journal,
    founding: Founding,
    policy_key: &PolicyKey,
    (clock, entropy): (&dyn Clock, &dyn Entropy),
) -> Result<(), AdminError> {
    let now = clock.now();
    let founders = founding.founders.iter().map(|founder| founder.id.clone()).collect();
    let begun = Founded { founded: now, founders };
    let mut effects = vec![put_new(FactKey::deployment(), &begun)];
    let bootstrap: PersonId = BOOTSTRAP.parse().expect("it is a person id");
    effects.extend(person(journal, &bootstrap, true));
    if founding.development {
        // One person is all who are there: nobody could confirm anything.
        let rule = Widening { after_s: Some(0), ..Widening::default() };
        effects.push(put_new(FactKey::widening(), &rule));
    }
    let mut marks = Vec::new();
    for founder in &founding.founders {
        effects.extend(person(journal, &founder.id, founder.code.is_none()));
        if let Some(code) = &founder.code {
            let founder = founder.id.clone();
            let kept = Code { founder, until: None, change: None, gone: None };
            effects.push(put_new(code_key(code), &kept));
        }
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        let salt = Salts::from_seed(seed).of("founder");
        let founder = Commitment::to(&salt, &json::canonical_of(&founder.id));
        marks.push(FounderMark { founder, key: None });
    }
    let bundle = Bundle::from(founding.policy);
    let content = bundle.digest();
    effects.extend(first(&bundle, policy_key, (&bootstrap, now))?);
    let record = FoundingRecord {
        configuration: founding.configuration,
        development: founding.development,
        founders: marks,
        id: RecordId::new(now, entropy),
        keys: founding.keys,
        kind: "founding".to_owned(),
        origin: founding.origin,
        policy: content,
        time: now,
        v: VERSION,
    };
    let entries = vec![journal::entry(*record.id.as_bytes(), &record, None)];
    let committed = journal.store().commit(Unit { entries, effects, ..Unit::default() }).await;
    committed.map_err(|error| match error {
        CommitError::Exists { .. } => AdminError::Conflict(error.to_string()),
        other => AdminError::unavailable(other),
    })?;
    policy_key.remember(FIRST).map_err(AdminError::from)
}

/// The release that a deployment begins with: nobody could sign before it served. The founders do when they redeem
/// their codes.
fn first(
    bundle: &Bundle,
    policy_key: &PolicyKey,
    by: (&PersonId, Timestamp),
) -> Result<[Effect; 3], AdminError> {
    let content = bundle.digest();
    let (version, expires, rollback_of, proof, owner) = (FIRST, None, None, None, None);
    let terms = ReleaseTerms { version, content, expires, rollback_of, proof, owner };
    let mut release = Release { terms, author: None, cases: None, state: ReleaseState::Proposed };
    let activation = policy_key.countersigned(&release, by)?;
    release.state = ReleaseState::Active { approval: None, activation };
    Ok([
        put_new(FactKey::policy(&content), bundle),
        put_new(FactKey::release(FIRST), &release),
        put_new(FactKey::releases(), &Releases { newest: FIRST, active: FIRST, observed: None }),
    ])
}

/// The founder with a new key at `now`, who is back if they were `gone` since then when that was agreed to: it revives
/// nothing that was granted before. Who was sent away after that stays so, and whom a directory sent away, that brings
/// back.
fn back(person: Person, gone: Option<Timestamp>, now: Timestamp) -> Result<Person, AdminError> {
    match person.state {
        PersonState::Inactive { since } if gone != Some(since) => {
            Err(AdminError::Invalid(format!("`{}` is not active", person.id)))
        }
        PersonState::Inactive { since } if person.source.is_none() => {
            let state = PersonState::Active { authorization_cutoff: Some(now.max(since)) };
            let mut is = Person { state, ..person };
            is.rejoins(now);
            let administers = is.groups.contains(&administrators());
            is.joined.extend(administers.then(|| (administrators(), now)));
            Ok(is)
        }
        PersonState::Active { .. } | PersonState::Inactive { .. } => Ok(person),
    }
}

/// The group in which founders are.
pub(crate) fn administrators() -> GroupName {
    ADMINISTRATORS.parse().expect("it is a group name")
}

fn person(journal: &Journal, id: &PersonId, administers: bool) -> [Effect; 2] {
    let groups = administers.then(administrators).into_iter().collect();
    let person = Person::new(id.clone(), groups);
    let data_key = journal.sealer().new_data_key(id);
    let key = Effect::PutNew { key: data_key.key, body: data_key.body };
    [put_new(FactKey::person(id), &person), key]
}

impl Administration {
    /// Redeems a founder's one-use code: the founder is known by a key from here on, and administers by their first one,
    /// or as whom two founders made one. Another key gives nobody back what was taken from them.
    pub(crate) async fn redeem(
        &self,
        by: &PersonId,
        code: &str,
        key: &Value,
    ) -> Result<Value, AdminError> {
        let key = keys::VerifyingKey::from_jwk(key).map_err(AdminError::invalid)?;
        let digest = digest_of(code);
        let mut draft = self.draft(by, "founder/redeem", ResourceRef::Deployment).await?;
        let found = draft.reader.find::<Code>(code_key(&digest)).await;
        let found = found.map_err(AdminError::unavailable)?;
        let now = self.now();
        let found = found.filter(|code| code.until.is_none_or(|until| now < until));
        let unknown =
            || AdminError::Invalid("the code is not known any more, or was redeemed".to_owned());
        let Code { founder, until, change, gone } = found.ok_or_else(unknown)?;
        self.is_nobodys(&key).await?;
        let place = FactKey::person(&founder);
        let person: Person =
            draft.reader.need(place.clone()).await.map_err(AdminError::unavailable)?;
        let mut person = back(person, gone, now)?;
        let former = draft.reader.find::<FormerKeys>(FactKey::former_keys(&founder)).await;
        let is_first = former.map_err(AdminError::unavailable)?.is_none();
        if is_first || change == Some(FounderChange::Add) {
            let joins = person.groups.insert(administrators());
            person.joined.extend(joins.then(|| (administrators(), now)));
        }
        let effects = vec![
            Effect::Remove { key: code_key(&digest) },
            Effect::UseOnce {
                scope: OnceScope::Founder,
                id: *digest.as_bytes(),
                expires: Timestamp::from_millis(i64::MAX),
            },
            // Nor is it one that was taken from somebody.
            Effect::Lacks { key: replaced(&key) },
            put(place, &person),
            put_new(founder_key(&founder), &key.to_jwk()),
        ];
        let told = json!({ "key": key.thumbprint_text(), "gone": gone });
        let done = draft.make(told, effects).await?;
        let mut told = json!({
            "founder": founder, "key": key.thumbprint_text(), "decision": done.decision,
        });
        // By the code that they were given when it was founded.
        if until.is_none() && change.is_none() {
            told["signs"] = json!(self.founders_sign(&founder).await);
        }
        Ok(told)
    }

    /// Whether no founder is known by `key`: whoever had two names would be two people.
    async fn is_nobodys(&self, key: &keys::VerifyingKey) -> Result<(), AdminError> {
        let all = authority::all::<Value>(self.authority.pip().store(), FOUNDER_KEYS).await;
        if all.map_err(AdminError::unavailable)?.contains(&key.to_jwk()) {
            return Err(AdminError::Invalid("a founder is known by this key already".to_owned()));
        }
        Ok(())
    }
}
