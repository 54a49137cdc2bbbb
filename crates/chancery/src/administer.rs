//! The commands that ask the running service, through its socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keys::{KeyAlgorithm, SigningKey};
use model::{HostRule, Memory, Timestamp, WorkloadRule};
use pap::{Command as Asked, Registration, ServerSaid, SystemRegistration, ToolSaid};
use serde_json::{Value, json};

use crate::cli::{
    Agent, Attested, Budget, Clock, Command, Device, Finding, Founder, Instance, Keys, Mandate,
    Outcome, Server, Signed, System, Task, Tool,
};
use crate::socket;
use crate::words::word;

/// Does one administrative command and prints what the service told.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let draws = matches!(command, Command::Task(Task::Show { json: false, .. }));
    let (socket, asked, key) = asked(command).await?;
    let mut told = socket::call(&socket, &asked).await?;
    if let Some((path, pem)) = key {
        keys::write_private(&path, pem.as_bytes())?;
        eprintln!("chancery: wrote `{}`: it is kept nowhere else", path.display());
        if matches!(asked, Asked::FounderRedeem { .. }) {
            crate::founders::sign_first(&mut told, &pem, &socket).await;
        }
    }
    if draws {
        print!("{}", drawn(&told, 0));
    } else {
        show(&told);
    }
    Ok(())
}

fn show(told: &Value) {
    match told {
        Value::Array(rows) => rows.iter().for_each(|row| println!("{row}")),
        Value::Object(members) if members.contains_key("diff") => {
            println!("digest {}", members["digest"].as_str().unwrap_or_default());
            let lines = members["diff"].as_array().into_iter().flatten();
            lines.for_each(|line| println!("{}", line.as_str().unwrap_or_default()));
        }
        other => {
            println!("{other}");
            other["tools"].as_array().into_iter().flatten().for_each(ask_for_needs);
        }
    }
}

/// A task and what was handed on of it, a line each, below whom it was handed on by.
fn drawn(tree: &Value, depth: usize) -> String {
    let (task, indent) = (&tree["task"], "  ".repeat(depth));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = match &task["state"] {
        ended if ended["is"] == "ended" => text(&ended["how"]),
        open => text(&open["is"]),
    };
    let holder = match &tree["holder"]["is"] {
        active if active == "active" => String::new(),
        stopped => format!(" ({})", text(stopped)),
    };
    let tools: Vec<_> = task["scope"]["tools"].as_array().into_iter().flatten().map(text).collect();
    let calls = task["scope"]["max_calls"].as_u64().map(|most| format!(", at most {most} calls"));
    let mut all = format!(
        "{indent}{} {} {}{holder}: {}{} until {}\n",
        text(&task["id"]),
        text(&tree["agent"]),
        state,
        tools.join(" "),
        calls.unwrap_or_default(),
        Timestamp::from_millis(task["deadline"].as_i64().unwrap_or(0)),
    );
    let elevations = tree["elevations"].as_array().into_iter().flatten();
    all.extend(elevations.map(|elevation| elevated(elevation, &indent)));
    let parts = tree["parts"].as_array().into_iter().flatten();
    all.extend(parts.map(|part| drawn(part, depth + 1)));
    if tree["more"] == true {
        all.extend([indent.as_str(), "  …\n"]);
    }
    all
}

/// What the holder of a task may do beyond it, below the task.
fn elevated(elevation: &Value, indent: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tools = elevation["tools"].as_object().into_iter().flatten();
    let tools: Vec<_> = tools.map(|(tool, _)| tool.as_str()).collect();
    format!(
        "{indent}  elevated {} {}: {} until {}\n",
        text(&elevation["id"]),
        text(&elevation["name"]),
        tools.join(" "),
        Timestamp::from_millis(elevation["state"]["until"].as_i64().unwrap_or(0)),
    )
}

/// Says what an onboarded tool still needs, and how it gets it.
fn ask_for_needs(tool: &Value) {
    let name = tool["tool"].as_str().unwrap_or_default();
    for need in tool["needs"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let how = match need {
            "owner" => format!("an owner: chancery tool describe {name} --owner PERSON"),
            "harm" => format!("a harm class: chancery tool describe {name} --harm CLASS"),
            _ => "a policy that names it, or its server, in its scope".to_owned(),
        };
        eprintln!("chancery: `{name}` is not callable yet, it needs {how}");
    }
}

/// A file, and the secret that is written to it once the service has taken what belongs to it.
type NewKey = Option<(PathBuf, String)>;

async fn asked(command: Command) -> anyhow::Result<(PathBuf, Asked, NewKey)> {
    let plain = |(socket, asked): (crate::cli::Socket, Asked)| (socket.socket, asked, None);
    let keyless = |(socket, asked): (PathBuf, Asked)| (socket, asked, None);
    Ok(match command {
        Command::Founder(Founder::Redeem { code, key, socket }) => {
            let made = SigningKey::generate(KeyAlgorithm::Es256)?;
            let asked = Asked::FounderRedeem { code, key: made.verifying().to_jwk() };
            (socket.socket, asked, Some((fresh(&key)?, made.to_pem()?)))
        }
        Command::Founder(founder) => keyless(crate::founders::asked(founder).await?),
        Command::Agent(agent) => of_agent(agent).await?,
        Command::System(system) => of_system(system)?,
        Command::Task(task) => plain(of_task(task)),
        Command::Elevation(elevation) => keyless(crate::elevations::asked(elevation).await?),
        Command::Mandate(mandate) => plain(of_mandate(mandate)),
        Command::Person(person) => keyless(crate::people::of_person(person).await?),
        Command::People(people) => keyless(crate::people::asked(people)?),
        Command::Directory(directory) => crate::directories::asked(directory)?,
        Command::Label(label) => keyless(crate::risks::label(label).await?),
        Command::Risk(risk) => keyless(crate::risks::asked(risk).await?),
        Command::Signal(signal) => keyless(crate::signals::asked(signal).await?),
        Command::Stream(stream) => crate::streams::asked(stream)?,
        Command::Receiver(receiver) => crate::receivers::asked(receiver)?,
        Command::Stop(typed) => keyless(crate::stops::stop(typed)),
        Command::Start(typed) => keyless(crate::stops::start(typed).await?),
        Command::Purpose(purpose) => keyless(crate::purposes::asked(purpose)),
        Command::Instance(instance) => keyless(of_instance(instance).await?),
        Command::Device(device) => plain(of_device(device)),
        Command::Server(server) => plain(of_server(server)),
        Command::Tool(tool) => plain(of_tool(tool)),
        Command::Outcome(Outcome::Settle { decision, did_not_happen, reason, socket }) => {
            (socket.socket, Asked::OutcomeSettle { decision, did_not_happen, reason }, None)
        }
        Command::Clock(Clock::Trust { reason, socket }) => {
            (socket.socket, Asked::ClockTrust { reason }, None)
        }
        Command::Keys(Keys::Rotate { compromised, reason, socket }) => {
            (socket.socket, Asked::KeysRotate { reason, compromised }, None)
        }
        Command::Budget(Budget::List { socket }) => (socket.socket, Asked::BudgetList, None),
        Command::Finding(finding) => plain(of_finding(finding)),
        other => anyhow::bail!("{other:?} is not an administrative command"),
    })
}

/// The word of who does `act` to the agent `name` for a `reason`, if somebody signs.
async fn reasoned(
    act: &str,
    (name, reason): (&str, &str),
    signed: Signed,
) -> anyhow::Result<Option<String>> {
    said(json!({ "do": act, "name": name, "reason": reason }), signed).await
}

/// The word of who says `what`, if somebody signs.
async fn said(what: Value, signed: Signed) -> anyhow::Result<Option<String>> {
    word(signed, async { Ok(what) }).await
}

async fn of_agent(agent: Agent) -> anyhow::Result<(PathBuf, Asked, NewKey)> {
    Ok(match agent {
        Agent::Add {
            name,
            sponsor,
            purpose,
            owners,
            backups,
            key,
            on_behalf_only,
            memory_per_task,
            client,
            attested,
            socket,
        } => {
            let (business_owner, technical_owner) = owners.named()?;
            let (host, workloads) = rules(attested)?;
            let (made, written) = new_key(key, (&socket.socket, &name))?;
            let registration = Registration {
                name,
                sponsor,
                purpose,
                business_owner,
                technical_owner,
                backups,
                key: made.verifying().to_jwk(),
                host,
                workloads,
                client: client.registered(),
                on_behalf_only,
                memory: if memory_per_task { Memory::PerTask } else { Memory::Kept },
            };
            (socket.socket, Asked::AgentAdd(registration), written)
        }
        Agent::Renew { name, new_key, compromised, signed, socket } => {
            renewal((name, new_key, compromised), signed, socket.socket).await?
        }
        Agent::Client { name, client, socket } => {
            (socket.socket, Asked::AgentClient { name, client: client.registered() }, None)
        }
        Agent::Owners { name, business_owner, technical_owner, socket } => {
            (socket.socket, Asked::AgentOwners { name, business_owner, technical_owner }, None)
        }
        Agent::Declare { name, calls_an_hour, hours, socket } => {
            (socket.socket, Asked::AgentDeclare { name, calls_an_hour, hours }, None)
        }
        Agent::Memory { name, memory, signed, socket } => {
            (socket.socket, remembering((name, memory.into()), signed).await?, None)
        }
        Agent::Suspend { name, reason, socket } => {
            (socket.socket, Asked::AgentSuspend { name, reason }, None)
        }
        Agent::List { at, socket } => (socket.socket, Asked::AgentList { as_of: at.as_of }, None),
        Agent::Affirm { name, signed, socket } => {
            (socket.socket, affirmation(name, signed).await?, None)
        }
        Agent::Reinstate { name, reason, signed, socket } => {
            let word = reasoned("agent-reinstate", (&name, &reason), signed).await?;
            (socket.socket, Asked::AgentReinstate { name, reason, word }, None)
        }
        Agent::TakeOver { name, reason, signed, socket } => {
            let word = reasoned("agent-take-over", (&name, &reason), signed).await?;
            (socket.socket, Asked::AgentTakeOver { name, reason, word }, None)
        }
        Agent::Attest { name, attested, socket } => {
            let (host, workloads) = rules(attested)?;
            (socket.socket, Asked::AgentAttest { name, host, workloads }, None)
        }
    })
}

/// A key for the agent `name`, and the file that it is written to: where it usually is, if none is named.
fn new_key(
    file: Option<PathBuf>,
    (socket, name): (&Path, &str),
) -> anyhow::Result<(SigningKey, NewKey)> {
    let path = fresh(&file.unwrap_or_else(|| crate::dev::new_key_file(socket, name)))?;
    let made = SigningKey::generate(KeyAlgorithm::Es256)?;
    let pem = made.to_pem()?;
    Ok((made, Some((path, pem))))
}

/// That the processes of the agent `name` remember as `memory` says.
async fn remembering((name, memory): (String, Memory), signed: Signed) -> anyhow::Result<Asked> {
    let what = json!({ "do": "agent-memory", "name": name, "memory": memory });
    let word = said(what, signed).await?;
    Ok(Asked::AgentMemory { name, memory, word })
}

/// That the sponsor of the agent `name` answers for it still.
async fn affirmation(name: String, signed: Signed) -> anyhow::Result<Asked> {
    let word = said(json!({ "do": "agent-affirm", "name": name }), signed).await?;
    Ok(Asked::AgentAffirm { name, word })
}

/// That the agent `name` is to go on, with a new key if a file is named for one, because the last one may be
/// `compromised`.
async fn renewal(
    (name, new_key, compromised): (String, Option<PathBuf>, bool),
    signed: Signed,
    socket: PathBuf,
) -> anyhow::Result<(PathBuf, Asked, NewKey)> {
    let made = SigningKey::generate(KeyAlgorithm::Es256)?;
    let path = new_key.as_deref().map(fresh).transpose()?;
    let key = path.as_ref().map(|_| made.verifying().to_jwk());
    let what = json!({
        "do": "agent-renew", "name": name, "key": key, "compromised": compromised,
    });
    let word = said(what, signed).await?;
    let written = path.map(|path| Ok::<_, anyhow::Error>((path, made.to_pem()?)));
    Ok((socket, Asked::AgentRenew { name, key, compromised, word }, written.transpose()?))
}

fn of_system(system: System) -> anyhow::Result<(PathBuf, Asked, NewKey)> {
    Ok(match system {
        System::Add { name, owner, agents, purposes, key, socket } => {
            let (path, made) = (fresh(&key)?, SigningKey::generate(KeyAlgorithm::Es256)?);
            let key = made.verifying().to_jwk();
            let registration = SystemRegistration { name, owner, agents, purposes, key };
            (socket.socket, Asked::SystemAdd(registration), Some((path, made.to_pem()?)))
        }
        System::Suspend { name, reason, socket } => {
            (socket.socket, Asked::SystemSuspend { name, reason }, None)
        }
        System::List { socket } => (socket.socket, Asked::SystemList, None),
        initiate @ System::Initiate(_) => anyhow::bail!("{initiate:?} asks no service"),
    })
}

async fn of_instance(instance: Instance) -> anyhow::Result<(PathBuf, Asked)> {
    let (socket, asked) = match instance {
        Instance::Revoke { id, reason, socket } => (socket, Asked::InstanceRevoke { id, reason }),
        Instance::Quarantine { id, reason, socket } => {
            (socket, Asked::InstanceQuarantine { id, reason })
        }
        Instance::Release { id, reason, signed, socket } => {
            return crate::risks::release((id, reason), signed, socket).await;
        }
        Instance::List { socket } => (socket, Asked::InstanceList),
    };
    Ok((socket.socket, asked))
}

/// The rules that were typed, with the digest of the program as it is now.
fn rules(typed: Attested) -> anyhow::Result<(Option<HostRule>, Vec<WorkloadRule>)> {
    let workloads = typed.workloads.iter().map(|text| workload(text)).collect::<Result<_, _>>()?;
    let Some(uid) = typed.host_uid else { return Ok((None, workloads)) };
    let exe = typed.host_exe.map(|path| crate::host::executable(&path)).transpose()?;
    Ok((Some(HostRule { exe, uid }), workloads))
}

/// The rule `ISSUER=SUBJECT[,CLAIM=VALUE…]`.
fn workload(text: &str) -> anyhow::Result<WorkloadRule> {
    let mut parts = text.split(',').map(|part| part.split_once('='));
    let form = || format!("`{text}` is not of the form ISSUER=SUBJECT[,CLAIM=VALUE…]");
    let (issuer, subject) = parts.next().flatten().with_context(form)?;
    let mut claims = BTreeMap::new();
    for part in parts {
        let (name, value) = part.with_context(form)?;
        let twice = claims.insert(name.to_owned(), value.to_owned()).is_some();
        anyhow::ensure!(!twice, "`{text}` asks for the claim `{name}` twice");
    }
    WorkloadRule::new(issuer, subject, claims).with_context(|| format!("`{text}` is no rule"))
}

fn of_device(device: Device) -> (crate::cli::Socket, Asked) {
    match device {
        Device::List { socket } => (socket, Asked::DeviceList),
        Device::Revoke { agent, id, reason, socket } => {
            (socket, Asked::DeviceRevoke { agent, id, reason })
        }
    }
}

fn of_finding(finding: Finding) -> (crate::cli::Socket, Asked) {
    match finding {
        Finding::List { socket } => (socket, Asked::FindingList),
        Finding::Close { id, reason, socket } => (socket, Asked::FindingClose { id, reason }),
    }
}

fn of_task(task: Task) -> (crate::cli::Socket, Asked) {
    match task {
        Task::List { socket } => (socket, Asked::TaskList),
        Task::Show { id, socket, .. } => (socket, Asked::TaskShow { id }),
        Task::End { id, reason, socket } => (socket, Asked::TaskEnd { id, reason }),
    }
}

fn of_mandate(mandate: Mandate) -> (crate::cli::Socket, Asked) {
    match mandate {
        Mandate::List { socket } => (socket, Asked::MandateList),
        Mandate::Withdraw { id, reason, socket } => (socket, Asked::MandateWithdraw { id, reason }),
    }
}

fn of_server(server: Server) -> (crate::cli::Socket, Asked) {
    match server {
        Server::Add { name, owner, harm, environment, region, socket } => {
            let said = ServerSaid { owner, harm, environment, region };
            (socket, Asked::ServerAdd { name, said })
        }
        Server::List { socket } => (socket, Asked::ServerList),
    }
}

fn of_tool(tool: Tool) -> (crate::cli::Socket, Asked) {
    match tool {
        Tool::Describe {
            tool,
            owner,
            harm,
            objects,
            no_object,
            data,
            requires_subject,
            not_delegable,
            socket,
        } => {
            let said =
                ToolSaid { owner, harm, requires_subject, not_delegable, objects, no_object, data };
            (socket, Asked::ToolDescribe { tool, said })
        }
        Tool::Diff { tool, socket } => (socket, Asked::ToolDiff { tool }),
        Tool::Pin { tool, digest, socket } => (socket, Asked::ToolPin { tool, digest }),
    }
}

/// A file that does not exist yet: nothing is registered whose key could not be written.
pub(crate) fn fresh(path: &Path) -> anyhow::Result<PathBuf> {
    anyhow::ensure!(!path.exists(), "`{}` exists already", path.display());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("could not create `{}`", parent.display()))?;
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_typed_in_one_text() {
        let check = |text: &str, expected: Option<Value>| {
            let rule = workload(text).ok().map(|rule| serde_json::json!(rule));
            assert_eq!(rule, expected, "{text}");
        };
        let ci = "https://token.actions.githubusercontent.com";
        let subject = "repo:org/app:*";
        let plain = serde_json::json!({ "issuer": ci, "subject": subject });
        check(&format!("{ci}={subject}"), Some(plain.clone()));
        let mut claimed = plain;
        claimed["claims"] = serde_json::json!({ "repository_id": "42", "ref": "a=b" });
        check(&format!("{ci}={subject},repository_id=42,ref=a=b"), Some(claimed));
        for wrong in ["", ci, "=x", "a=", "a=b,", "a=b,c", "a=b,c=d,c=e", "a=*", "a=b,sub=c"] {
            check(wrong, None);
        }
    }
}
