//! What the documentation shows is run as it stands there: each block of the page on clients.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::process::Command;

use e2e::newcomer::{Newcomer, text};
use e2e::{Child, free_port};
use serde_json::Value;

/// The page, with the ports of this test for those that it names.
struct Page {
    text: String,
}

impl Page {
    fn new(newcomer: &Newcomer) -> Self {
        let path = e2e::repository().join("docs/clients.md");
        let page = std::fs::read_to_string(path).expect("the page is there");
        let text = page.replace("8420", &newcomer.port.to_string());
        Self { text: text.replace("8430", &free_port().to_string()) }
    }

    /// The fenced blocks in this language.
    fn blocks(&self, language: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if line.strip_prefix("```").is_some_and(|named| named.trim() == language) {
                let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
                found.push(block.join("\n"));
            }
        }
        found
    }
}

fn hears_echo(newcomer: &Newcomer, entry: &Value) {
    let said = text(&newcomer.client(entry));
    assert!(said.contains("\"text\": \"Echo: hello\""), "{entry}: {said}");
}

/// The entry of a Codex configuration, of which the page shows two keys.
fn entry_of_toml(block: &str) -> Value {
    let mut entry = Value::Object(serde_json::Map::new());
    for (key, value) in block.lines().filter_map(|line| line.split_once(" = ")) {
        entry[key] = serde_json::from_str(value).expect("a text or a list of texts");
    }
    entry
}

#[test]
fn the_page_on_clients_shows_what_works() {
    let mut newcomer = Newcomer::new();
    newcomer.start_dev();
    newcomer.onboard();
    let mut page = Page::new(&newcomer);

    let commands = page.blocks("sh");
    let [listen] = commands.as_slice() else { panic!("one command is shown: {commands:?}") };
    let mut command = newcomer.shell_command(&format!("exec {listen}"));
    let printed = |line: &str| {
        let (_, url) = line.split_once("speaking MCP on ")?;
        url.rsplit_once("/mcp/").map(|(_, secret)| secret.to_owned())
    };
    let (_listening, secret) = Child::start_and_read_errors(&mut command, printed);
    page.text = page.text.replace("/mcp/SECRET", &format!("/mcp/{secret}"));

    let mut shown = 0;
    for block in page.blocks("json") {
        let configuration: Value = serde_json::from_str(&block).expect("it is JSON");
        let servers = configuration.as_object().into_iter().flatten().map(|(_, servers)| servers);
        for entry in servers.flat_map(|servers| servers.as_object().into_iter().flatten()) {
            hears_echo(&newcomer, entry.1);
            shown += 1;
        }
    }
    assert_eq!(shown, 4, "every client's configuration is run");
    let codex = page.blocks("toml");
    assert_eq!(codex.len(), 1);
    hears_echo(&newcomer, &entry_of_toml(&codex[0]));
}

#[test]
fn the_page_on_clients_shows_a_client_with_its_own_key() {
    let mut newcomer = Newcomer::new();
    newcomer.start_dev();
    newcomer.onboard();
    let blocks = Page::new(&newcomer).blocks("js");
    let [script] = blocks.as_slice() else { panic!("one program is shown") };
    let place = newcomer.home().join("program");
    std::fs::create_dir(&place).expect("the home is ours");
    std::fs::write(place.join("client.mjs"), script).expect("the home is ours");
    let modules = place.join("node_modules");
    std::os::unix::fs::symlink(e2e::node_modules(), modules).expect("the home is ours");
    let announced = std::fs::read_to_string(newcomer.announced()).expect("`dev` runs");
    let announced: Value = serde_json::from_str(&announced).expect("JSON");
    let key = std::path::Path::new(announced["keys"].as_str().expect("a path")).join("bot.pem");
    std::os::unix::fs::symlink(key, place.join("bot.pem")).expect("the home is ours");
    let output = Command::new("node").arg("client.mjs").current_dir(&place).output();
    let said = text(&output.expect("it starts"));
    assert_eq!(said, "Echo: hello\n");
}
