//! OAuth on the wire: what is accepted, and what every known attack gets.

mod access_tokens;
mod assertions;
mod authorization;
mod exchange;
mod forms;
mod jose;
mod metadata;
mod proofs;
mod support;
