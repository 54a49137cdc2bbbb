//! What a proof found, as the cases that ask it.
//!
//! What no policy looks at need not be a name of ours: it is left out. What no case says (who the sponsor is, an approval)
//! is as it is in cases. So a case may ask otherwise than was found: whoever shows one decides it first.

use std::str::FromStr as _;

use model::{
    AccessRequest, AgentName, DELEGATIONS_MAX, DataCategory, Enforcement, EnvironmentName, Facts,
    GroupName, Label, ObjectPattern, PersonId, PurposeId, RegionName, ResourceRef, ServerName,
    SourceName, Timestamp, ToolRef, UnitName,
};
use pdp::{Posed, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{NAME, Question, Tools, wanted};

/// The members that were perhaps found without any policy looking at them, and that make much else otherwise.
const OPTIONAL: [&str; 6] = ["ends", "subject", "registered", "depth", "now", "attestation"];

/// A case, with what it asks and the facts that it is decided on.
type Said = (Value, AccessRequest, Facts);

/// The cases that ask what is `posed`, as far as cases can say it, and expect another answer; the one that says most of
/// it comes first. Of one that asks what cannot be asked it is why.
pub fn posed(
    posed: &Posed,
    is_permitted: bool,
    set: (&Snapshot, &Tools),
) -> Vec<Result<Said, String>> {
    let found = Found { posed, set };
    let case = match found.case(is_permitted) {
        Ok(case) => case,
        Err(why) => return vec![Err(why)],
    };
    // What is asked of a person is asked on their behalf.
    let is_kept = |member: &&str| *member == "subject" && found.is_of_person();
    let mut optional = OPTIONAL.to_vec();
    optional.retain(|member| case.contains_key(*member) && !is_kept(member));
    let without = |number: usize| {
        let mut case = case.clone();
        for (position, member) in optional.iter().enumerate() {
            if (number >> position) & 1 == 1 {
                case.remove(*member);
            }
        }
        found.said(case)
    };
    (0..1 << optional.len()).map(without).collect()
}

/// What was found, of a set and its tools.
pub(super) struct Found<'a> {
    pub(super) posed: &'a Posed,
    pub(super) set: (&'a Snapshot, &'a Tools),
}

impl Found<'_> {
    /// The case with what it asks, and the facts that it is decided on.
    pub(super) fn said(&self, case: Map<String, Value>) -> Result<Said, String> {
        let mut question = case.clone();
        question.retain(|member, _| member != NAME && !wanted::is_said(member));
        let (request, facts) = Question::read(question)?.possible(self.set)?;
        Ok((case.into(), request, facts))
    }

    /// The case that asks it, as far as cases can, and expects another answer.
    pub(super) fn case(&self, is_permitted: bool) -> Result<Map<String, Value>, String> {
        let context = &self.posed.context;
        let is_by_instance = context.get("session").is_some();
        let mut case = if is_by_instance { self.by_instance()? } else { self.administrative()? };
        case.insert(NAME.to_owned(), "found by a proof".into());
        case.insert("expect".to_owned(), if is_permitted { "deny" } else { "permit" }.into());
        let now = plain(&context["now"]);
        if let Some(now) = now.as_str().and_then(|now| now.parse::<Timestamp>().ok()) {
            case.insert("now".to_owned(), now.to_string().into());
        }
        Ok(case)
    }

    fn is_of_person(&self) -> bool {
        self.posed.principal.starts_with("Person::")
    }

    fn by_instance(&self) -> Result<Map<String, Value>, String> {
        let context = &self.posed.context;
        let input = plain(&context["input"]);
        let mut case = members(json!({
            "attestation": context["attestation"],
            "binding": context["binding"],
            "calls": context["session"]["counters"]["calls"],
            "unconfirmed": context["confirmed"] == false,
        }));
        let mut add = |member: &str, value: Option<Value>| {
            case.extend(value.map(|value| (member.to_owned(), value)));
        };
        add("shared_workload", (context["shared_workload"] == true).then(|| true.into()));
        add("risk", Some(context["risk"].clone()).filter(|risk| risk != "none"));
        add("purpose", name::<PurposeId>(&context["purpose"]));
        add("agent", self.agent());
        let depth = context["depth"].as_u64().unwrap_or_default();
        add("depth", (1..=DELEGATIONS_MAX as u64).contains(&depth).then(|| depth.into()));
        let subject = context.get("subject").map(|subject| self.somebody(subject));
        add("subject", subject);
        add("ends", ends(&context["ends"]));
        let resource = self.entity(&self.posed.resource).map(|entity| &entity["attrs"]);
        if let Some(attributes) = resource {
            add("environment", name::<EnvironmentName>(&attributes["environment"]));
            add("region", name::<RegionName>(&attributes["region"]));
            add("enforcement", name::<Enforcement>(&attributes["enforcement"]));
            add("shared_account", (attributes["account"] == "shared").then(|| true.into()));
        }
        self.remembered(&mut add);
        let (kind, id) = uid(&self.posed.resource);
        if kind == "Tool" {
            add("provenance", provenance(&context["provenance"], &input));
            add("call", Some(json!({ "tool": id, "input": input })));
        } else {
            add("method", Some(self.method((kind.as_str(), id.as_str()), &input)?));
        }
        Ok(case)
    }

    /// Says what the task has read and called before.
    fn remembered(&self, add: &mut impl FnMut(&str, Option<Value>)) {
        let (snapshot, tools) = self.set;
        let session = &self.posed.context["session"];
        let declared = snapshot.labels().declared();
        let labels = session["labels"].as_array().into_iter().flatten();
        let labels: Vec<_> = labels.filter_map(read::<Label>).collect();
        add("labels", some(labels.iter().filter(|label| declared.contains(*label))));
        let used = session["used_tools"].as_array().into_iter().flatten();
        let used: Vec<_> = used.filter_map(read::<ToolRef>).collect();
        add("used_tools", some(used.iter().filter(|tool| tools.contains_key(*tool))));
        let counters = session["counters"].as_object().into_iter().flatten();
        let counters = counters.filter(|(name, n)| {
            let is_known = ToolRef::from_str(name).is_ok_and(|tool| tools.contains_key(&tool));
            is_known && read::<u32>(n).is_some_and(|n| n > 0)
        });
        let counters: Map<String, Value> =
            counters.map(|(name, n)| (name.clone(), n.clone())).collect();
        add("counters", (!counters.is_empty()).then(|| counters.into()));
    }

    /// A method, as it is done to what `kind` and `id` name.
    fn method(&self, (kind, id): (&str, &str), input: &Value) -> Result<Value, String> {
        let (_, action) = uid(&self.posed.action);
        let (server, rest) = id.split_once('/').unwrap_or((id, id));
        let server = name::<ServerName>(&server.into()).unwrap_or_else(|| "server".into());
        Ok(match kind {
            "Server" => json!({ "name": action, "server": server, "input": input }),
            "Resource" => json!({ "name": action, "server": server, "uri": rest }),
            "Prompt" => json!({ "name": action, "server": server, "prompt": rest }),
            "Task" => json!({ "name": action }),
            "Agent" => {
                let agent = name::<AgentName>(&id.into()).unwrap_or_else(|| "another".into());
                json!({ "name": action, "agent": agent })
            }
            _ => return Err(self.unsaid()),
        })
    }

    fn administrative(&self) -> Result<Map<String, Value>, String> {
        let (_, action) = uid(&self.posed.action);
        let (kind, id) = uid(&self.posed.resource);
        let to = if kind == "Deployment" {
            json!("deployment")
        } else {
            let to = |id: &str| json!({ kind.to_lowercase(): id });
            let named = [to(&id), to("another")].into_iter();
            let mut named = named.filter(|it| read::<ResourceRef>(it).is_some());
            named.next().ok_or_else(|| self.unsaid())?
        };
        let mut case = members(json!({ "act": { "name": action, "to": to } }));
        let (by, principal) = if self.is_of_person() {
            ("person", self.person(&self.posed.principal))
        } else {
            ("directory", self.directory())
        };
        case.insert(by.to_owned(), principal);
        case.extend(self.registered().map(|agent| ("registered".to_owned(), agent)));
        Ok(case)
    }

    /// The directory that tells of somebody, or registers an agent.
    fn directory(&self) -> Value {
        let context = &self.posed.context;
        let (_, id) = uid(&self.posed.principal);
        let mut told = members(json!({
            "name": name::<SourceName>(&id.into()).unwrap_or_else(|| "directory".into()),
            "gives": context["gives"],
            "joins": names::<GroupName>(&context["joins"]),
            "login": context["login"] == true,
        }));
        let is_of_person = self.posed.resource.starts_with("Person::");
        let is_known = is_of_person && context["gives"] != "added";
        let of = context.get("sponsor").map(|sponsor| self.somebody(sponsor));
        let of = of.or_else(|| is_known.then(|| self.person(&self.posed.resource)));
        let further = [
            ("unit", name::<UnitName>(&context["unit"])),
            ("manager", name::<PersonId>(&context["manager"])),
            ("purpose", name::<PurposeId>(&context["purpose"])),
            ("person", of),
        ];
        told.extend(further.into_iter().filter_map(|(member, it)| Some((member.to_owned(), it?))));
        told.into()
    }

    /// The agent that it is done to, if it is registered.
    fn registered(&self) -> Option<Value> {
        let (context, resource) = (&self.posed.context, &self.posed.resource);
        let attributes =
            &self.entity(resource).filter(|_| resource.starts_with("Agent::"))?["attrs"];
        let mut agent = members(json!({
            "sponsor": self.somebody(attributes.get("sponsor")?),
            "purposes": names::<PurposeId>(&attributes["purposes"]),
        }));
        let people = |member: &str| {
            let all = context[member].as_array().into_iter().flatten();
            all.map(|it| it["__entity"]["id"].clone()).filter(|id| read::<PersonId>(id).is_some())
        };
        let (line, backups): (Vec<_>, Vec<_>) =
            (people("line").collect(), people("backup").collect());
        let further = [
            ("line", some(line.iter())),
            ("backups", some(backups.iter())),
            ("unit", name::<UnitName>(&context["unit"])),
        ];
        agent.extend(further.into_iter().filter_map(|(member, it)| Some((member.to_owned(), it?))));
        Some(agent.into())
    }

    /// The person whom `value` names.
    fn somebody(&self, value: &Value) -> Value {
        self.person(&named(&value["__entity"]))
    }

    /// The person `uid`, as they were found.
    fn person(&self, uid: &str) -> Value {
        let (_, id) = self::uid(uid);
        let entity = self.entity(uid).unwrap_or(&Value::Null);
        let groups = entity["parents"].as_array().into_iter().flatten();
        let groups = groups.filter(|it| it["type"] == "Group").map(|it| &it["id"]);
        let groups: Vec<_> = groups.filter(|id| read::<GroupName>(id).is_some()).collect();
        let attributes = &entity["attrs"];
        let mut person = members(json!({
            "id": name::<PersonId>(&id.into()).unwrap_or_else(|| "somebody".into()),
            "groups": groups,
            "active": attributes["active"] != false,
        }));
        let unit = name::<UnitName>(&attributes["unit"]);
        person.extend(unit.map(|unit| ("unit".to_owned(), unit)));
        person.into()
    }

    /// The agent of whose instances the principal is.
    fn agent(&self) -> Option<Value> {
        let parents = self.entity(&self.posed.principal)?["parents"].as_array()?;
        name::<AgentName>(&parents.iter().find(|it| it["type"] == "Agent")?["id"])
    }

    fn entity(&self, uid: &str) -> Option<&Value> {
        self.posed.entities.as_array()?.iter().find(|entity| named(&entity["uid"]) == uid)
    }

    fn unsaid(&self) -> String {
        format!("no case asks for {} of {}", self.posed.action, self.posed.resource)
    }
}

/// What data the purpose is for, if that is bounded.
fn ends(said: &Value) -> Option<Value> {
    let mut ends = Map::new();
    if said["any_object"] == false {
        ends.insert("objects".to_owned(), names::<ObjectPattern>(&said["objects"]));
    }
    if said["any_category"] == false {
        ends.insert("data".to_owned(), names::<DataCategory>(&said["categories"]));
    }
    (!ends.is_empty()).then(|| ends.into())
}

/// Where the arguments of `input` come from, each from one place.
fn provenance(said: &Value, input: &Value) -> Option<Value> {
    let mut left = input.as_object()?.clone();
    let mut from = Map::new();
    for place in ["untrusted", "mandate", "trusted"] {
        let arguments = said[place].as_array().into_iter().flatten().filter_map(Value::as_str);
        let arguments: Vec<_> = arguments.filter(|it| left.remove(*it).is_some()).collect();
        if !arguments.is_empty() {
            from.insert(place.to_owned(), json!(arguments));
        }
    }
    (!from.is_empty()).then(|| from.into())
}

/// The value, if it can be a `T`.
fn name<T: DeserializeOwned>(value: &Value) -> Option<Value> {
    read::<T>(value).map(|_| value.clone())
}

/// Those of the values that can be a `T`.
fn names<T: DeserializeOwned>(values: &Value) -> Value {
    values.as_array().into_iter().flatten().filter_map(name::<T>).collect()
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

/// All of them, if there are any.
fn some<T: serde::Serialize>(all: impl Iterator<Item = T>) -> Option<Value> {
    let all: Vec<_> = all.collect();
    (!all.is_empty()).then(|| json!(all))
}

fn members(of: Value) -> Map<String, Value> {
    let Value::Object(members) = of else { unreachable!("it is an object") };
    members
}

/// The name of an entity, as Cedar writes it, in two: its type and its id.
fn uid(text: &str) -> (String, String) {
    let (kind, quoted) = text.split_once("::").unwrap_or((text, ""));
    let id = serde_json::from_str(quoted).unwrap_or_else(|_| quoted.trim_matches('"').to_owned());
    (kind.to_owned(), id)
}

/// The name of an entity in JSON form, as Cedar writes it.
fn named(uid: &Value) -> String {
    format!("{}::{}", uid["type"].as_str().unwrap_or_default(), uid["id"])
}

/// Cedar's value as an argument: decimals are numbers.
pub fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => match members.get("__extn") {
            Some(extension) => {
                let arguments = extension["args"].as_array().cloned();
                let arguments = arguments.unwrap_or_else(|| vec![extension["arg"].clone()]);
                let texts: Vec<_> = arguments.iter().map(|it| text(&plain(it))).collect();
                let number = serde_json::from_str(&texts[0]).ok().filter(Value::is_number);
                number.unwrap_or_else(|| texts.join(" ").into())
            }
            None => members.iter().map(|(name, it)| (name.clone(), plain(it))).collect(),
        },
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
