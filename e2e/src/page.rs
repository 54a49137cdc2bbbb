//! Pages of the documentation, whose blocks tests run as they stand there.

use std::process::{Command, Stdio};

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

    /// Runs its shell blocks beside `deployment`, as somebody who administers it and holds the key
    /// of the agent `bot`; gives what each printed.
    pub fn run(&self, deployment: &Deployment) -> Vec<String> {
        let bin = crate::binary().parent().expect("a directory").display().to_string();
        let run = |block: &String| {
            let mut shell = Command::new("sh");
            shell.args(["-e", "-c", block]).current_dir(deployment.path("home"));
            shell.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap_or_default()));
            shell.env("CHANCERY_SOCKET", deployment.path("home/state/admin.sock"));
            shell.env("CHANCERY_URL", deployment.url());
            shell.env("CHANCERY_HOST_SOCKET", deployment.host_socket());
            shell.env("CHANCERY_AGENT_KEY", deployment.agent_key("bot"));
            shell.env("XDG_RUNTIME_DIR", deployment.path("")).stdin(Stdio::null());
            let output = shell.output().expect("it starts");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{block}: {told}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        self.blocks("sh").iter().map(run).collect()
    }
}
