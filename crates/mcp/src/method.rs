//! The methods that are known, and what each is decided on.

/// A method of MCP: those of COAZ-MCP's table and of our supplement to it (`server/discover`,
/// `subscriptions/listen`, `tasks/update`, `resources/templates/list`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Passes undecided.
    Ping,
    /// The session era's greeting.
    Initialize,
    /// The stateless era's greeting.
    Discover,
    /// Lists tools.
    ToolsList,
    /// Calls a tool.
    ToolsCall,
    /// Another method that is decided on the server as a whole.
    OnServer(&'static str),
    /// A method that is decided on one resource.
    OnResource(&'static str),
    /// A method that is decided on one prompt.
    OnPrompt(&'static str),
    /// A method about one task of a server.
    OnTask(&'static str),
    /// A method that is not known here. Refused.
    Unknown(String),
}

const ON_SERVER: [&str; 7] = [
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "completion/complete",
    "logging/setLevel",
    "subscriptions/listen",
    "tasks/list",
];
const ON_RESOURCE: [&str; 3] = ["resources/read", "resources/subscribe", "resources/unsubscribe"];
const ON_PROMPT: [&str; 1] = ["prompts/get"];
const ON_TASK: [&str; 4] = ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"];

impl Method {
    /// The method with this name, compared byte for byte.
    pub fn named(name: &str) -> Self {
        let of = |names: &[&'static str]| names.iter().copied().find(|known| *known == name);
        match name {
            "ping" => Self::Ping,
            "initialize" => Self::Initialize,
            "server/discover" => Self::Discover,
            "tools/list" => Self::ToolsList,
            "tools/call" => Self::ToolsCall,
            _ => of(&ON_SERVER)
                .map(Self::OnServer)
                .or_else(|| of(&ON_RESOURCE).map(Self::OnResource))
                .or_else(|| of(&ON_PROMPT).map(Self::OnPrompt))
                .or_else(|| of(&ON_TASK).map(Self::OnTask))
                .unwrap_or_else(|| Self::Unknown(name.to_owned())),
        }
    }

    /// The method's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ping => "ping",
            Self::Initialize => "initialize",
            Self::Discover => "server/discover",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::OnServer(name)
            | Self::OnResource(name)
            | Self::OnPrompt(name)
            | Self::OnTask(name) => name,
            Self::Unknown(name) => name,
        }
    }

    /// The member of `params` that the header `Mcp-Name` repeats, if the method has one.
    pub fn name_member(&self) -> Option<&'static str> {
        match self {
            Self::ToolsCall | Self::OnPrompt(_) => Some("name"),
            Self::OnResource(name) => (*name == "resources/read").then_some("uri"),
            Self::OnTask(_) => Some("taskId"),
            _ => None,
        }
    }
}
