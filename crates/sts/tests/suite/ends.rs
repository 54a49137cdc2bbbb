//! R41: no task is for more data than what it rests on, whoever begins it or hands it on.

use std::collections::BTreeSet;

use model::{FactKey, Instance, InstanceId, ObjectPattern, Task};
use oauth::ErrorCode;
use serde_json::json;

use crate::client::{Sts, key};
use crate::consents;
use crate::delegation::{Holder, WAYS, before, calls, hand_on, part, task_of};
use crate::initiations::{self, before_with, redeems, signed};

fn patterns(all: &[&str]) -> BTreeSet<ObjectPattern> {
    all.iter().map(|pattern| pattern.parse().expect("a pattern")).collect()
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|&pattern| pattern.to_owned()).collect()
}

/// The task of `holder` is for these objects from now on, and what is looked up says by `id` what that is.
async fn bound(sts: &Sts, holder: &Holder, all: &[&str]) {
    let mut tool = sts.world.standing.tools[0].clone();
    tool.objects = Some(["/id".to_owned()].into());
    sts.world.put(FactKey::tool(&tool.tool), &tool).await;
    let mut task = task_of(sts, holder).await;
    task.scope.objects = Some(patterns(all));
    sts.world.put(FactKey::task(task.id), &task).await;
}

#[tokio::test]
async fn r_41_n_031_a_child_never_has_more_data_than_its_parent() {
    // Whoever names none is handed what there is.
    let held: [(&[&str], &[&str]); 3] = [
        (&[], &["crm/a*", "crm/b"]),
        (&["crm/a*"], &["crm/a*"]),
        (&["crm/ab", "crm/b"], &["crm/ab", "crm/b"]),
    ];
    for (asked, held) in held {
        for way in WAYS {
            let (sts, lead, reader) = before().await;
            bound(&sts, &lead, &["crm/a*", "crm/b"]).await;
            let mut task = part(&sts);
            task.objects = texts(asked);
            let child = hand_on(&sts, &lead, (&reader, way), &task).await.expect("a token");
            let objects = task_of(&sts, &child).await.scope.objects;
            assert_eq!(objects, Some(patterns(held)), "{way:?}");
            assert_eq!(calls(&sts, &lead, "lookup").await, Ok(()));
            let is_held = held.contains(&"crm/a*");
            let expected = if is_held { Ok(()) } else { Err("outside_purpose".to_owned()) };
            assert_eq!(calls(&sts, &child, "lookup").await, expected, "{held:?}");
        }
    }
    let wider: [&[&str]; 6] =
        [&["crm/*"], &["crm/c"], &["crm/a*", "crm/c"], &["mail/a"], &["crm"], &["crm/a*b"]];
    for wider in wider {
        for way in WAYS {
            let (sts, lead, reader) = before().await;
            bound(&sts, &lead, &["crm/a*", "crm/b"]).await;
            let mut task = part(&sts);
            task.objects = texts(wider);
            let refused = hand_on(&sts, &lead, (&reader, way), &task).await.map(drop);
            assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidScope, "{wider:?}");
        }
    }
}

/// What is handed on is narrowed with what it was handed on of, at once.
#[tokio::test]
async fn r_41_a_purpose_that_narrows_bounds_what_was_handed_on() {
    let (sts, lead, reader) = before().await;
    bound(&sts, &lead, &["crm/*"]).await;
    let child = hand_on(&sts, &lead, (&reader, WAYS[1]), &part(&sts)).await.expect("a token");
    assert_eq!(calls(&sts, &child, "lookup").await, Ok(()));
    let mut purpose = sts.world.standing.purpose.clone();
    purpose.scope.objects = Some(patterns(&["crm/b"]));
    sts.world.put(FactKey::purpose(&purpose.id), &purpose).await;
    for holder in [&lead, &child] {
        assert_eq!(calls(&sts, holder, "lookup").await, Err("outside_purpose".to_owned()));
    }
}

/// A system names what the work that it starts is for, within the purpose.
#[tokio::test]
async fn r_41_no_initiation_is_for_more_data_than_the_purpose() {
    let held: [(&[&str], Option<&[&str]>); 4] = [
        (&[], Some(&["crm/a*"])),
        (&["crm/ab"], Some(&["crm/ab"])),
        (&["crm/*"], None),
        (&["crm/b"], None),
    ];
    for (asked, held) in held {
        let named = |facts: &mut crate::support::Facts| {
            facts.purpose.scope.objects = Some(patterns(&["crm/a*"]));
        };
        let (sts, portal) = before_with(named).await;
        let mut said = initiations::said(&sts);
        said.task.objects = texts(asked);
        let presented = signed(&sts, "portal", &portal, &said);
        let answer = sts.send(redeems(sts.request(&key()), &presented)).await;
        let Some(held) = held else {
            assert_eq!(answer.unwrap_err().code, ErrorCode::InvalidScope, "{asked:?}");
            continue;
        };
        let claims = sts.verified(&answer.expect("a token"));
        let instance: InstanceId = claims.instance().parse().expect("an instance");
        let instance: Instance = sts.fact(FactKey::instance(instance)).await;
        let task: Task = sts.fact(FactKey::task(instance.task)).await;
        assert_eq!(json!(task.scope.objects), json!(patterns(held)), "{asked:?}");
    }
}

/// Nobody is asked for more data than the purpose names.
#[tokio::test]
async fn r_41_no_consent_is_asked_for_more_data_than_the_purpose() {
    let check = async |asked: &[&str]| {
        let sts = consents::before().await;
        let mut purpose = sts.world.standing.purpose.clone();
        purpose.scope.objects = Some(patterns(&["crm/a*"]));
        sts.world.put(FactKey::purpose(&purpose.id), &purpose).await;
        let mut task = consents::task(&sts);
        task["objects"] = json!(asked);
        let pushed = consents::push(&sts, sts.request(&key()), &task).await;
        match pushed {
            Ok(pushed) => Ok(consents::asked(&sts, &pushed).await.scope.objects),
            Err(refused) => Err(refused.code),
        }
    };
    assert_eq!(check(&[]).await, Ok(Some(patterns(&["crm/a*"]))));
    assert_eq!(check(&["crm/ab"]).await, Ok(Some(patterns(&["crm/ab"]))));
    for wider in ["crm/*", "crm/b", "mail/a"] {
        assert_eq!(check(&[wider]).await, Err(ErrorCode::InvalidScope), "{wider}");
    }
    assert_eq!(check(&["crm/a*b"]).await, Err(ErrorCode::InvalidAuthorizationDetails));
}
