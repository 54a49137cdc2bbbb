//! I-22, I-23: every act of administration, by everybody, with the expected answer; each decided,
//! and recorded in one transaction with what it changes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use expect_test::expect_file;
use model::{Clock as _, Harm, HostRule, InstanceId, RiskLevel, RiskTarget, StopTarget};
use pap::{ClientRegistration, Command};
use serde_json::{Value, json};

use crate::desk::{Desk, jwk, registers, source_key, word};
use crate::furnished::{
    CODE, OTHERS, desk, device, elevation, finding, founder_said, of_directories, review,
};

/// Who acts.
const ROLES: [&str; 4] = ["administrator", "person", "deactivated", "agent"];

/// The commands that change something; the others read.
const CHANGING: [&str; 80] = [
    "founder-redeem",
    "founder-add",
    "founder-rekey",
    "founder-remove",
    "founder-withdraw",
    "person-add",
    "person-confirm",
    "person-deactivate",
    "people-widening",
    "people-source-add",
    "people-source-rekey",
    "people-silence",
    "people-apply",
    "directory-add",
    "directory-token",
    "directory-adopt",
    "directory-suspend",
    "directory-resume",
    "directory-silence",
    "stream-add",
    "stream-token",
    "stream-suspend",
    "stream-resume",
    "stream-silence",
    "stream-answered",
    "receiver-add",
    "receiver-cover",
    "receiver-issuer",
    "receiver-token",
    "receiver-key",
    "receiver-suspend",
    "receiver-resume",
    "receiver-remove",
    "signal-undo",
    "signal-approve",
    "purpose-add",
    "purpose-owner",
    "purpose-narrow",
    "purpose-widen",
    "agent-add",
    "agent-attest",
    "agent-owners",
    "agent-declare",
    "agent-memory",
    "agent-renew",
    "agent-affirm",
    "agent-reinstate",
    "review-open",
    "review-import",
    "review-withdraw",
    "agent-take-over",
    "agent-client",
    "agent-suspend",
    "device-revoke",
    "stop",
    "start",
    "system-add",
    "system-suspend",
    "task-end",
    "elevation-ask",
    "elevation-approve",
    "elevation-revoke",
    "mandate-withdraw",
    "instance-revoke",
    "instance-quarantine",
    "instance-release",
    "risk-raise",
    "risk-lower",
    "label-remove",
    "server-add",
    "tool-describe",
    "tool-pin",
    "outcome-settle",
    "finding-close",
    "keys-rotate",
    "policy-publish",
    "policy-approve",
    "policy-activate",
    "policy-observe",
    "policy-withdraw",
];

/// Every command, with arguments that make sense.
fn commands(desk: &Desk, decision: &str) -> Vec<Command> {
    let facts = &desk.world.standing;
    let sponsor = facts.sponsor.id.to_string();
    let id = || decision.to_owned();
    let reason = || "because".to_owned();
    let changed = pap::pin_digest(&json!({ "name": "deploy" }), &facts.server.origin);
    let mut commands = vec![
        Command::FounderRedeem { code: CODE.to_owned(), key: jwk() },
        Command::FounderAdd { said: founder_said(), word: None },
        Command::FounderRekey { said: founder_said(), word: None },
        Command::FounderRemove { id: "ordinary".to_owned(), reason: reason() },
        Command::FounderWithdraw { id: "waiting".to_owned(), reason: reason() },
        Command::FounderList,
        Command::PersonAdd { id: "new".to_owned(), groups: Vec::new() },
        Command::PersonDeactivate { id: "ordinary".to_owned() },
        Command::PersonConfirm { id: "waiting".to_owned(), word: None },
        Command::PersonList,
        Command::PersonOffboard { id: "ordinary".to_owned(), since: None },
        Command::PeopleWidening {
            said: Some(pap::WideningSaid { groups: vec!["approvers".to_owned()], after_s: None }),
        },
        registers(source_key("new", jwk())),
        Command::PeopleSourceRekey(source_key("hr", jwk())),
        Command::PeopleSilence { name: "hr".to_owned(), silence_min: Some(60) },
        Command::PeopleSourceList,
        Command::PeopleApply { file: desk.signed(&desk.hr, 1, &[]) },
    ];
    commands.extend(of_directories(desk));
    commands.extend(vec![
        Command::PurposeAdd(pap::PurposeRegistration {
            id: "new".to_owned(),
            owner: sponsor.clone(),
            tools: vec!["crm/*".to_owned()],
            harm: Vec::new(),
            objects: vec!["crm/customer-*".to_owned()],
            data: vec!["customer-data".to_owned()],
            max_calls: None,
            max_tasks_a_day: None,
            description: String::new(),
        }),
        Command::PurposeOwner { id: facts.purpose.id.to_string(), owner: sponsor.clone() },
        Command::PurposeNarrow(pap::PurposeSaid {
            id: facts.purpose.id.to_string(),
            objects: vec!["crm/customer-*".to_owned()],
            ..pap::PurposeSaid::default()
        }),
        Command::PurposeWiden(pap::PurposeSaid {
            id: facts.purpose.id.to_string(),
            tools: vec!["mail/*".to_owned()],
            ..pap::PurposeSaid::default()
        }),
        Command::PurposeList { id: None, as_of: None },
        Command::AgentAdd(pap::Registration {
            name: "new".to_owned(),
            sponsor: sponsor.clone(),
            purpose: facts.purpose.id.to_string(),
            business_owner: sponsor.clone(),
            technical_owner: sponsor.clone(),
            backups: Vec::new(),
            key: jwk(),
            host: None,
            workloads: Vec::new(),
            client: None,
            on_behalf_only: false,
            memory: model::Memory::Kept,
        }),
        Command::AgentAttest {
            name: facts.agent.name.to_string(),
            host: Some(HostRule { exe: None, uid: 1_000 }),
            workloads: Vec::new(),
        },
        Command::AgentOwners {
            name: facts.agent.name.to_string(),
            business_owner: None,
            technical_owner: Some(sponsor.clone()),
        },
        Command::AgentDeclare {
            name: facts.agent.name.to_string(),
            calls_an_hour: Some(60),
            hours: Some("mon-fri 08:00-18:00 +01:00".to_owned()),
        },
        Command::AgentMemory {
            name: facts.agent.name.to_string(),
            memory: model::Memory::PerTask,
            word: None,
        },
        Command::AgentRenew {
            name: facts.agent.name.to_string(),
            key: None,
            compromised: false,
            word: None,
        },
        Command::AgentAffirm { name: facts.agent.name.to_string(), word: None },
        Command::AgentReinstate { name: "lapsed".to_owned(), reason: reason(), word: None },
        Command::AgentTakeOver { name: "others".to_owned(), reason: reason(), word: None },
        Command::AgentClient {
            name: facts.agent.name.to_string(),
            client: Some(ClientRegistration {
                id: "https://client.example/c.json".to_owned(),
                bearer: true,
            }),
        },
        Command::AgentSuspend { name: facts.agent.name.to_string(), reason: reason() },
        Command::AgentList { as_of: None },
        Command::RegisterShow { as_of: None, after: None },
        Command::AgentOffboard { name: facts.agent.name.to_string(), since: None },
        Command::ReviewOpen(pap::ReviewAsked {
            agents: vec![facts.agent.name.to_string()],
            sponsor: None,
            due: desk.world.clock.now().plus(model::REVIEW_MIN).to_string(),
        }),
        Command::ReviewExport {
            id: review(&desk.world).id.to_string(),
            format: pap::ReviewFormat::Csv,
        },
        Command::ReviewImport {
            id: review(&desk.world).id.to_string(),
            file: format!(
                "item,version,decision,reviewer,reason\n{}/others,{},keep,{sponsor},because\n",
                review(&desk.world).id,
                crate::furnished::others(&desk.world).version(),
            ),
        },
        Command::ReviewWithdraw { id: review(&desk.world).id.to_string(), reason: reason() },
        Command::ReviewShow { id: review(&desk.world).id.to_string() },
        Command::ReviewList,
        Command::DeviceRevoke {
            agent: facts.agent.name.to_string(),
            id: device(desk.world.standing.agent.name.clone()).id.to_string(),
            reason: reason(),
        },
        Command::DeviceList,
        Command::SystemAdd(pap::SystemRegistration {
            name: "new".to_owned(),
            owner: sponsor.clone(),
            agents: vec![facts.agent.name.to_string()],
            purposes: vec![facts.purpose.id.to_string()],
            key: jwk(),
        }),
        Command::SystemSuspend { name: "portal".to_owned(), reason: reason() },
        Command::SystemList,
        Command::Stop {
            what: format!("agent/{}", facts.agent.name).parse().unwrap(),
            reason: reason(),
        },
        Command::Start { what: StopTarget::All, reason: reason(), word: None },
        Command::StopList,
        Command::InstanceRevoke { id: facts.instance.id.to_string(), reason: reason() },
        Command::InstanceQuarantine { id: facts.instance.id.to_string(), reason: reason() },
        Command::InstanceRelease {
            id: InstanceId::from_bytes(OTHERS).to_string(),
            reason: reason(),
            word: None,
        },
        Command::InstanceList,
        Command::Reach { instance: facts.instance.id.to_string(), since: None },
        Command::Unattended { agent: None, since: desk.world.clock.now() },
        Command::Suggest { agent: facts.agent.name.to_string(), since: desk.world.clock.now() },
        Command::RiskRaise {
            what: RiskTarget::Agent(facts.agent.name.clone()),
            level: RiskLevel::Medium,
            reason: reason(),
        },
        Command::RiskLower {
            what: RiskTarget::Instance(InstanceId::from_bytes(OTHERS)),
            level: None,
            reason: reason(),
            word: None,
        },
        Command::LabelRemove {
            label: "external".parse().unwrap(),
            what: "kept/crm".parse().unwrap(),
            reason: reason(),
            word: None,
        },
        Command::ServerAdd { name: "crm".to_owned(), said: pap::ServerSaid::default() },
        Command::ServerList,
        Command::ToolDescribe {
            tool: "crm/lookup".to_owned(),
            said: pap::ToolSaid {
                owner: Some(sponsor),
                harm: vec![Harm::ReadsData.as_str().to_owned()],
                ..pap::ToolSaid::default()
            },
        },
        Command::ToolDiff { tool: "crm/deploy".to_owned() },
        Command::ToolPin { tool: "crm/deploy".to_owned(), digest: changed.to_string() },
        Command::TaskList,
        Command::TaskShow { id: facts.task.id.to_string() },
        Command::TaskEnd { id: facts.task.id.to_string(), reason: reason() },
        Command::ElevationAsk {
            asked: pap::ElevationAsked {
                task: facts.task.id.to_string(),
                name: "month-end".to_owned(),
                tools: vec!["crm/refund".to_owned()],
                max_calls: None,
                lasts_s: 60,
                reason: reason(),
            },
            word: None,
        },
        Command::ElevationApprove { id: elevation(desk).id.to_string(), word: None },
        Command::ElevationRevoke { id: elevation(desk).id.to_string(), reason: reason() },
        Command::ElevationList,
        Command::MandateList,
        Command::MandateWithdraw { id: facts.mandate.id.to_string(), reason: reason() },
        Command::OutcomeSettle { decision: id(), did_not_happen: false, reason: reason() },
        Command::BudgetList,
        Command::FindingList,
        Command::FindingClose { id: finding().id.to_string(), reason: reason() },
        Command::ClockTrust { reason: reason() },
        Command::KeysRotate { reason: reason(), compromised: false },
        Command::DrillOutage { version: "0".to_owned(), rows: Vec::new() },
        Command::DrillSignal {
            version: "0".to_owned(),
            signal: pap::DrillSignal::Revoke,
            measured: None,
        },
        Command::LogShow { id: id() },
        Command::LogChain { id: id() },
        Command::LogTail { n: 5 },
        Command::LogExport { from: 0, export: None },
        Command::LogProve { id: id() },
        Command::LogReplay,
        Command::PolicyInForce,
        Command::PolicyExplain { id: id() },
        Command::PolicyAsk { case: case() },
        Command::PolicyCase { id: id() },
        Command::PolicyPublish {
            asked: crate::releases::asked(3, "").0,
            files: Some(crate::releases::asked(3, "").1),
            word: None,
        },
        Command::PolicyApprove { version: 1, word: None },
        Command::PolicyActivate { version: 2, content: None },
        Command::PolicyObserve { version: Some(2) },
        Command::PolicyWithdraw { version: 1 },
        Command::PolicyRelease { version: 1 },
        Command::PolicyHistory,
        Command::PolicyReplay {
            files: pap::PolicyFiles {
                policies: crate::desk::files(crate::support::POLICY),
                ..pap::PolicyFiles::default()
            },
            from: 0,
            since: None,
        },
    ]);
    commands
}

/// A question as a case puts it.
fn case() -> serde_json::Map<String, Value> {
    let case = json!({ "method": { "name": "tools/list", "server": "crm" } });
    case.as_object().expect("it is an object").clone()
}

/// The command as it is written.
fn name(command: &Command) -> String {
    serde_json::to_value(command).expect("it is JSON")["do"].as_str().unwrap().to_owned()
}

/// Every command that there is, as the reader of commands says itself.
fn known() -> BTreeSet<String> {
    let error = serde_json::from_value::<Command>(json!({ "do": "nothing" })).unwrap_err();
    let text = error.to_string();
    let named = text.split('`').skip(3).step_by(2);
    named.map(str::to_owned).collect()
}

/// Asks for the command at `position` as everybody, in a deployment of its own. Whoever may comes last: by
/// those who may not, nothing changes for them.
async fn row(position: usize) -> (String, [&'static str; ROLES.len()]) {
    let (desk, decision) = desk().await;
    let mut command = commands(&desk, &decision).swap_remove(position);
    let name = name(&command);
    let is_signed = name.starts_with("policy-");
    let signers = if is_signed { Some(crate::releases::furnish(&desk).await) } else { None };
    if let Command::StreamAnswered(answered) = &mut command {
        let asked = Command::StreamManage(crate::furnished::stream_managed());
        let told = desk.run(asked).await.expect("it is permitted");
        told["decision"].as_str().expect("an id").clone_into(&mut answered.decision);
    }
    // Whoever takes over is who the sponsor reported to, and no administrator as such.
    let who_may = if name == "agent-take-over" { "person" } else { "administrator" };
    let mut order: Vec<_> = ROLES.into_iter().enumerate().collect();
    order.sort_by_key(|(_, role)| *role == who_may);
    let mut answers = [""; ROLES.len()];
    for (place, role) in order {
        let command = match &signers {
            Some(signers) if role == "administrator" => signers.sign(&desk, command.clone()).await,
            _ => command.clone(),
        };
        answers[place] = cell(&desk, (name.as_str(), role), command).await;
        if role != who_may {
            assert_eq!(answers[place], "refused", "{name} by {role}");
        }
    }
    (name, answers)
}

/// Asks for the command as `role`, and holds what it left behind against its answer.
async fn cell(desk: &Desk, (name, role): (&str, &str), command: Command) -> &'static str {
    let by = match role {
        "administrator" => desk.world.standing.sponsor.id.clone(),
        "person" => "ordinary".parse().unwrap(),
        "deactivated" => desk.world.standing.other.id.clone(),
        _ => desk.world.standing.agent.name.as_str().parse().unwrap(),
    };
    let (before, log) = (desk.revision().await, desk.world.records("administration").await.len());
    let answer = desk.run_as(&by, command).await;
    let changed = desk.revision().await != before;
    let records = desk.world.records("administration").await.split_off(log);
    let verdicts: Vec<_> = records.iter().map(|entry| entry.text_of("decision")).collect();
    match (word(&answer), role) {
        ("refused", "agent") => {
            // Nobody whom a decision could be about: a refusal record says so.
            assert!(verdicts.is_empty());
            crate::support::until("it is recorded", || async {
                !desk.world.records("refusal").await.is_empty()
            })
            .await;
        }
        ("refused", _) => assert_eq!(verdicts, ["deny"], "{name} by {role}"),
        _ => assert_eq!(verdicts, ["permit"], "{name} by {role}: {answer:?}"),
    }
    let may_change = word(&answer) == "done" && CHANGING.contains(&name);
    assert_eq!(changed, may_change, "{name} by {role} changed something, or did not");
    word(&answer)
}

#[tokio::test]
async fn i_22_i_23_every_act_of_administration_has_an_expected_answer() {
    let (desk, decision) = desk().await;
    let all: BTreeSet<String> = commands(&desk, &decision).iter().map(name).collect();
    assert_eq!(all, known(), "a command is not in the matrix");
    let mut matrix = format!("{:<20}{}\n", "", ROLES.map(|role| format!("{role:<15}")).concat());
    for position in 0..all.len() {
        let (title, answers) = Box::pin(row(position)).await;
        let _ = write!(matrix, "{title:<20}");
        for answer in answers {
            let _ = write!(matrix, "{answer:<15}");
        }
        matrix.push('\n');
    }
    let lines: Vec<_> = matrix.lines().map(str::trim_end).collect();
    expect_file!["authority-matrix.txt"].assert_eq(&(lines.join("\n") + "\n"));
}

/// What there is and what there is not look the same to who may not know.
#[tokio::test]
async fn i_21_who_may_not_administer_learns_nothing_of_what_there_is() {
    let (desk, decision) = desk().await;
    let by = "ordinary".parse().unwrap();
    let nothing = decision.replace(|c: char| c.is_ascii_digit(), "0");
    let pairs = [
        (
            Command::PersonDeactivate { id: "ordinary".to_owned() },
            Command::PersonDeactivate { id: "nobody".to_owned() },
        ),
        (
            Command::ToolDiff { tool: "crm/deploy".to_owned() },
            Command::ToolDiff { tool: "crm/nothing".to_owned() },
        ),
        (Command::LogShow { id: decision.clone() }, Command::LogShow { id: nothing.clone() }),
        (
            Command::OutcomeSettle { decision, did_not_happen: false, reason: String::new() },
            Command::OutcomeSettle {
                decision: nothing,
                did_not_happen: false,
                reason: String::new(),
            },
        ),
        (
            Command::FounderRedeem { code: CODE.to_owned(), key: jwk() },
            Command::FounderRedeem { code: "wrong".to_owned(), key: jwk() },
        ),
        (
            Command::LogExport { from: 0, export: None },
            Command::LogExport { from: 1, export: Some(1) },
        ),
    ];
    for (there, not_there) in pairs {
        let told = |answer: Result<Value, pap::AdminError>| {
            let text = answer.expect_err("it is refused").to_string();
            text.split(" (decision").next().unwrap_or_default().to_owned()
        };
        let first = told(desk.run_as(&by, there).await);
        assert_eq!(first, told(desk.run_as(&by, not_there).await));
        assert!(first.starts_with("not permitted"), "{first}");
    }
}
