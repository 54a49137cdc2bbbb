//! What somebody consented to is no wider than what they were shown.

use std::collections::BTreeSet;

use model::{
    Agreed, ConsentSession, DataCategory, Harm, MandateBasis, ResourceRef, SessionDigest, Standing,
    Timestamp,
};
use serde_json::json;

use super::fixtures::{Case, OPEN, at, snapshot, tool, tool_ref};
use super::kernel::{consented, outcome};

/// Changes what was agreed to, as if it had been so from the beginning.
fn agreeing(case: &mut Case, change: impl FnOnce(&mut Agreed)) {
    consented(case, |case| {
        let Standing { mandate, task, .. } = &mut case.standing;
        if let MandateBasis::Consented { agreed, .. } = &mut mandate.basis {
            change(agreed);
        }
        task.mandate_digest = mandate.digest();
    });
}

/// A consent to a tool is none to what else its server has, nor to what the tool became later.
#[test]
fn n_040f_a_consent_is_no_wider_than_its_page() {
    let snapshot = snapshot(OPEN);
    let check = |mut case: Case, agreed: fn(&mut Agreed), expected: &str| {
        agreeing(&mut case, agreed);
        assert_eq!(outcome(&case, &snapshot), expected, "{:?}", case.request);
    };
    let crm = || "crm".parse().expect("a server");
    let named: fn(&mut Agreed) =
        |agreed| agreed.resources = BTreeSet::from(["crm".parse().expect("a server")]);
    let outside = "outside_mandate (hidden)";
    let uri = "crm://customers".to_owned();
    let read = Case::of("resources/read", ResourceRef::Resource { server: crm(), uri });
    let name = "summary".to_owned();
    let prompt = Case::of("prompts/get", ResourceRef::Prompt { server: crm(), name });
    let completion = Case::method("completion/complete", "crm");
    for case in [read, prompt, completion] {
        check(case.clone(), |_| {}, outside);
        check(case, named, "permit");
    }
    let mut resumed = Case::method("task/resume", "crm");
    resumed.request.resource = ResourceRef::Task(resumed.standing.task.id);
    check(resumed, |_| {}, "permit");
    for method in crate::kernel::BESIDE_TOOLS {
        check(Case::method(method, "crm"), |_| {}, "permit");
    }
    let tool_that = |harm: &[Harm]| {
        let mut case = Case::call("crm/lookup", json!({ "id": 1 }));
        case.tool = Some(tool("crm/lookup", harm));
        case
    };
    check(tool_that(&[Harm::ReadsData, Harm::MovesMoney]), |_| {}, "permit");
    check(tool_that(&[Harm::MovesMoney, Harm::RunsCode]), |_| {}, outside);
    let read_only: fn(&mut Agreed) = |agreed| {
        let shown = BTreeSet::from([Harm::ReadsData]);
        agreed.harm.insert(tool_ref("crm/lookup"), shown);
    };
    check(tool_that(&[Harm::ReadsData]), read_only, "permit");
    check(tool_that(&[Harm::MovesMoney]), read_only, outside);
    // A tool that was not there is of the server of which all were agreed to, or outside.
    check(tool_that(&[Harm::MovesMoney]), |agreed| agreed.harm.clear(), "permit");
}

/// Nor is it one to other data: what named objects names them still, and no category was added.
#[test]
fn r_41_a_consent_is_for_no_more_data_than_its_page_said() {
    let snapshot = snapshot(OPEN);
    let id: &[&str] = &["/id"];
    let outside = "outside_mandate (hidden)";
    let places = |all: &[&str]| all.iter().map(|&place| place.to_owned()).collect();
    let check = |shown: &[&str], now: Option<&[&str]>, expected: &str| {
        let mut case = Case::call("crm/lookup", json!({ "id": 7 }));
        case.tool.as_mut().expect("a tool").objects = now.map(places);
        let all = "crm/*".parse().expect("a pattern");
        case.standing.mandate.scope.objects = Some(BTreeSet::from([all]));
        agreeing(&mut case, |agreed| {
            agreed.objects.insert(tool_ref("crm/lookup"), places(shown));
        });
        assert_eq!(outcome(&case, &snapshot), expected, "{shown:?} {now:?}");
    };
    check(id, Some(id), "permit");
    check(id, Some(&["/id", "/urgent"]), "permit");
    check(&[], Some(id), "permit");
    // Then it may be used on any, and any is within.
    check(id, None, "permit");
    check(id, Some(&[]), outside);
    check(id, Some(&["/urgent"]), outside);
    let categories =
        |all: &[&str]| all.iter().map(|name| name.parse().expect("a category")).collect();
    let check = |shown: &[&str], touched: &[&str], expected: &str| {
        let mut case = Case::call("crm/lookup", json!({ "id": 7 }));
        case.tool.as_mut().expect("a tool").data = categories(touched);
        agreeing(&mut case, |agreed| agreed.data = categories(shown));
        assert_eq!(outcome(&case, &snapshot), expected, "{shown:?} {touched:?}");
    };
    check(&["orders"], &["orders"], "permit");
    check(&["orders"], &[], "permit");
    check(&[], &["customers"], "permit");
    check(&["orders"], &["customers", "orders"], "outside_purpose (hidden)");
}

/// The categories that are told of work are those to which it is held.
#[test]
fn work_is_for_the_data_that_its_purpose_and_its_page_both_name() {
    let categories = |all: &[&str]| -> BTreeSet<DataCategory> {
        all.iter().map(|name| name.parse().expect("a category")).collect()
    };
    let check = |of_purpose: &[&str], shown: &[&str], expected: Option<&[&str]>| {
        let mut case = Case::call("crm/lookup", json!({ "id": 7 }));
        case.standing.purpose.data = categories(of_purpose);
        agreeing(&mut case, |agreed| agreed.data = categories(shown));
        let standing = &case.standing;
        assert_eq!(standing.data(), expected.map(categories), "{of_purpose:?} {shown:?}");
        for touched in ["customers", "orders"] {
            let mut tool = tool("crm/lookup", &[Harm::ReadsData]);
            tool.data = categories(&[touched]);
            let is_told = standing.data().is_none_or(|told| tool.data.is_subset(&told));
            assert_eq!(standing.is_for(&tool), is_told, "{touched}");
        }
    };
    check(&[], &[], None);
    check(&["orders"], &[], Some(&["orders"]));
    check(&[], &["orders"], Some(&["orders"]));
    // It was widened, or narrowed, since.
    check(&["customers", "orders"], &["orders"], Some(&["orders"]));
    check(&["orders"], &["customers", "orders"], Some(&["orders"]));
    check(&["orders"], &["customers"], Some(&[]));
}

#[test]
fn what_somebody_consented_to_is_handed_on_only_if_the_page_said_so() {
    let snapshot = snapshot(OPEN);
    let check = |case: &Case, delegable: bool, expected: &str| {
        let mut case = case.clone();
        agreeing(&mut case, |agreed| agreed.delegable = delegable);
        assert_eq!(outcome(&case, &snapshot), expected);
    };
    let helper = ResourceRef::Agent("helper".parse().expect("an agent"));
    let handing = Case::of("delegate", helper);
    check(&handing, true, "permit");
    check(&handing, false, "not_delegable (hidden)");
}

/// What somebody consented to counts as long as the login session in which they did; also if that was over before they
/// did, and nobody here knew. Where it is not known which that was, as long as each of theirs.
#[test]
fn sc_02_a_consent_ends_with_the_login_session_in_which_it_was_given() {
    let snapshot = snapshot(OPEN);
    let named = |name: &str| SessionDigest::of(name.as_bytes());
    let check = |session: (Option<&str>, Timestamp), ended: (&[&str], Timestamp), counts: bool| {
        let mut case = Case::call("crm/lookup", json!({ "id": 1 }));
        consented(&mut case, |case| {
            let Standing { mandate, task, subject, .. } = &mut case.standing;
            if let MandateBasis::Consented { session: given_in, .. } = &mut mandate.basis {
                let (id, since) = (session.0.map(named), session.1);
                *given_in = Some(ConsentSession { id, since, authentication: None });
            }
            (mandate.given, task.opened) = (at(-60), at(-10));
            task.mandate_digest = mandate.digest();
            let all = ended.0.iter().map(|name| named(name)).collect();
            *subject = subject.take().map(|person| person.logged_out(&all, ended.1));
        });
        let expected = if counts { "permit" } else { "mandate_not_valid (hidden)" };
        assert_eq!(outcome(&case, &snapshot), expected, "{session:?} {ended:?}");
    };
    let one = (Some("one"), at(-100));
    check(one, (&["one"], at(-5)), false);
    check(one, (&["one"], at(-80)), false);
    check(one, (&["one"], at(-100)), false);
    check(one, (&["one"], at(-101)), true);
    check(one, (&["two"], at(-5)), true);
    check(one, (&["two", "one"], at(-80)), false);
    check(one, (&[], at(-80)), false);
    check(one, (&[], at(-101)), true);
    check((None, at(-100)), (&["two"], at(-80)), false);
    check((None, at(-100)), (&["two"], at(-101)), true);
}
