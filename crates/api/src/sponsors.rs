//! What a person answers for: they renew it, affirm it, or take over what nobody answers for any longer; of what they
//! keep running, they say what it remembers.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use model::Memory;

use crate::pages;
use crate::people::{People, refused};

/// Where a person sees what they answer for.
const PATH: &str = "/agents";

/// The agents that the person who is logged in answers for, or may.
pub(crate) async fn page(State(state): State<People>, headers: HeaderMap) -> Response {
    let shown = async {
        let visitor = state.visitor(&headers, PATH).await?;
        let sponsored = state.administration.sponsored(visitor.by()).await;
        let sponsored = sponsored.map_err(|error| refused(&error))?;
        Ok(pages::sponsored(&visitor.page(PATH), &sponsored))
    };
    shown.await.unwrap_or_else(|response: Response| response)
}

/// Renews an agent, affirms that they answer for it, takes it over, or says what it remembers.
pub(crate) async fn answer(
    State(state): State<People>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let done = async {
        state.door()?;
        let fields = state.fields(body).await?;
        let visitor = state.sender(&headers, &fields, PATH).await?;
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let administration = &state.administration;
        let done = match field("choice") {
            "affirm" => administration.agent_affirm(visitor.by(), Vec::new(), &name).await,
            "renew" => administration.agent_renew(visitor.by(), Vec::new(), (&name, None)).await,
            "take-over" => {
                let why = field("reason").trim();
                administration.agent_take_over(visitor.by(), Vec::new(), (&name, why)).await
            }
            "forget" => {
                administration
                    .agent_memory(visitor.by(), Vec::new(), (&name, Memory::PerTask))
                    .await
            }
            "remember" => {
                administration.agent_memory(visitor.by(), Vec::new(), (&name, Memory::Kept)).await
            }
            _ => return Err(state.bad_request("choose one of what the page offers")),
        };
        done.map_err(|error| refused(&error))?;
        Ok(pages::see_other(PATH, &[]))
    };
    done.await.unwrap_or_else(|response: Response| response)
}
