//! Who signed the policy that is in force, until when it counts, and whether others could follow it.

use std::time::Duration;

use model::{FounderAsked, Timestamp};
use pap::Command as Asked;
use serde_json::Value;

use super::Observation;
use crate::config::Config;
use crate::socket;

const AREA: &str = "policy";

const FOUNDERS: &str = "founders";

/// Of a release that expires within this, it is told.
const ENDING: Duration = Duration::from_hours(14 * 24);

/// How many keys of people it takes: with two, one founder alone gives the other a new one.
const KEYS_MIN: usize = 3;

/// Where it is said how a set is released.
const REMEDY: &str =
    "publish a set, have another person approve it, and activate it (docs/releases.md)";

/// What to do where founders did not sign the set that they founded the deployment with.
const UNSIGNED: &str = "the founders redeem their codes (`founder redeem`); where they did already, publish a set, have \
                        another person approve it, and activate it (docs/releases.md)";

/// Looks at the configuration, and asks the service.
pub(super) async fn check(config: &Config, now: Timestamp) -> Vec<Observation> {
    let mut observations = Vec::new();
    let is_loose = config.policy.path.is_some();
    let untold = |area, what: &str, error: anyhow::Error| {
        let what = format!("it did not tell {what}: {error:#}");
        Observation::weak(area, what, "see its log")
    };
    match socket::call(&config.admin_socket(), &Asked::PolicyHistory).await {
        Ok(told) => {
            let in_force = if is_loose { vec![loose(Some(&told))] } else { in_force(&told, now) };
            observations.extend(in_force);
            observations.extend(keys(&told));
        }
        Err(error) => {
            observations.extend(is_loose.then(|| loose(None)));
            observations.push(untold(AREA, "which policy is in force", error));
        }
    }
    match socket::call(&config.admin_socket(), &Asked::FounderList).await {
        Ok(told) => observations.extend(waiting(&told, now)),
        Err(error) => observations.push(untold(FOUNDERS, "which founders' keys wait", error)),
    }
    observations
}

/// That files are in force, by what is `told` of them, if that is known: for development they are its one founder's,
/// elsewhere they are not read, and the service does not start.
fn loose(told: Option<&Value>) -> Observation {
    let remedy = format!("{REMEDY}, then remove `policy.path`");
    let unowned = "policy is read from files, which nobody signs and nobody owns";
    let Some(told) = told else { return Observation::weak(AREA, unowned, remedy) };
    if told["development"] != true {
        let what = "policy is to be read from files, which only a deployment for development does: the service does not \
                    start by this configuration";
        return Observation::broken(AREA, what, remedy);
    }
    let what = told["in_force"]["owner"].as_str().map_or_else(
        || unowned.to_owned(),
        |owner| {
            format!(
                "policy is read from files, which nobody signs: {owner} owns them alone, and no second person approved \
                 them"
            )
        },
    );
    Observation::weak(AREA, what, remedy)
}

/// What is told of the release in force.
fn in_force(told: &Value, now: Timestamp) -> Vec<Observation> {
    let (release, active) = (&told["in_force"]["release"], &told["active"]);
    let Some(version) = release.as_u64() else {
        let what = "what is in force is no release, though the configuration names no files";
        let remedy = format!("{REMEDY}, then remove `policy.starter`");
        return vec![Observation::broken(AREA, what, remedy)];
    };
    let mut rows = told["releases"].as_array().into_iter().flatten();
    let row = rows.find(|row| row["terms"]["version"] == *release).unwrap_or(&Value::Null);
    if release != active || row["state"]["is"] != "active" {
        let what = format!(
            "release {version} is in force, and the database says that release {active} should be: it was altered, or \
             another one cannot be put in force"
        );
        return vec![Observation::broken(
            AREA,
            what,
            format!("see the findings and the log; {REMEDY}"),
        )];
    }
    let signed = signed(version, row, told["development"] == true);
    let owner = told["in_force"]["owner"].as_str().filter(|_| told["in_force"]["owned"] == false);
    let unowned = owner.map(|owner| {
        let what = format!("release {version} is in force, and {owner}, who owns it, is gone");
        let remedy = "publish it again with an owner who is here (`policy publish --owner PERSON`)";
        Observation::weak(AREA, what, remedy)
    });
    let is_unproved = told["requires_proof"] == true && row["terms"]["proof"].is_null();
    let unproved = is_unproved.then(|| {
        let what = format!(
            "release {version} is in force, and nobody signed that it is proved, as releases are here (`policy.require_proof`)"
        );
        Observation::weak(AREA, what, REMEDY)
    });
    let expires = row["terms"]["expires"].as_i64().map(Timestamp::from_millis);
    let ends = expires.filter(|expires| *expires <= now.plus(ENDING)).map(|expires| {
        if expires > now {
            return Observation::weak(AREA, format!("release {version} expires at {expires}"), REMEDY);
        }
        let what = format!(
            "release {version} expired at {expires}: once its grace is over (`policy.grace_ms`), no act of an agent is permitted"
        );
        Observation::broken(AREA, what, REMEDY)
    });
    std::iter::once(signed).chain(unowned).chain(unproved).chain(ends).collect()
}

/// Who signed the release that is in force, where there need be nobody else (`is_of_one`), as in a deployment for
/// development, or has to be.
fn signed(version: u64, row: &Value, is_of_one: bool) -> Observation {
    let person = |signed: &Value| signed["person"].as_str().map(str::to_owned);
    let (author, approver) = (person(&row["author"]), person(&row["state"]["approval"]["by"]));
    match (author, approver) {
        (Some(author), Some(approver)) if author != approver => {
            let what =
                format!("release {version} is in force, of {author}, approved by {approver}");
            Observation::ok(AREA, what)
        }
        (Some(author), approver) => {
            let what = format!(
                "release {version} is in force, which {author} alone signed: no second person approved it"
            );
            if approver.is_some() || is_of_one {
                Observation::weak(AREA, what, REMEDY)
            } else {
                Observation::broken(AREA, what, UNSIGNED)
            }
        }
        (None, _) => {
            let what = format!(
                "release {version} is in force, with which the deployment was founded: nobody signed it, and nobody \
                 owns it"
            );
            if is_of_one {
                Observation::weak(AREA, what, REMEDY)
            } else {
                Observation::broken(AREA, what + ", so no agent can be registered", UNSIGNED)
            }
        }
    }
}

/// Whether enough people can sign that one of them may lose their key: it takes two others to give them another.
fn keys(told: &Value) -> Option<Observation> {
    let people: Vec<_> = told["signers"].as_array()?.iter().filter_map(Value::as_str).collect();
    (people.len() < KEYS_MIN).then(|| {
        let what = format!(
            "{} can sign for a release ({}): once fewer than two can, none is published and approved any more",
            people.len(),
            people.join(", ")
        );
        let remedy = "add another founder (`founder add`, docs/releases.md); keep their keys apart";
        Observation::weak(FOUNDERS, what, remedy)
    })
}

/// The keys that wait at `now`, and the codes for which there would be one: whose they are to be has to know of it.
fn waiting(told: &Value, now: Timestamp) -> Vec<Observation> {
    let rows = told.as_array().into_iter().flatten();
    rows.filter_map(|row| {
        let (what, remedy) = match (row.get("waits"), row.get("redeems_until")) {
            (Some(asked), _) => {
                let remedy = "another founder agrees by the same command, or anybody takes it back (`founder withdraw`)";
                (asked_for(&row["founder"], asked, now)?, remedy)
            }
            (None, Some(until)) => {
                let remedy = "they redeem it, or anybody takes it from them (`founder remove`)";
                (redeemable(&row["founder"], until, now)?, remedy)
            }
            (None, None) => return None,
        };
        Some(Observation::weak(FOUNDERS, what, remedy))
    })
    .collect()
}

/// What was `asked` for, unless that is over.
fn asked_for(founder: &Value, asked: &Value, now: Timestamp) -> Option<String> {
    let known = serde_json::from_value::<FounderAsked>(asked.clone());
    if known.is_ok_and(|asked| !asked.waits(now)) {
        return None;
    }
    let alone = asked["alone_from"].as_i64().map(Timestamp::from_millis);
    let alone = alone.map(|from| format!(", who does it alone from {from} on"));
    let gone = asked["gone"].is_i64().then_some(", and whose it is would be back");
    Some(format!(
        "a key for {founder} waits ({}): {} asked for it{}{}",
        asked["change"],
        asked["by"],
        alone.unwrap_or_default(),
        gone.unwrap_or_default()
    ))
}

/// That there is a code, unless that is over.
fn redeemable(founder: &Value, until: &Value, now: Timestamp) -> Option<String> {
    let until = until.as_i64().map(Timestamp::from_millis);
    let is_over = until.is_some_and(|until| until <= now);
    let until = until.map(|until| format!(" until {until}"));
    let whoever = "whoever has the code signs as them then";
    (!is_over)
        .then(|| format!("a key for {founder} is redeemed{}: {whoever}", until.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use model::{FounderChange, Sha256Digest};
    use serde_json::json;

    use super::super::State;
    use super::*;

    fn check(told: &Value, expected: &[(State, &str)]) {
        let now = Timestamp::from_seconds(1_800_000_000);
        let observed = in_force(told, now);
        assert_eq!(observed.len(), expected.len(), "{observed:?}");
        for (observation, (state, what)) in observed.iter().zip(expected) {
            assert_eq!(observation.state, *state, "{observation:?}");
            assert!(observation.what.contains(what), "{observation:?}");
        }
    }

    #[test]
    fn r_39_what_is_in_force_is_looked_at() {
        let told = |in_force: u64, row: Value| json!({ "active": 2, "in_force": { "release": in_force }, "releases": [row] });
        let row = |author: Option<&str>, approver: Option<&str>, days: Option<i64>| {
            let expires = days.map(|days| (1_800_000_000 + days * 86_400) * 1_000);
            let by = |person: Option<&str>| person.map(|person| json!({ "person": person }));
            json!({
                "terms": { "version": 2, "expires": expires }, "author": by(author),
                "state": { "is": "active", "approval": { "by": by(approver) } },
            })
        };
        let two = |days| row(Some("alice"), Some("bob"), days);
        let signed = (State::Ok, "of alice, approved by bob");
        check(&told(2, two(None)), &[signed]);
        check(&told(2, two(Some(15))), &[signed]);
        check(&told(2, two(Some(14))), &[signed, (State::Weak, "expires at")]);
        check(&told(2, two(Some(0))), &[signed, (State::Broken, "expired at")]);
        check(&told(2, row(None, None, None)), &[(State::Broken, "nobody signed it")]);
        let first = (State::Broken, "alice alone signed: no second person approved it");
        check(&told(2, row(Some("alice"), None, None)), &[first]);
        let mut one = told(2, row(Some("alice"), None, None));
        one["development"] = json!(true);
        check(&one, &[(State::Weak, "alice alone signed: no second person approved it")]);
        let alone = row(Some("alice"), Some("alice"), None);
        check(&told(2, alone), &[(State::Weak, "alice alone signed")]);
        check(&told(1, two(None)), &[(State::Broken, "release 1 is in force")]);
        // Whoever signed it, one whose owner is gone is told.
        let owned = |is_here: bool| {
            let mut told = told(2, two(None));
            told["in_force"]["owner"] = json!("olga");
            told["in_force"]["owned"] = json!(is_here);
            told
        };
        check(&owned(true), &[signed]);
        check(&owned(false), &[signed, (State::Weak, "olga, who owns it, is gone")]);
        // Where proofs are required, one without is told, whoever signed it.
        let requiring = |mut row: Value, proof: Value| {
            row["terms"]["proof"] = proof;
            let mut told = told(2, row);
            told["requires_proof"] = json!(true);
            told
        };
        check(&requiring(two(None), json!("00")), &[signed]);
        let unproved = (State::Weak, "nobody signed that it is proved");
        check(&requiring(two(None), Value::Null), &[signed, unproved]);
        let damaged = json!({ "terms": { "version": 2 }, "state": { "is": "damaged" } });
        check(&told(2, damaged), &[(State::Broken, "it was altered")]);
        let files = json!({ "active": 0, "in_force": { "release": null }, "releases": [] });
        check(&files, &[(State::Broken, "no release")]);
    }

    /// R22: files are nothing to go live with: they are read for development only, and are nobody's if not one person's.
    #[test]
    fn r_22_who_owns_files_is_told() {
        let check = |told: Option<Value>, state: State, says: &str| {
            let observed = loose(told.as_ref());
            assert_eq!(observed.state, state, "{observed:?}");
            assert!(observed.what.contains(says), "{observed:?}");
        };
        let told = |development: bool, owner: Option<&str>| json!({ "development": development, "in_force": { "release": null, "owner": owner } });
        check(Some(told(false, None)), State::Broken, "only a deployment for development does");
        check(Some(told(true, None)), State::Weak, "which nobody signs and nobody owns");
        let dev = "which nobody signs: dev owns them alone";
        check(Some(told(true, Some("dev"))), State::Weak, dev);
        check(None, State::Weak, "which nobody signs and nobody owns");
    }

    /// Whoever lost no key hears in time that somebody says so.
    #[test]
    fn r_39_a_key_that_waits_is_told() {
        let at = 1_800_000_000_000_i64;
        let asked = FounderAsked {
            founder: "bob".parse().expect("a person"),
            change: FounderChange::Rekey,
            code: Sha256Digest::of(b"half"),
            reason: "lost".to_owned(),
            by: "alice".parse().expect("a person"),
            key: None,
            at: Timestamp::from_millis(at),
            alone_from: Some(Timestamp::from_millis(at)),
            gone: Some(Timestamp::from_millis(at)),
        };
        let until = asked.until();
        let told = json!([
            { "founder": "alice", "key": "k" },
            { "founder": "bob", "waits": asked },
            { "founder": "carol", "redeems_until": until },
            { "founder": "dan", "redeems_until": null },
        ]);
        let observed = waiting(&told, Timestamp::from_millis(until.as_millis() - 1));
        assert_eq!(observed.len(), 3, "{observed:?}");
        let what = &observed[0].what;
        assert!(what.starts_with(r#"a key for "bob" waits ("rekey"): "alice" asked"#), "{what}");
        assert!(what.contains("alone from 2027-01-15"), "{what}");
        assert!(what.ends_with("whose it is would be back"), "{what}");
        let what = &observed[1].what;
        assert!(what.starts_with(r#"a key for "carol" is redeemed until 2027-01-22"#), "{what}");
        // What is over is told no longer; the codes with which a deployment begins never are.
        let observed = waiting(&told, until);
        assert_eq!(observed.len(), 1, "{observed:?}");
        assert!(observed[0].what.starts_with(r#"a key for "dan" is redeemed: "#), "{observed:?}");
    }

    #[test]
    fn too_few_keys_are_told() {
        let signers = |people: &[&str]| keys(&json!({ "signers": people })).map(|it| it.state);
        assert_eq!(signers(&["alice", "bob"]), Some(State::Weak));
        assert_eq!(signers(&["alice", "bob", "carol"]), None);
    }
}
