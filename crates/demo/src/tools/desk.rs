//! The desk at which calls arrive: written down first, then done.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ServerCapabilities, ServerConfig, Tool as Described,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};

use super::admission::Decision;
use super::books::{Books, Tool, tools_of};
use crate::accounts::Effect;

/// How long a tool that goes on waits before it does more.
const STEP: Duration = Duration::from_millis(20);

/// The most that a tool does which goes on.
const STEPS_MAX: u32 = 1_500;

/// The desk of one server.
#[derive(Clone)]
pub(super) struct Desk {
    server: String,
    tools: &'static [Tool],
    /// What is in this file is added to each description: so a server changes under its callers.
    notice: PathBuf,
    /// Where it is written down what is done while a call goes on.
    steps: PathBuf,
    books: Arc<Mutex<(File, Books)>>,
}

impl Desk {
    /// The desk of the server `name`, which writes into `dir`.
    pub(super) fn open(name: &str, dir: &Path) -> anyhow::Result<Self> {
        let tools = tools_of(name).with_context(|| format!("there is no tool server `{name}`"))?;
        let path = crate::accounts::effects_file(dir, name);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("could not write `{}`", path.display()))?;
        let books = Arc::new(Mutex::new((file, Books::default())));
        let notice = notice_file(dir, name);
        let steps = steps_file(dir, name);
        Ok(Self { server: name.to_owned(), tools, notice, steps, books })
    }

    fn described(&self, tool: &Tool) -> Described {
        let notice = std::fs::read_to_string(&self.notice).unwrap_or_default();
        let schema: JsonObject = tool.schema().as_object().cloned().unwrap_or_default();
        Described::new(tool.name, format!("{}{notice}", tool.description), schema)
    }

    /// Writes down what arrived, durably, and only then does it.
    fn act(&self, tool: &Tool, decision: &str, arguments: &Value) -> std::io::Result<Acted> {
        let line = self.line(tool, decision, arguments)?;
        let mut held = self.books.lock().expect("no panic while it is held");
        let (file, books) = &mut *held;
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        Ok((tool.act)(books, arguments))
    }

    /// Does more and more, each step written down first, until nobody listens.
    async fn go_on(
        &self,
        tool: &Tool,
        decision: &str,
        context: &RequestContext<RoleServer>,
    ) -> std::io::Result<()> {
        let Some(token) = context.meta.get_progress_token() else { return Ok(()) };
        let mut file = File::options().create(true).append(true).open(&self.steps)?;
        for step in 1..=STEPS_MAX {
            file.write_all(self.line(tool, decision, &json!({ "step": step }))?.as_bytes())?;
            let progress = ProgressNotificationParam::new(token.clone(), f64::from(step));
            if context.peer.notify_progress(progress).await.is_err() {
                break;
            }
            tokio::select! {
                () = context.ct.cancelled() => break,
                () = tokio::time::sleep(STEP) => {}
            }
        }
        Ok(())
    }

    /// What is written down of something that is done now.
    fn line(&self, tool: &Tool, decision: &str, arguments: &Value) -> std::io::Result<String> {
        let effect = Effect {
            time: now_ms(),
            decision: decision.to_owned(),
            tool: format!("{}/{}", self.server, tool.name),
            arguments: arguments.clone(),
        };
        Ok(serde_json::to_string(&effect)? + "\n")
    }
}

/// The time, in milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(now).unwrap_or(u64::MAX)
}

/// What a tool gives, or why it did not do what was asked.
type Acted = Result<Value, String>;

/// The file in which a server writes down what it does while a call goes on.
pub(crate) fn steps_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.steps.jsonl"))
}

/// The file whose text a server adds to its descriptions.
pub(crate) fn notice_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.notice"))
}

impl ServerHandler for Desk {
    fn get_info(&self) -> ServerConfig {
        let about = Implementation::new(self.server.clone(), env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(about)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.iter().map(|tool| self.described(tool)).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let parts = context.extensions.get::<http::request::Parts>();
        let decision = parts.and_then(|parts| parts.extensions.get::<Decision>());
        let Some(Decision(decision)) = decision else {
            return Err(ErrorData::invalid_request("no decision stands behind this call", None));
        };
        let tool = self.tools.iter().find(|tool| tool.name == request.name);
        let tool = tool.ok_or_else(|| ErrorData::invalid_params("there is no such tool", None))?;
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let acted = self.act(tool, decision, &arguments);
        let failed = |error: std::io::Error| ErrorData::internal_error(error.to_string(), None);
        let acted = acted.map_err(failed)?;
        if tool.goes_on {
            self.go_on(tool, decision, &context).await.map_err(failed)?;
        }
        Ok(match acted {
            Ok(result) => CallToolResult::structured(result),
            Err(why) => CallToolResult::error(vec![ContentBlock::text(why)]),
        }
        .into())
    }
}
