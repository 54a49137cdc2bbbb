//! Queries and their answers (RFC 7644 §3.4.2, §3.4.3).
//!
//! Nothing is sorted: `sortBy` and `sortOrder` are ignored, as is whatever else is not known.

use serde_json::{Value, json};

use crate::read::is_named;
use crate::{Error, Filter, PAGE_MAX, Projection, Resource, ResourceType, ScimType};

/// The schema of a search request (RFC 7644 §3.4.3).
const SEARCH_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// The schema of the answer (RFC 7644 §3.4.2).
const LIST_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// What a client asks of the resources of one type (RFC 7644 §3.4.2).
#[derive(Clone, Debug)]
pub struct Query {
    /// Which resources; all of them without one.
    pub filter: Option<Filter>,
    /// The first one of the page, counted from 1.
    pub start_index: usize,
    /// The most that the page may have, at most [`PAGE_MAX`]; with 0 only the total is asked.
    pub count: usize,
    /// What is shown of each.
    pub projection: Projection,
}

/// A page of what was found (RFC 7644 §3.4.2).
#[derive(Clone, Debug)]
pub struct ListResponse {
    /// How many match in all.
    pub total: usize,
    /// The first one of the page, counted from 1.
    pub start_index: usize,
    /// Those of the page, as they are shown.
    pub resources: Vec<Value>,
}

/// The parameters, by whatever way they came.
#[derive(Debug, Default)]
struct Parameters {
    filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Vec<String>,
    excluded: Vec<String>,
}

impl Query {
    /// Reads the query of a URL, without its `?`, as it was sent (RFC 7644 §3.4.2).
    pub fn of_url(query: &str, of: &'static ResourceType) -> Result<Self, Error> {
        let mut parameters = Parameters::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let names = || value.split(',').map(str::to_owned).collect();
            match &*name {
                "filter" => parameters.filter = Some(value.to_string()),
                "startIndex" => parameters.start_index = Some(integer(&name, &value)?),
                "count" => parameters.count = Some(integer(&name, &value)?),
                "attributes" => parameters.attributes = names(),
                "excludedAttributes" => parameters.excluded = names(),
                _ => continue,
            }
            if seen.contains(&name) {
                return Err(invalid(format!("`{name}` is there twice")));
            }
            seen.push(name);
        }
        parameters.read(of)
    }

    /// The same, of what is left of the page after `before` resources of other types that match, of which
    /// the page has `taken` (RFC 7644 §3.4.3: a page goes on from one type to the next).
    #[must_use]
    pub fn after(self, before: usize, taken: usize) -> Self {
        let first = (self.start_index - 1).saturating_sub(before);
        Self { start_index: first + 1, count: self.count.saturating_sub(taken), ..self }
    }

    /// Reads the body of a request to `.search` (RFC 7644 §3.4.3).
    pub fn of_search(body: &Value, of: &'static ResourceType) -> Result<Self, Error> {
        let syntax = |detail: &str| Error::new(ScimType::InvalidSyntax, detail);
        let body = body.as_object().ok_or_else(|| syntax("the request is not a JSON object"))?;
        let mut parameters = Parameters::default();
        let mut is_search = false;
        for (name, value) in body.iter().filter(|(_, value)| !value.is_null()) {
            let wrong = || invalid(format!("`{name}` is not of its type"));
            let names = || -> Result<Vec<String>, Error> {
                let names = value.as_array().ok_or_else(wrong)?.iter();
                names.map(|name| Ok(name.as_str().ok_or_else(wrong)?.to_owned())).collect()
            };
            match name.to_ascii_lowercase().as_str() {
                "schemas" => is_search = is_named(value, SEARCH_REQUEST),
                "filter" => {
                    parameters.filter = Some(value.as_str().ok_or_else(wrong)?.to_owned());
                }
                "startindex" => {
                    parameters.start_index = Some(value.as_i64().ok_or_else(wrong)?);
                }
                "count" => parameters.count = Some(value.as_i64().ok_or_else(wrong)?),
                "attributes" => parameters.attributes = names()?,
                "excludedattributes" => parameters.excluded = names()?,
                _ => {}
            }
        }
        if !is_search {
            return Err(syntax(&format!("`schemas` does not name `{SEARCH_REQUEST}`")));
        }
        parameters.read(of)
    }
}

impl Parameters {
    fn read(&self, of: &'static ResourceType) -> Result<Query, Error> {
        let filter = self.filter.as_deref().map(|text| Filter::parse(text, of)).transpose()?;
        let index = |given: i64| usize::try_from(given).unwrap_or(0);
        let (attributes, excluded) = (given(&self.attributes), given(&self.excluded));
        Ok(Query {
            filter,
            start_index: self.start_index.map_or(1, index).max(1),
            count: self.count.map_or(PAGE_MAX, index).min(PAGE_MAX),
            projection: Projection::of_names(&attributes, &excluded, of)?,
        })
    }
}

impl ListResponse {
    /// The page of `query` in which `resources` are, of `total` that match.
    pub fn of(query: &Query, total: usize, resources: Vec<Resource>) -> Self {
        let mut page = Self { total: 0, start_index: query.start_index, resources: Vec::new() };
        page.add(query, total, resources);
        page
    }

    /// Adds `resources` as `query` shows them, of `total` more that match.
    pub fn add(&mut self, query: &Query, total: usize, resources: Vec<Resource>) {
        let shown = |resource| Value::Object(query.projection.apply(resource));
        self.total += total;
        self.resources.extend(resources.into_iter().map(shown));
    }

    /// The page that has everything there is: the answer of `/Schemas` and `/ResourceTypes`
    /// (RFC 7644 §4).
    pub fn whole(resources: Vec<Value>) -> Self {
        Self { total: resources.len(), start_index: 1, resources }
    }

    /// The body of the response.
    pub fn into_json(self) -> Value {
        json!({
            "schemas": [LIST_RESPONSE],
            "totalResults": self.total,
            "startIndex": self.start_index,
            "itemsPerPage": self.resources.len(),
            "Resources": self.resources,
        })
    }
}

/// The names of a list, without empty ones.
fn given(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).filter(|name| !name.trim().is_empty()).collect()
}

fn integer(name: &str, value: &str) -> Result<i64, Error> {
    value.parse().map_err(|_| invalid(format!("`{name}` is not an integer")))
}

fn invalid(detail: String) -> Error {
    Error::new(ScimType::InvalidValue, detail)
}
