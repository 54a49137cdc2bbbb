//! Pages of the documentation, whose blocks tests run as they stand there.

use crate::Deployment;

/// A page, with whatever a test puts in place of its names.
pub struct Page(String);

impl Page {
    /// The page `docs/NAME`, with `replaced` in place of what it names.
    pub fn read(name: &str, replaced: &[(&str, &str)]) -> Self {
        let path = crate::repository().join("docs").join(name);
        let text = std::fs::read_to_string(path).expect("the page is there");
        Self(replaced.iter().fold(text, |text, (from, to)| text.replace(from, to)))
    }

    /// Its blocks in `language`.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let fence = format!("```{language}\n");
        let parts = self.0.split(&fence).skip(1).filter_map(|part| part.split_once("```"));
        parts.map(|(block, _)| block.to_owned()).collect()
    }

    /// Runs its shell blocks beside `deployment`; gives what each printed.
    pub fn run(&self, deployment: &Deployment) -> Vec<String> {
        self.blocks("sh").iter().map(|block| deployment.shell(block)).collect()
    }
}
