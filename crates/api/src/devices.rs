//! Enrolling a device: a person types the code that it shows, reads what it asks, and answers.
//!
//! No link has the code in it: who could send one would have it answered by a single click (RFC 8628
//! §5.4).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use model::DeviceAsked;
use sts::NoDevice;

use crate::pages;
use crate::people::{People, Visitor, refused};

/// Where a person types the code.
const PATH: &str = "/device";

/// Where one types the code that a device shows.
pub(crate) async fn page(State(state): State<People>, headers: HeaderMap) -> Response {
    let shown = async {
        let visitor = state.visitor(&headers, PATH).await?;
        Ok(pages::device_code(&visitor.page(PATH)))
    };
    shown.await.unwrap_or_else(|response: Response| response)
}

/// What the device asks that shows the code; with a choice, the answer to that.
pub(crate) async fn answer(
    State(state): State<People>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answered = async {
        state.door()?;
        let fields = state.fields(body).await?;
        let visitor = state.sender(&headers, &fields, PATH).await?;
        let field = |name: &str| fields.get(name).map(String::as_str);
        let code = field("code").unwrap_or_default();
        let asked = asked(&state, &visitor, code)?;
        let administration = &state.administration;
        match field("choice") {
            None => {
                let terms = administration.device_show(visitor.by(), &asked).await;
                let terms = terms.map_err(|error| refused(&error))?;
                Ok(pages::device(&visitor.page(PATH), code, &terms))
            }
            Some("refuse") => {
                administration.refuse_person("device_refused");
                state.tokens.device_answered(&asked, false);
                Ok(pages::told(StatusCode::OK, "Answered", "you refused: the device is told so"))
            }
            Some("enrol") => {
                let shown = field("shown").unwrap_or_default();
                let device = administration.device_enrol(visitor.by(), (&asked, shown)).await;
                let device = device.map_err(|error| refused(&error))?;
                state.tokens.device_answered(&asked, true);
                Ok(pages::enrolled(&device))
            }
            Some(_) => Err(state.bad_request("choose one of what the page offers")),
        }
    };
    answered.await.unwrap_or_else(|response: Response| response)
}

/// What the device asks that shows `code`.
#[expect(clippy::result_large_err, reason = "what is refused is a whole page")]
fn asked(state: &People, visitor: &Visitor, code: &str) -> Result<DeviceAsked, Response> {
    state.tokens.device_asked(&visitor.person, code).map_err(|error| {
        let (status, cause) = match error {
            NoDevice::Unknown => (StatusCode::NOT_FOUND, "device_unknown"),
            NoDevice::TooMany => (StatusCode::TOO_MANY_REQUESTS, "device_codes_tried"),
        };
        state.administration.refuse_person(cause);
        pages::told(status, "Not done", &error.to_string())
    })
}
