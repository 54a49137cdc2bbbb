//! The steps of the demo, in their order. Each says what it tries, and fails unless what happens is
//! what was promised.

mod calls;
mod changes;
mod consent;
mod ending;
mod faults;
mod handing_on;
mod leaving;
mod theft;

use crate::relay::Fate;
use crate::stage::Stage;
use crate::story::Story;

/// Plays all steps.
pub(crate) async fn play(stage: &mut Stage, story: &mut Story) {
    story.step("A permitted call", calls::permitted(stage)).await;
    story.step("A permitted call at which the tool fails", calls::failing(stage)).await;
    story.step("A denied argument", calls::denied(stage)).await;
    story.step("A hidden tool that is called anyway", calls::hidden(stage)).await;
    story.step("A stolen token replayed with another key", theft::stolen(stage)).await;
    story.step("The tool called directly, refused by the tool", theft::direct(stage)).await;
    let consent = consent::given_and_exceeded(stage);
    story.step("A person's consent, given and exceeded", consent).await;
    story.step("A sub-agent that reads and may not pay", handing_on::sub_agent(stage)).await;
    story.step("Ten branches at one limit", handing_on::branches(stage)).await;
    story.step("A thief's exchange", handing_on::thief(stage)).await;
    story.step("A parent ended with its child in mid-call", handing_on::parent(stage)).await;
    story.step("A changed descriptor", changes::descriptor(stage)).await;
    story.step("A policy that errors", changes::policy(stage)).await;
    story.step("The log unable to grow", faults::full(stage)).await;
    let lost = faults::killed(stage, Fate::Lost);
    story.step("Killed between permit and effect, the call is lost", lost).await;
    let late = faults::killed(stage, Fate::Delivered);
    story.step("Killed between permit and effect, the call arrives", late).await;
    story.step("The sponsor deactivated in mid-run", ending::sponsor(stage)).await;
    story.step("A sponsor of twenty agents leaves", leaving::measured(stage)).await;
    story.step("The tools' own files against the log", ending::accounts(stage)).await;
    story.step("The log verified offline", ending::verified(stage)).await;
    story.step("One chain, from a decision back", ending::chain(stage)).await;
}
