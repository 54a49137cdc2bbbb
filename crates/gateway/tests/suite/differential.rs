//! Random and hostile requests by the thousand: what reached the tool is what the log commits to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fastrand::Rng;
use futures::future::join_all;
use http::HeaderMap;
use mcp::Era;
use model::ArgumentsDigest;
use model::record::{DecisionRecord, Disclosure};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::identity::claims;
use crate::support::{Answer, Client, Seen, Setup, Upstream, World, set, tool};
use crate::{ERAS, POLICY, with};

/// How many requests there are, in all.
const REQUESTS: usize = 10_000;

/// How many are under way at once.
const AT_ONCE: usize = 50;

/// What decides on arguments; `pay` is never permitted.
const RULES: &str = r#"
@id("few") forbid (principal, action == Action::"up/typed", resource)
when { context.input has x && context.input.x > 3 };
@id("never") forbid (principal, action == Action::"up/pay", resource);
"#;

/// Texts as they stand between quotation marks.
const TEXTS: [&str; 16] = [
    "",
    "plain",
    "../../admin?x=1&y#z",
    "é",
    "e\u{301}",
    "\\u00e9",
    "\u{1f600}",
    "\\ud83d\\ude00",
    "\u{202e}evil\u{2066}",
    "\\u202e\\u0000",
    "\u{200b}\u{feff}",
    "\\/\\\\\\\"\\b\\f\\n\\r\\t",
    "{\\\"x\\\":1}",
    "\u{2028}\u{85}",
    "9007199254740993",
    "İıſK",
];

/// What no text may have in it.
const NO_TEXTS: [&str; 5] = ["\\ud800", "\u{1}", "\\x41", "\\u12", "\r\n\r\nGET / HTTP/1.1"];

/// Numbers, spelled in many ways.
const NUMBERS: [&str; 20] = [
    "0",
    "-0",
    "-0.0",
    "1",
    "1.0",
    "1e0",
    "3",
    "4",
    "0.3e1",
    "40e-1",
    "100",
    "100.0",
    "1e2",
    "1E+2",
    "0.1",
    "1.50",
    "-7",
    "9007199254740991",
    "5e-324",
    "1.7976931348623157e308",
];

/// Numbers that no double holds, and what only looks like a number.
const NO_NUMBERS: [&str; 10] = [
    "9007199254740993",
    "1e400",
    "1e-400",
    "123456789012345678901234567890",
    "01",
    "+1",
    ".5",
    "1.",
    "0x10",
    "NaN",
];

/// Names of members, as they are written.
const NAMES: [&str; 14] = [
    "a",
    "\\u0062",
    "c",
    "d1",
    "é",
    "name",
    "arguments",
    "_meta",
    "__proto__",
    "constructor",
    "",
    "ſ",
    "\\u212a",
    "y",
];

/// Names that are others, spelled in another way.
const TWINS: [&str; 6] = ["A", "\\u0061", "b", "B", "Name", "K"];

/// JSON as nobody should write it.
struct Writer(Rng);

impl Writer {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.0.usize(0..of.len())]
    }

    /// One of `usual`, at times one of `odd`.
    fn mostly(&mut self, usual: &[&'static str], odd: &[&'static str]) -> &'static str {
        if self.0.u8(0..40) == 0 { self.one(odd) } else { self.one(usual) }
    }

    fn space(&mut self) -> &'static str {
        self.one(&["", "", "", "", " ", "\n", "\t\r\n "])
    }

    fn value(&mut self, depth: usize) -> String {
        let kinds = if depth == 0 { 6 } else { 10 };
        match self.0.u8(0..kinds) {
            0 => self.one(&["null", "true", "false"]).to_owned(),
            1..=2 => self.mostly(&NUMBERS, &NO_NUMBERS).to_owned(),
            3..=5 => self.text(),
            6..=7 => {
                let items: Vec<_> =
                    (0..self.0.usize(0..4)).map(|_| self.value(depth - 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => {
                let members = (0..self.0.usize(0..4)).map(|_| self.member(depth - 1)).collect();
                self.object(members)
            }
        }
    }

    fn text(&mut self) -> String {
        let long = if self.0.u8(0..60) == 0 { 400 } else { 1 };
        let pieces: String =
            (0..self.0.usize(0..3)).map(|_| self.mostly(&TEXTS, &NO_TEXTS)).collect();
        format!("\"{}\"", pieces.repeat(long))
    }

    fn member(&mut self, depth: usize) -> String {
        let (before, after) = (self.space(), self.space());
        let name = self.mostly(&NAMES, &TWINS);
        format!("{before}\"{name}\"{after}:{}", self.value(depth))
    }

    /// The members in any order.
    fn object(&mut self, mut members: Vec<String>) -> String {
        self.0.shuffle(&mut members);
        format!("{{{}{}}}", members.join(","), self.space())
    }

    /// Arguments with a `mark`, by which they are known again; seldom what is no object at all.
    fn arguments(&mut self, mark: usize) -> String {
        match self.0.u8(0..40) {
            0 => return format!("[{}]", self.value(2)),
            1 => return format!("{{\"m\":{mark},\"a\":{}}}", nested(self.0.usize(50..140))),
            _ => {}
        }
        let name = self.one(&["m", "m", "m", "\\u006d", "\\u006D"]);
        let mut members = vec![format!("\"{name}\":{}{mark}", self.space())];
        members.extend((0..self.0.usize(0..3)).map(|_| self.member(3)));
        if self.0.bool() {
            members.push(format!("\"x\":{}", self.one(&NUMBERS)));
        }
        self.object(members)
    }

    /// The body of a call, mostly one that can be read.
    fn call(&mut self, era: Era, tool: &str, arguments: &str) -> Vec<u8> {
        let key = self.one(&["arguments", "arguments", "arguments", "\\u0061rguments"]);
        let mut params = vec![format!("\"name\":\"{tool}\""), format!("\"{key}\":{arguments}")];
        let token = if self.0.bool() { "\"progressToken\":7".to_owned() } else { self.member(1) };
        let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#.to_owned();
        let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{}"#.to_owned();
        let meta = match era {
            Era::Stateless => vec![version, capabilities, token],
            Era::Session => vec![token],
        };
        let meta = self.object(meta);
        params.push(format!("\"_meta\":{}{meta}", self.space()));
        match self.0.u8(0..60) {
            0 => params.push(format!("\"arguments\":{}", self.value(1))),
            1 => params.push(format!("\"Arguments\":{}", self.value(1))),
            2 => params.push("\"task\":{}".to_owned()),
            3 => params.push(self.member(1)),
            _ => {}
        }
        let params = self.object(params);
        let id =
            self.mostly(&["1", "\"a\"", "\"\\u0061\"", "0", "-3"], &["1.5", "null", "1e3", "{}"]);
        let mut message = vec![
            "\"jsonrpc\":\"2.0\"".to_owned(),
            format!("\"id\":{id}"),
            "\"method\":\"tools/call\"".to_owned(),
            format!("\"params\":{}{params}", self.space()),
        ];
        if self.0.u8(0..60) == 0 {
            message.push(self.member(1));
        }
        let message = self.object(message);
        let start = message.find(arguments).expect("they are part of it");
        let mut body = message.into_bytes();
        match self.0.u8(0..100) {
            0 => drop(body.splice(..0, *b"\xef\xbb\xbf")),
            1 => body.extend(b"{}"),
            2 => body.truncate(self.0.usize(0..body.len())),
            3 => {
                // Not in the arguments, by which the call is known again.
                let at = self.0.usize(0..body.len());
                if !(start..start + arguments.len()).contains(&at) {
                    body[at] = self.0.u8(..);
                }
            }
            4 => body = [b"[".as_slice(), &body, b"]"].concat(),
            _ => {}
        }
        body
    }
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

/// One request, and what it was answered.
struct Tried {
    arguments: String,
    body: Vec<u8>,
    answer: Answer,
}

/// I-06, N-058: for each call that reached the tool there is one permit, whose committed arguments
/// are those that arrived, byte for byte those that were sent; what is refused reaches nobody. Calls
/// of two agents that differ in what they may do are interleaved, so that an answer kept for one of
/// them, or for other arguments, would be seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_058_what_reached_the_tool_is_what_was_permitted_and_recorded() {
    let mut writer = Writer(Rng::with_seed(20_261_125));
    let mut reached = 0;
    for era in ERAS {
        for server in ERAS {
            let typed = json!({ "x": { "type": "integer" }, "y": { "type": "string" } });
            let typed = json!({ "type": "object", "properties": typed });
            let typed = json!({ "name": "typed", "inputSchema": typed });
            let up = Upstream::start(server, vec![tool("echo"), tool("pay"), typed]).await;
            let (policy, routes) = (format!("{POLICY}{RULES}"), vec![("up", up.target())]);
            let (world, bot) = with(Setup { policy, routes, ..Setup::default() }).await;
            let narrow = world.agent("narrow", &["up/echo"]).await;
            let clients =
                [bot.connected(&world, "up", era).await, narrow.connected(&world, "up", era).await];
            let tried = attempt(&mut writer, &clients, REQUESTS / 4).await;
            reached += check(&world, &up.seen_of("tools/call"), &tried).await;
        }
    }
    // That it is hostile does not make it worthless, nor the other way round.
    assert!((REQUESTS / 5..REQUESTS * 4 / 5).contains(&reached), "{reached} of {REQUESTS} passed");
}

async fn attempt(writer: &mut Writer, clients: &[Client<'_>], count: usize) -> Vec<Tried> {
    let mut tried = Vec::new();
    while tried.len() < count {
        let mut requests: Vec<(String, Vec<u8>, HeaderMap, &Client<'_>)> = Vec::new();
        for mark in tried.len()..tried.len() + AT_ONCE {
            let client = &clients[writer.0.usize(0..clients.len())];
            let tool = writer.one(&["echo", "echo", "echo", "typed", "typed", "pay", "none"]);
            let arguments = writer.arguments(mark);
            let body = writer.call(client.era, tool, &arguments);
            let mut headers = client.headers("POST");
            if client.era == Era::Stateless {
                set(&mut headers, "mcp-protocol-version", mcp::STATELESS_VERSION);
                set(&mut headers, "mcp-method", "tools/call");
                set(&mut headers, "mcp-name", tool);
            }
            requests.push((arguments, body, headers, client));
        }
        let answers = requests.into_iter().map(|(arguments, body, headers, client)| async move {
            let answer = client.post_raw(&headers, Bytes::from(body.clone())).await;
            Tried { arguments, body, answer }
        });
        tried.extend(join_all(answers).await);
    }
    tried
}

/// Compares what was sent, what arrived and what was recorded; gives how much arrived.
async fn check(world: &World, arrived: &[Seen], tried: &[Tried]) -> usize {
    let permits = permits(world).await;
    let (mut marks, mut decisions) = (BTreeSet::new(), BTreeSet::new());
    for seen in arrived {
        let raw = arguments_of(&seen.body);
        // As another reader reads it.
        let read: Value = serde_json::from_str(raw.get()).expect("the tool can read it");
        let mark = usize::try_from(read["m"].as_u64().expect("its mark")).expect("a small number");
        let sent = &tried[mark];
        assert!(marks.insert(mark), "it arrived twice: {}", seen.body);
        assert_eq!(raw.get(), sent.arguments, "what arrives is what was sent");
        let shown = claims(seen.header("authorization").expect("an assertion"));
        let decision = shown["chancery"]["decision_id"].as_str().expect("a decision").to_owned();
        let (record, disclosed) = permits.get(&decision).expect("it was permitted");
        let committed = disclosed.value("arguments").expect("it has arguments");
        assert!(decisions.insert(decision), "two calls on one permit: {}", seen.body);
        let canonical = json::canonical(&read);
        assert_eq!(json::canonical(committed), canonical, "what is committed to: {}", seen.body);
        let digest = ArgumentsDigest::of(&canonical).to_string();
        assert_eq!(shown["chancery"]["args_digest"], digest, "{}", seen.body);
        assert_eq!(shown["client_id"], record.agent.as_str());
        let name = seen.json()["params"]["name"].as_str().expect("a name").to_owned();
        assert_eq!(record.action, format!("up/{name}"));
        assert!(name == "echo" || name == "typed" && record.agent.as_str() == "bot", "{name}");
        assert!(name == "echo" || read["x"].as_f64().is_none_or(|x| x <= 3.0), "{}", seen.body);
    }
    assert_eq!(decisions.len(), permits.len(), "what is permitted is done, and nothing else");
    for (mark, Tried { body, answer, .. }) in tried.iter().enumerate() {
        let done = answer.status == 200 && answer.error().is_none() && answer.refused().is_none();
        assert_eq!(done, marks.contains(&mark), "{}: {answer:?}", String::from_utf8_lossy(body));
    }
    arrived.len()
}

/// The permitted calls by decision, each with what its commitments open to, but for those of which it is on record
/// that they were not begun: what they rested on changed before, as with what is found meanwhile.
pub(crate) async fn permits(world: &World) -> BTreeMap<String, (DecisionRecord, Disclosure)> {
    let (mut permits, records) = (BTreeMap::new(), world.records().await);
    let not_begun: BTreeSet<String> = records
        .iter()
        .filter(|record| record["outcome"] == "not_started")
        .filter_map(|record| record["decision"].as_str().map(str::to_owned))
        .collect();
    for (index, record) in (0..).zip(records) {
        let is_call = record["action"].as_str().is_some_and(|action| action.starts_with("up/"));
        if record["kind"] != "decision" || record["decision"] != "permit" || !is_call {
            continue;
        }
        let disclosed = world.journal.disclosure(index).await.expect("it opens");
        let disclosed = disclosed.expect("it is disclosed");
        let commitments = serde_json::from_value(record["commitments"].clone());
        assert_eq!(disclosed.mismatch(&commitments.expect("commitments")), None);
        let record: DecisionRecord = serde_json::from_value(record).expect("a decision");
        let id = record.id.to_string();
        if !not_begun.contains(&id) {
            permits.insert(id, (record, disclosed));
        }
    }
    permits
}

fn arguments_of(body: &str) -> Box<RawValue> {
    #[derive(serde::Deserialize)]
    struct Call {
        params: Params,
    }
    #[derive(serde::Deserialize)]
    struct Params {
        arguments: Box<RawValue>,
    }
    serde_json::from_str::<Call>(body).expect("a call").params.arguments
}
