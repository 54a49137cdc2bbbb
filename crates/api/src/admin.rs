//! Administration over the socket: one command in, what to tell out.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use model::PersonId;
use pap::{AdminError, Administration, Command};
use serde_json::{Value, json};

use crate::described::admin as described;
use crate::openapi::Routes;

/// The largest command, in bytes, but for a list of people and a policy set.
const COMMAND_MAX: usize = 1 << 20;

/// The largest command that carries one, in bytes.
const LIST_MAX: usize = COMMAND_MAX + pap::PEOPLE_FILE_MAX;

#[derive(Clone)]
struct Socket {
    administration: Arc<Administration>,
    /// Who the other end is: the service's own user, as the kernel says.
    administrator: PersonId,
}

/// The router of the socket, whose peer is `administrator`.
pub fn admin(administration: Arc<Administration>, administrator: PersonId) -> Router {
    Routes::new(std::convert::identity)
        .post("/api/v1/command", run, described::command())
        .with_document(&described::about(), [])
        .layer(DefaultBodyLimit::max(LIST_MAX))
        .with_state(Socket { administration, administrator })
}

async fn run(State(socket): State<Socket>, body: Bytes) -> Response {
    let limits = json::Limits { bytes: LIST_MAX, depth: json::MAX_DEPTH_DEFAULT };
    let command: Command = match json::from_slice(&body, limits) {
        Ok(command) => command,
        Err(error) => {
            return answer(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() }));
        }
    };
    let is_file = matches!(
        command,
        Command::PeopleApply { .. } | Command::PolicyReplay { .. } | Command::PolicyPublish { .. }
    );
    if body.len() > COMMAND_MAX && !is_file {
        let error = format!("a command has at most {COMMAND_MAX} bytes");
        return answer(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": error }));
    }
    match socket.administration.run(&socket.administrator, command).await {
        Ok(told) => answer(StatusCode::OK, &told),
        Err(error) => answer(status(&error), &json!({ "error": error.to_string() })),
    }
}

pub(crate) const fn status(error: &AdminError) -> StatusCode {
    match error {
        AdminError::Invalid(_) => StatusCode::BAD_REQUEST,
        AdminError::Missing(_) => StatusCode::NOT_FOUND,
        AdminError::Refused(_) => StatusCode::FORBIDDEN,
        AdminError::Conflict(_) => StatusCode::CONFLICT,
        AdminError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        AdminError::Unknown(_) => StatusCode::GATEWAY_TIMEOUT,
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
