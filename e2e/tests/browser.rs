//! The pages for people in a real browser: Chromium, at a provider of others.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::Terminal;
use e2e::chromium::Chromium;
use e2e::consenting::{Stage, asked, task};
use e2e::identity::day;
use serde_json::{Value, json};

/// The button of one task.
const ONCE: &str = "Yes, for one task of 8 hours at most";

/// The button of a date.
const UNTIL: &str = "Yes, for any number of tasks until then";

fn text(page: &Value) -> &str {
    page["text"].as_str().unwrap_or_else(|| panic!("no page: {page}"))
}

/// Opens `uri`, and logs in by the link that is there.
fn log_in(browser: &mut Chromium, uri: &str) -> Value {
    let first = browser.step("open", uri);
    assert_eq!(
        (&first["status"], &first["title"]),
        (&403.into(), &"Log in first - Chancery".into())
    );
    let page = browser.step("click", "Log in");
    assert_eq!((&page["status"], &page["url"]), (&200.into(), &uri.into()), "{page}");
    page
}

/// Nothing that the browser had to complain of, but that we refused somebody who was not logged in.
fn assert_no_complaints(browser: &mut Chromium) {
    let told = browser.step("complaints", Value::Null);
    let told = told.as_array().expect("a list");
    let refused = |it: &&Value| {
        let text = it.as_str().unwrap_or_default();
        text == "Failed to load resource: the server responded with a status of 403 (Forbidden)"
    };
    let others: Vec<_> = told.iter().filter(|it| !refused(it)).collect();
    assert!(others.is_empty() && told.len() <= 1, "{told:?}");
}

/// Whoever reads the page with their eyes, their ears or a keyboard finds the same.
fn assert_readable(browser: &mut Chromium, page: &Value) {
    assert_eq!(page["lang"], "en");
    assert_eq!(page["outline"], json!(["An agent asks for your consent"]));
    let day = page["controls"][2].as_str().expect("a name");
    assert!(day.starts_with("The last day (UTC)"), "{day}");
    assert_eq!(page["controls"], json!(["No", ONCE, day, UNTIL]));
    // A date has three parts and a picker.
    let reached = browser.step("tab", 8);
    let reached = reached.as_array().expect("a list");
    for control in page["controls"].as_array().expect("a list") {
        assert!(reached.contains(control), "{control} is not reached: {reached:?}");
    }
    assert_eq!(reached[0], "No", "what does least comes first");
}

/// The whole of it, without a script: asked, read, answered, used, taken back.
#[test]
fn r_56_a_person_consents_in_a_real_browser_and_takes_it_back() {
    let stage = Stage::set("carla");
    let mut caller = stage.caller();
    let uri = asked(&mut caller, &task(&["canary/*"], 24));
    let mut browser = Chromium::start(false);
    let page = log_in(&mut browser, &uri);
    for told in ["desk", "sam", "carla", "work", "canary/*", "changes-production", "at most 2"] {
        assert!(text(&page).contains(told), "{told}: {page}");
    }
    assert_readable(&mut browser, &page);
    assert_eq!(caller.obtain().expect_err("nobody answered").code(), "authorization_pending");

    browser.step("fill", json!(["The last day", day(1)]));
    let answered = browser.step("click", UNTIL);
    assert_eq!((&answered["status"], &answered["outline"]), (&200.into(), &json!(["Answered"])));
    // By `same-origin` the browser says whose form it is: with `no-referrer` it would say `null`.
    assert_eq!(answered["headers"]["referrer-policy"], "same-origin");
    assert_eq!((&answered["origin"], &answered["referer"]), (&json!(stage.people), &json!(uri)));
    assert!(caller.call("touch", "one").is_done());

    let mandates = browser.step("click", "what you consented to");
    assert!(text(&mandates).contains("any number of tasks"), "{mandates}");
    let taken = browser.step("click", "Take it back: desk, work");
    assert_eq!(taken["url"], format!("{}/mandates", stage.people));
    assert!(text(&taken).contains("It is over."), "{taken}");
    assert!(!caller.call("touch", "two").is_done());
    let out = browser.step("click", "Log out, carla");
    assert_eq!((&out["status"], &out["outline"]), (&200.into(), &json!(["Logged out"])));
    assert_no_complaints(&mut browser);
    assert_eq!(stage.canary.effects().len(), 1);
    stage.deployment.verify();
}

/// What a device asks is read before it is answered, without a script.
#[test]
fn a_person_enrols_a_device_in_a_real_browser() {
    let stage = Stage::set("carla");
    let terminal = Terminal::open(&stage.deployment);
    let mut browser = Chromium::start(false);
    let page = log_in(&mut browser, &terminal.page);
    assert_eq!((&page["lang"], &page["controls"]), (&"en".into(), &json!(["The code", "Go on"])));
    browser.step("fill", json!(["The code", terminal.code]));
    let asked = browser.step("click", "Go on");
    assert_eq!(asked["outline"], json!(["A device asks to be enrolled"]));
    for told in ["bot", "sam", "carla", &terminal.fingerprint] {
        assert!(text(&asked).contains(told), "{told}: {asked}");
    }
    assert_eq!(asked["controls"], json!(["No", "Yes, it is my device"]));
    let reached = browser.step("tab", 2);
    assert_eq!(reached[0], "No", "what does least comes first");
    let answered = browser.step("click", "Yes, it is my device");
    assert_eq!((&answered["status"], &answered["outline"]), (&200.into(), &json!(["Enrolled"])));
    assert_no_complaints(&mut browser);
    assert!(terminal.is_enrolled());
    stage.deployment.verify();
}

/// A page of somebody else shows the page in no frame, and sends no form in the name of whoever is
/// logged in, even one that has all that the right form has.
#[test]
fn n_040g_no_page_of_others_frames_ours_or_sends_its_forms_in_a_real_browser() {
    let stage = Stage::set("carla");
    let mut caller = stage.caller();
    let uri = asked(&mut caller, &task(&["canary/touch"], 1));
    let mut browser = Chromium::start(true);
    log_in(&mut browser, &uri);

    let mut fields = browser.step("hidden", Value::Null);
    assert!(fields["csrf"].is_string() && fields["shown"].is_string(), "{fields}");
    fields["choice"] = "once".into();
    for name in ["localhost", "127.0.0.1"] {
        let framed = browser.step("frame", json!({ "url": uri, "name": name }));
        let (shown, complaints) = (framed["shown"].to_string(), framed["complaints"].to_string());
        assert!(!shown.contains("on your behalf"), "{name}: {shown}");
        assert!(complaints.contains("frame-ancestors"), "{name}: {complaints}");

        let form = json!({ "url": uri, "name": name, "fields": fields });
        let forged = browser.step("forge", form);
        let origin = forged["origin"].as_str().expect("it says whose form it is");
        assert!(origin.starts_with(&format!("http://{name}:")), "{forged}");
        assert_eq!(forged["status"], 403, "{name}: {forged}");
    }
    let error = caller.obtain().expect_err("nobody answered");
    assert_eq!(error.code(), "authorization_pending", "{error:?}");

    // The same from our own page counts.
    let answered = browser.step("click", ONCE);
    assert_eq!(answered["status"], 200, "{answered}");
    assert_no_complaints(&mut browser);
    assert!(caller.call("touch", "one").is_done());
    stage.deployment.verify();
}
