//! What the log keeps of a drill.

use pap::{Command, DrillMeasured, DrillSignal};

use crate::desk::Desk;
use crate::support::POLICY;

/// Where the agent of who left works on, or nobody brings it back, the control is cosmetic, and the log says so.
#[tokio::test]
async fn r_33_a_leaver_whose_agent_works_on_or_never_again_is_recorded_as_cosmetic() {
    let desk = Desk::new().await;
    let drills = r#"@id("drills")
        permit (principal in Group::"administrators", action == Action::"drill/run", resource);"#;
    desk.world.publish(&format!("{POLICY}{drills}")).await;
    let held = DrillMeasured {
        attempts: 9,
        done: 0,
        last_effect_ms: 12,
        stream_cut: true,
        others_go_on: None,
        back_after_ms: Some(34),
    };
    let drill = |measured| Command::DrillSignal {
        version: "1.2.3".to_owned(),
        signal: DrillSignal::Offboard,
        measured,
    };
    for (number, (measured, [verdict, done, back])) in [
        (held, ["held", "0", "34"]),
        (DrillMeasured { done: 1, ..held }, ["cosmetic", "1", "34"]),
        (DrillMeasured { back_after_ms: None, ..held }, ["cosmetic", "0", "never"]),
    ]
    .into_iter()
    .enumerate()
    {
        desk.run(drill(None)).await.expect("it begins");
        let told = desk.run(drill(Some(measured))).await.expect("it is recorded");
        assert_eq!(told["verdict"], verdict, "{measured:?}");
        let records = desk.world.records("system").await;
        let drilled: Vec<_> =
            records.iter().filter(|it| it.text_of("event") == "drill_offboard").collect();
        assert_eq!(drilled.len(), number + 1, "each has one record, of its result");
        let (record, details) = (drilled[number], &drilled[number].value["details"]);
        assert_eq!(record.value["id"], told["record"]);
        for (name, said) in [("verdict", verdict), ("done", done), ("back_after_ms", back)] {
            assert_eq!(details[name], said, "{measured:?}: {name}");
        }
    }
}
