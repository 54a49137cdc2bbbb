//! Keys: what is a key, what a file may hold and who may read it, what is sealed and never shown.

mod events;
mod files;
mod jwks;
mod sealing;
mod secrets;
