//! Says Cedar policies of Amazon Bedrock `AgentCore` in the words of policies here.
//!
//! There a token's bearer calls a tool of a gateway's target; here an instance does, perhaps on behalf of a person,
//! and both are asked about. So a tool is `SERVER/TOOL`, the gateway is the deployment, and a claim is what the
//! register knows of the person (`context.subject`), as [`Claim`] says. What a translation rests on stands at its top.
//!
//! INVARIANT: whatever cannot be said exactly is refused, and with it all of the rest: a forbid that was left out
//! would permit (`what_cannot_be_said_is_refused_with_its_place`).

mod conditions;
mod scope;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use cedar_policy::Policy;
use model::ServerName;
use serde_json::{Value, json};

use crate::annotations;
use crate::compile::{Fault, parse};
use crate::format::format;
use crate::limits::{POLICIES_MAX, POLICY_BYTES_MAX};
use crate::report::{CompileErrors, Finding, line_of};
use crate::split::split;

/// What a claim of a token says of the person on whose behalf an act is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Who they are.
    Person,
    /// A group that they are in.
    Group,
    /// The unit that they are in.
    Unit,
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "person" => Ok(Self::Person),
            "group" => Ok(Self::Group),
            "unit" => Ok(Self::Unit),
            other => Err(format!("a claim is a `person`, a `group` or a `unit`, not `{other}`")),
        }
    }
}

/// The claim that [`principal.id`](https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/policy-schema-constraints.html) is.
const SUBJECT: &str = "sub";

/// What claims are taken for of which nothing else is said.
pub fn usual_claims() -> BTreeMap<String, Claim> {
    let usual = [
        (SUBJECT, Claim::Person),
        ("username", Claim::Person),
        ("role", Claim::Group),
        ("department", Claim::Unit),
    ];
    usual.into_iter().map(|(name, claim)| (name.to_owned(), claim)).collect()
}

/// The policies in `files`, by name, in the words of policies here, laid out, with what that rests on.
///
/// # Errors
/// All that cannot be said, each with its place and what to do.
pub fn import(
    files: &BTreeMap<String, String>,
    claims: &BTreeMap<String, Claim>,
) -> Result<String, CompileErrors> {
    let bytes: usize = files.values().map(String::len).sum();
    if bytes > POLICY_BYTES_MAX {
        let message = format!("more than {POLICY_BYTES_MAX} bytes of policy");
        return Err(Finding::general(message).into());
    }
    let mut import = Import { claims, rests_on: RestsOn::default() };
    let (mut said, mut wrong) = (Vec::new(), Vec::new());
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    for (file, text) in files {
        let pieces = split(text);
        if pieces.is_empty() {
            wrong.push(Finding::at(file, None, "holds no policy"));
        }
        let (mut from, mut end, mut line) = (0, 0, 1);
        for (position, piece) in pieces.iter().enumerate() {
            line += line_of(&text[from..], piece.offset - from) - 1;
            let before = &text[end..piece.offset];
            (from, end) = (piece.offset, piece.offset + piece.text.len());
            let named = Named { file, line, position, of: pieces.len(), before };
            match import.policy(piece.text, &named) {
                Ok((id, policy)) => {
                    if let Some(first) = places.insert(id.clone(), format!("{file}:{line}")) {
                        let message = format!("`@id` is also at {first}");
                        wrong.push(Finding::at(file, Some(line), message).of(&id));
                    }
                    said.push(policy);
                }
                Err(found) => wrong.extend(found),
            }
        }
    }
    if said.len() > POLICIES_MAX {
        wrong.push(Finding::general(format!("more than {POLICIES_MAX} policies")));
    }
    if !wrong.is_empty() {
        return Err(CompileErrors(wrong));
    }
    let text = format!("{}\n{}", import.rests_on.told(), said.join("\n"));
    Ok(format("imported.cedar", &text)?)
}

/// A policy's place, from which it has its name if it has none.
struct Named<'a> {
    file: &'a str,
    line: usize,
    /// Which of its file it is.
    position: usize,
    /// How many there are in it.
    of: usize,
    /// What stands between it and the one before.
    before: &'a str,
}

/// What a translation rests on.
#[derive(Default)]
struct RestsOn {
    /// The targets, by the servers that they are here.
    servers: BTreeMap<ServerName, String>,
    /// The one gateway whose policies they are.
    gateway: Option<String>,
    /// What claims mean.
    claims: BTreeSet<String>,
}

struct Import<'a> {
    claims: &'a BTreeMap<String, Claim>,
    rests_on: RestsOn,
}

/// One policy while it is translated.
struct Translation<'a> {
    claims: &'a BTreeMap<String, Claim>,
    rests_on: &'a mut RestsOn,
    /// What is known to be there where the translation has come to.
    known: Vec<conditions::Known>,
    /// Whether it permits that what is translated holds.
    permits: bool,
    /// What cannot be said.
    wrong: Vec<String>,
}

impl Import<'_> {
    /// The policy of this text, with its id.
    fn policy(&mut self, text: &str, named: &Named<'_>) -> Result<(String, String), Vec<Finding>> {
        let finding = |message: String| Finding::at(named.file, Some(named.line), message);
        let all = |messages: Vec<String>| messages.into_iter().map(finding).collect::<Vec<_>>();
        let policy = parse(text).map_err(|found| {
            let place = (named.file, named.line, text);
            let mut found: Vec<_> =
                found.into_iter().map(|said| Finding::within(place, said)).collect();
            if text.contains("temporal") || text.contains("guardrail") {
                found.extend(all(vec![BEYOND_CEDAR.to_owned()]));
            }
            found
        })?;
        let json = policy.to_json().map_err(|error| all(vec![error.to_string()]))?;
        let mut translation = Translation {
            claims: self.claims,
            rests_on: &mut self.rests_on,
            known: Vec::new(),
            permits: false,
            wrong: Vec::new(),
        };
        let given: BTreeMap<&str, &str> = policy.annotations().collect();
        for name in given.keys().filter(|name| MEANT_HERE.contains(*name)) {
            translation
                .refuse(format!("`@{name}` means nothing there and something here: take it out"));
        }
        let said = translation.policy(&json);
        if !translation.wrong.is_empty() {
            return Err(all(translation.wrong));
        }
        let said = Policy::from_json(None, said).map_err(|error| all(vec![error.to_string()]))?;
        let text = said.to_cedar().ok_or_else(|| all(vec!["it has no text".to_owned()]))?;
        let id = given.get("id").map_or_else(|| named.id(), |id| (*id).to_owned());
        let description = given.get("description").map(|it| (*it).to_owned());
        let description = description.unwrap_or_else(|| named.description());
        let mut whole =
            format!("{}{}", annotation("id", &id), annotation("description", &description));
        for (name, value) in
            given.into_iter().filter(|(name, _)| !["description", "id"].contains(name))
        {
            whole.push_str(&annotation(name, value));
        }
        whole.push_str(&text);
        let whole = parse(&whole).map_err(|found| {
            let why = Fault::Syntax(found).message();
            all(vec![format!("what it says cannot be read here, or its annotations: {why}")])
        })?;
        annotations::read(&whole).map_err(all)?;
        Ok((id, whole.to_string()))
    }
}

/// The annotations that change what a policy here does.
const MEANT_HERE: [&str; 4] = ["mode", "obligation", "property", "remedy"];

/// What to do with what Cedar does not know.
const BEYOND_CEDAR: &str = "temporal conditions and guardrails are beyond Cedar: here what was called and read before is \
    in `context.session` (docs/policy-schema.md); write this policy anew";

fn annotation(name: &str, value: &str) -> String {
    let escaped = |c: char| match c {
        '\\' => "\\\\".to_owned(),
        '"' => "\\\"".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    format!("@{name}(\"{}\")\n", value.chars().map(escaped).collect::<String>())
}

impl Named<'_> {
    /// By the file, and where in it.
    fn id(&self) -> String {
        let file = self.file.rsplit('/').next().unwrap_or_default();
        let stem = file.strip_suffix(".cedar").unwrap_or(file);
        let allowed =
            |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let stem: String = stem.chars().map(allowed).collect();
        if self.of == 1 { stem } else { format!("{stem}-{}", self.position + 1) }
    }

    /// By the comment above it.
    fn description(&self) -> String {
        // What stands on the line on which the policy before ends is about that one.
        let above = self.before.split_once('\n').map_or("", |(_, above)| above);
        let above = if self.position == 0 { self.before } else { above };
        let block = above.rsplit("\n\n").next().unwrap_or_default();
        let comment = block.lines().filter_map(|line| line.trim().strip_prefix("//"));
        let comment = comment.map(str::trim).collect::<Vec<_>>().join(" ");
        if comment.trim().is_empty() {
            return format!("From line {} of `{}`", self.line, self.file);
        }
        comment.chars().take(DESCRIPTION_MAX).collect()
    }
}

/// The most characters of a comment that become a description.
const DESCRIPTION_MAX: usize = 200;

impl RestsOn {
    /// It, as the comment at the top.
    fn told(&self) -> String {
        let one_line = |text: &str| text.replace(char::is_control, " ");
        let gateway =
            self.gateway.iter().map(|it| format!("the gateway `{it}` is this deployment"));
        let servers = self.servers.iter();
        let servers = servers
            .map(|(server, target)| format!("the target `{target}` is the server `{server}`"));
        let all: Vec<String> = gateway.chain(servers).chain(self.claims.iter().cloned()).collect();
        let lines: Vec<_> = all.iter().map(|it| format!("// - {}\n", one_line(it))).collect();
        let rests = if all.is_empty() { "" } else { " It rests on this:" };
        format!("// Imported from AgentCore.{rests}\n{}", lines.concat())
    }
}

impl Translation<'_> {
    /// The policy in Cedar's JSON form, without annotations.
    fn policy(&mut self, policy: &Value) -> Value {
        let who = self.principal(&policy["principal"]);
        let (action, resource) = self.scope(policy);
        let (conditions, mut said) = (policy["conditions"].as_array(), Vec::new());
        let of_kind = |kind: &'static str| {
            let conditions = conditions.into_iter().flatten();
            conditions.filter(move |it| it["kind"] == kind).map(|it| &it["body"])
        };
        let when: Vec<&Value> = of_kind("when").flat_map(conditions::conjuncts).collect();
        let mut all: Vec<Value> = who.into_iter().collect();
        self.permits = policy["effect"] == "permit";
        all.extend(self.conjunction(&when));
        self.permits = false;
        if !all.is_empty() {
            said.push(json!({ "kind": "when", "body": conditions::all_of(all) }));
        }
        for body in of_kind("unless") {
            said.push(json!({ "kind": "unless", "body": self.expression(body) }));
        }
        json!({
            "effect": policy["effect"],
            "principal": { "op": "All" },
            "action": action,
            "resource": resource,
            "conditions": said,
        })
    }

    fn refuse(&mut self, why: impl Into<String>) {
        self.wrong.push(why.into());
    }
}
