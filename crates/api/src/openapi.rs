//! The OpenAPI documents of our listeners (OpenAPI Specification 3.1.1), made of the routes themselves.
//!
//! A router is built of [`Routes`], which take every route together with its [`Operation`]: nothing is
//! served that the document does not tell, and nothing told that is not served. Bodies in JSON are
//! described by the types that read and write them: OpenAPI 3.1 takes JSON Schema 2020-12 as it is
//! (§4.8.24).
//!
//! INVARIANT: `i_23_the_documents_tell_every_route_and_the_matrix_covers_it`.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Bytes;
use axum::handler::Handler;
use axum::response::IntoResponse as _;
use axum::routing::{MethodFilter, any, get, on};
use http::header;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Where each listener serves its document.
const PATH: &str = "/openapi.json";

/// The version of the specification that documents follow.
const VERSION: &str = "3.1.1";

/// Plain text.
pub(crate) const TEXT: &str = "text/plain";

/// A page for people.
pub(crate) const PAGE: &str = "text/html";

/// JSON.
pub(crate) const JSON: &str = "application/json";

/// A form (RFC 6749 Appendix B).
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// What a document says of the whole.
pub(crate) struct About {
    /// The title.
    pub(crate) title: &'static str,
    /// Who reaches it, and where.
    pub(crate) description: &'static str,
    /// How callers show who they are: names and Security Scheme Objects (§4.8.27).
    pub(crate) schemes: Value,
}

/// What one method of one path does (Operation Object, §4.8.10).
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    told: Map<String, Value>,
    answers: BTreeMap<u16, Answer>,
    schemas: Map<String, Value>,
}

/// What is told of one status (Response Object, §4.8.17).
#[derive(Clone, Debug, Default)]
struct Answer {
    when: Vec<&'static str>,
    content: Map<String, Value>,
}

/// One parameter of a form, or of a query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it says.
    pub(crate) description: &'static str,
    /// Whether nothing is answered without it.
    pub(crate) is_needed: bool,
}

/// A parameter that has to be there.
pub(crate) const fn needed(name: &'static str, description: &'static str) -> Field {
    Field { name, description, is_needed: true }
}

/// A parameter that may be left out.
pub(crate) const fn optional(name: &'static str, description: &'static str) -> Field {
    Field { name, description, is_needed: false }
}

impl Operation {
    /// The operation `id`, unique in its document, which does what `summary` says.
    pub(crate) fn new(id: &'static str, summary: &'static str) -> Self {
        let told = Map::from_iter([
            ("operationId".to_owned(), id.into()),
            ("summary".to_owned(), summary.into()),
        ]);
        Self { told, answers: BTreeMap::new(), schemas: Map::new() }
    }

    /// The same, with more to say.
    pub(crate) fn described(mut self, description: &'static str) -> Self {
        self.told.insert("description".to_owned(), description.into());
        self
    }

    /// The same, which takes JSON that a `T` is read from.
    pub(crate) fn takes<T: JsonSchema>(mut self) -> Self {
        let settings = SchemaSettings::draft2020_12().for_deserialize();
        let schema = self.schema::<T>(settings);
        self.takes_body(JSON, schema)
    }

    /// The same, which takes a form of `fields`.
    pub(crate) fn takes_form(self, fields: &[Field]) -> Self {
        let properties: Map<_, _> = fields
            .iter()
            .map(|field| {
                let text = json!({ "type": "string", "description": field.description });
                (field.name.to_owned(), text)
            })
            .collect();
        let needed = fields.iter().filter(|field| field.is_needed).map(|field| field.name);
        let needed: Vec<_> = needed.collect();
        let schema = json!({ "type": "object", "properties": properties, "required": needed });
        self.takes_body(FORM, schema)
    }

    /// The same, which takes a body of this kind.
    pub(crate) fn takes_body(mut self, kind: &'static str, schema: Value) -> Self {
        let body = json!({ "required": true, "content": content(kind, schema) });
        self.told.insert("requestBody".to_owned(), body);
        self
    }

    /// The same, which takes these parameters in its query.
    pub(crate) fn takes_query(mut self, fields: &[Field]) -> Self {
        let told = fields.iter().map(|field| {
            json!({
                "name": field.name, "in": "query", "required": field.is_needed,
                "description": field.description, "schema": { "type": "string" },
            })
        });
        self.told.insert("parameters".to_owned(), told.collect());
        self
    }

    /// The same, which answers `status` without more, `when` it is so.
    pub(crate) fn answers(mut self, status: u16, when: &'static str) -> Self {
        self.answers.entry(status).or_default().when.push(when);
        self
    }

    /// The same, which answers `status` with a body of this kind, `when` it is so.
    pub(crate) fn answers_with(
        mut self,
        (status, when): (u16, &'static str),
        kind: &'static str,
        schema: Value,
    ) -> Self {
        let answer = self.answers.entry(status).or_default();
        answer.when.push(when);
        answer.content.extend(content(kind, schema));
        self
    }

    /// The same, which answers `status` with text, `when` it is so.
    pub(crate) fn answers_text(self, status: u16, when: &'static str) -> Self {
        self.answers_with((status, when), TEXT, json!({ "type": "string" }))
    }

    /// The same, which answers `status` with a page, `when` it is so.
    pub(crate) fn answers_page(self, status: u16, when: &'static str) -> Self {
        self.answers_with((status, when), PAGE, json!({ "type": "string" }))
    }

    /// The same, which answers `status` with a `T` in JSON, `when` it is so.
    pub(crate) fn tells<T: JsonSchema>(mut self, status: u16, when: &'static str) -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let schema = self.schema::<T>(settings);
        self.answers_with((status, when), JSON, schema)
    }

    /// The same, for who shows by `scheme` who they are (Security Requirement Object, §4.8.30).
    pub(crate) fn shown_by(mut self, scheme: &'static str) -> Self {
        self.told.insert("security".to_owned(), json!([{ scheme: [] }]));
        self
    }

    /// The schema of `T`, which `schemas` hold.
    fn schema<T: JsonSchema>(&mut self, settings: SchemaSettings) -> Value {
        let settings = settings.with(|it| it.definitions_path = "/components/schemas".into());
        let mut generator = settings.into_generator();
        let schema = generator.subschema_for::<T>().to_value();
        self.schemas.extend(generator.take_definitions(true));
        schema
    }

    /// The operation of `path`, as it is written.
    fn written(mut self, path: &str) -> (Value, Map<String, Value>) {
        let inside = parameters(path).map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        });
        let inside: Vec<_> = inside.collect();
        if !inside.is_empty() {
            self = self.answers_text(400, "the path is not UTF-8");
            let all = self.told.entry("parameters").or_insert_with(|| json!([]));
            all.as_array_mut().expect("parameters are a list").extend(inside);
        }
        let answers = self.answers.into_iter().map(|(status, Answer { when, content })| {
            let mut answer = json!({ "description": when.join("; ") });
            if !content.is_empty() {
                answer["content"] = content.into();
            }
            (status.to_string(), answer)
        });
        let answers: Map<_, _> = answers.collect();
        self.told.insert("responses".to_owned(), answers.into());
        (self.told.into(), self.schemas)
    }
}

fn content(kind: &str, schema: Value) -> Map<String, Value> {
    Map::from_iter([(kind.to_owned(), json!({ "schema": schema }))])
}

/// The names of what a path leaves open.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    let open = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    open.map(|name| name.trim_start_matches('*'))
}

/// What a document tells of routes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    paths: BTreeMap<String, Map<String, Value>>,
    schemas: Map<String, Value>,
    ids: BTreeSet<String>,
}

impl Told {
    fn add(&mut self, method: &str, path: &str, operation: Operation) {
        let (operation, schemas) = operation.written(path);
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        assert!(self.ids.insert(id), "an operation's id is unique: {operation}");
        // `{*rest}` is a way of axum's to say that slashes may be in it.
        let path = path.replace("{*", "{");
        self.paths.entry(path).or_default().insert(method.to_owned(), operation);
        self.define(schemas);
    }

    fn merge(&mut self, other: Self) {
        self.paths.extend(other.paths);
        self.define(other.schemas);
    }

    /// Takes `schemas` in. One name is one schema: types of one name would hide each other.
    fn define(&mut self, schemas: Map<String, Value>) {
        for (name, schema) in schemas {
            let known = self.schemas.entry(&name).or_insert_with(|| schema.clone());
            assert_eq!(*known, schema, "there are two schemas `{name}`");
        }
    }

    /// The document (OpenAPI Object, §4.8.1).
    fn document(self, about: &About) -> Value {
        json!({
            "openapi": VERSION,
            "info": {
                "title": about.title,
                "description": about.description,
                "version": env!("CARGO_PKG_VERSION"),
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "paths": self.paths,
            "components": { "schemas": self.schemas, "securitySchemes": about.schemes },
        })
    }
}

/// A router, and what a document tells of it.
pub(crate) struct Routes<S> {
    router: Router<S>,
    told: Told,
    /// What holds for every operation.
    always: fn(Operation) -> Operation,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes yet; `always` adds what holds for every operation.
    pub(crate) fn new(always: fn(Operation) -> Operation) -> Self {
        Self { router: Router::new(), told: Told::default(), always }
    }

    /// The same, where `handler` answers `GET` at `path`.
    pub(crate) fn get<T: 'static>(
        self,
        path: &str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.on((MethodFilter::GET, "get"), path, handler, operation)
    }

    /// The same, where `handler` answers `POST` at `path`.
    pub(crate) fn post<T: 'static>(
        self,
        path: &str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.on((MethodFilter::POST, "post"), path, handler, operation)
    }

    /// The same, where `handler` answers `PUT` at `path`.
    pub(crate) fn put<T: 'static>(
        self,
        path: &str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.on((MethodFilter::PUT, "put"), path, handler, operation)
    }

    /// The same, where `handler` answers `PATCH` at `path`.
    pub(crate) fn patch<T: 'static>(
        self,
        path: &str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.on((MethodFilter::PATCH, "patch"), path, handler, operation)
    }

    /// The same, where `handler` answers `DELETE` at `path`.
    pub(crate) fn delete<T: 'static>(
        self,
        path: &str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.on((MethodFilter::DELETE, "delete"), path, handler, operation)
    }

    fn on<T: 'static>(
        mut self,
        (filter, method): (MethodFilter, &str),
        path: &str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.told.add(method, path, (self.always)(operation));
        Self { router: self.router.route(path, on(filter, handler)), ..self }
    }

    /// The same, where `handler` says that there is nothing else below `path`: no document tells of what
    /// is not there.
    pub(crate) fn nothing_else<T: 'static>(self, path: &str, handler: impl Handler<T, S>) -> Self {
        Self { router: self.router.route(path, any(handler)), ..self }
    }

    /// What a document tells of them.
    pub(crate) fn told(&self) -> Told {
        self.told.clone()
    }

    /// The router, without a document of its own.
    pub(crate) fn into_router(self) -> Router<S> {
        self.router
    }

    /// The router, which also serves the document of itself and of `others` beside it.
    pub(crate) fn with_document(
        mut self,
        about: &About,
        others: impl IntoIterator<Item = Told>,
    ) -> Router<S> {
        let own = Operation::new("openapi", "This document").answers_with(
            (200, "an OpenAPI 3.1 document"),
            JSON,
            json!({ "type": "object" }),
        );
        self.told.add("get", PATH, (self.always)(own));
        others.into_iter().for_each(|other| self.told.merge(other));
        let document = Bytes::from(self.told.document(about).to_string());
        let serve = async move || {
            let headers = [(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, "no-cache")];
            (headers, document).into_response()
        };
        self.router.route(PATH, get(serve))
    }
}
