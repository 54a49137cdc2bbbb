//! Files of cases, and the tools that they call, which the author of a policy set writes and the service reads.

use std::collections::BTreeMap;

use pap::{CaseFile, PolicyFiles, TOOLS_FILE, Tools};
use pdp::Finding;

/// Where the file stands.
const PATH: &str = "cases/it.yaml";

/// The most cases that are decided of one file.
const DECIDED_MAX: usize = 16;

/// A file of cases, and after a line of `---` one of tools: each case is decided, or told why it cannot be; or what
/// cannot be read is refused with its place.
pub fn file(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    let (text, tools) = text.split_once("\n---\n").unwrap_or((text, "{}"));
    let read = CaseFile::read(PATH, text).map_err(|wrong| is_at(PATH, &wrong));
    let tools: Result<Tools, ()> =
        pap::read_tools(tools).map_err(|wrong| is_at(TOOLS_FILE, &wrong));
    let (Ok(read), Ok(tools)) = (read, tools) else { return false };
    if read.count() > DECIDED_MAX {
        return true;
    }
    let starter = ("starter.cedar".to_owned(), pdp::STARTER_POLICY.to_owned());
    let policies = BTreeMap::from([starter]);
    let set = PolicyFiles { policies, ..PolicyFiles::default() };
    match read.run(&set, &tools) {
        Ok(results) => {
            assert_eq!(results.len(), read.count(), "none is passed over");
            assert!(results.iter().all(|it| it.place(PATH).starts_with("cases/it.yaml:")));
        }
        Err(why) => assert!(!why.is_empty()),
    }
    true
}

/// What is wrong is told, and in which file.
fn is_at(file: &str, wrong: &Finding) {
    assert_eq!(wrong.file.as_deref(), Some(file));
    assert!(!wrong.message.is_empty());
}
