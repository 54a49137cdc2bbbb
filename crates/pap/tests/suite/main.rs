//! Administration through its public face, over the real store.
#![allow(clippy::disallowed_methods, reason = "tests race each other")]

#[path = "../../../authority/tests/support/mod.rs"]
mod support;

mod activity;
mod budgets;
mod consent;
mod desk;
mod devices;
mod directories;
mod directory_agents;
mod directory_tokens;
mod elevations;
mod event_keys;
mod flashes;
mod founders;
mod founding;
mod furnished;
mod handed_on;
mod labels;
mod leases;
mod lifecycle;
mod lifecycle_model;
mod log;
mod matrix;
mod observed;
mod offboard;
mod owners;
mod past;
mod people;
mod policy;
mod policy_sets;
mod proved;
mod reach;
mod receiver_directories;
mod receiver_streams;
mod receiver_troubles;
mod receivers;
mod register;
mod releases;
mod replacing;
mod retail;
mod review_uses;
mod reviews;
mod risk;
mod silence;
mod sponsors;
mod stop;
mod stream_tokens;
mod streams;
mod strictness;
mod subjects;
mod token_keys;
mod tools;
mod undo;
mod widening;
