//! A scripted agent: a real MCP client on stdio, with `chancery mcp` as its only way to a server.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rmcp::model::{CallToolRequestParams, CallToolResult, ProtocolVersion};
use rmcp::service::RunningService;
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientLifecycleMode, ClientServiceExt as _, RoleClient, ServiceError};
use serde_json::Value;

use crate::deployment::Deployment;

/// How long an agent waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which of the two protocols an agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// MCP 2025-11-25: `initialize` and an MCP session.
    Sessions,
    /// MCP 2026-07-28: every request for itself.
    Stateless,
}

/// One running agent: one instance.
pub(crate) struct Agent(RunningService<RoleClient, ()>);

/// What an agent is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Whether it is anything but success.
    pub(crate) is_error: bool,
    /// What the model reads.
    pub(crate) text: String,
    /// What the program reads.
    pub(crate) structured: Value,
}

impl Answer {
    /// Why the call was refused by the gateway; empty if it was not.
    pub(crate) fn code(&self) -> &str {
        self.structured["code"].as_str().unwrap_or_default()
    }

    /// The decision that the refusal names; empty if it names none.
    pub(crate) fn decision(&self) -> &str {
        self.structured["decision_id"].as_str().unwrap_or_default()
    }
}

impl Agent {
    /// Starts an agent named `agent` that reaches `server`.
    pub(crate) async fn start(
        deployment: &Deployment,
        (agent, server): (&str, &str),
        speaks: Speaks,
    ) -> anyhow::Result<Self> {
        let mut command = deployment.client(&["mcp", server, "--agent", agent]);
        command.arg("--url").arg(deployment.url());
        command.arg("--key").arg(deployment.agent_key(agent));
        let (transport, _) = TokioChildProcess::builder(command).stderr(Stdio::null()).spawn()?;
        let lifecycle = match speaks {
            Speaks::Sessions => ClientLifecycleMode::Initialize,
            Speaks::Stateless => ClientLifecycleMode::Discover {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            },
        };
        let started = tokio::time::timeout(PATIENCE, ().serve_with_lifecycle(transport, lifecycle));
        let started = started.await.context("no greeting in time")?;
        Ok(Self(started.with_context(|| format!("agent `{agent}` did not reach `{server}`"))?))
    }

    /// The names of the tools that it is shown.
    pub(crate) async fn tools(&self) -> anyhow::Result<Vec<String>> {
        let listed = tokio::time::timeout(PATIENCE, self.0.list_all_tools()).await;
        let listed = listed.context("no list in time")??;
        Ok(listed.into_iter().map(|tool| tool.name.into_owned()).collect())
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> anyhow::Result<Answer> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let answered = tokio::time::timeout(PATIENCE, self.0.call_tool(call)).await;
        match answered.context("no answer in time")? {
            Ok(result) => Ok(answer(result)),
            Err(ServiceError::McpError(error)) => Ok(Answer {
                is_error: true,
                text: error.message.into_owned(),
                structured: error.data.unwrap_or_default(),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

fn answer(result: CallToolResult) -> Answer {
    let texts = result.content.iter().filter_map(|block| block.as_text());
    let texts: Vec<_> = texts.map(|text| text.text.clone()).collect();
    Answer {
        is_error: result.is_error.unwrap_or(false),
        text: texts.join("\n"),
        structured: result.structured_content.unwrap_or_default(),
    }
}
