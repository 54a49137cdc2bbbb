//! Files of cases, which the author of a policy set writes and the service decides.

use std::collections::BTreeMap;

use pap::{CaseFile, PolicyFiles, Tools};

/// Where the file stands.
const PATH: &str = "cases/it.yaml";

/// The most cases that are decided of one file.
const DECIDED_MAX: usize = 16;

/// A file of cases: each of its cases is decided, or told why it cannot be; or it is refused with its place.
pub fn file(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    let read = match CaseFile::read(PATH, text) {
        Ok(read) => read,
        Err(wrong) => {
            assert_eq!(wrong.file.as_deref(), Some(PATH));
            assert!(!wrong.message.is_empty());
            return false;
        }
    };
    if read.count() > DECIDED_MAX {
        return true;
    }
    let starter = ("starter.cedar".to_owned(), pdp::STARTER_POLICY.to_owned());
    let policies = BTreeMap::from([starter]);
    let set = PolicyFiles { policies, ..PolicyFiles::default() };
    match read.run(&set, &Tools::new()) {
        Ok(results) => {
            assert_eq!(results.len(), read.count(), "none is passed over");
            assert!(results.iter().all(|it| it.place(PATH).starts_with("cases/it.yaml:")));
        }
        Err(why) => assert!(!why.is_empty()),
    }
    true
}
