//! The `chancery` binary: reads what was typed and what is configured, wires the parts, serves.
#![allow(
    clippy::disallowed_methods,
    reason = "the binary is where time, randomness and the environment come from"
)]

mod administer;
mod anchors;
mod attestation;
mod cli;
mod config;
mod demonstrate;
mod dev;
mod difference;
mod directories;
mod doctor;
mod drill;
mod elevations;
mod enrol;
mod explain;
mod findings;
mod folder;
mod founders;
mod founding;
mod host;
mod initiate;
mod isolate;
mod junit;
mod listener;
mod log;
mod login;
mod managing;
mod note_signer;
mod offboard;
mod own_process;
mod people;
mod places;
mod plan;
mod policy;
mod policy_set;
mod polling;
mod prove;
mod purposes;
mod reach;
mod receivers;
mod register;
mod releases;
mod reload;
mod replay;
mod reviews;
mod risks;
mod serve;
mod sets;
mod shim;
mod shown;
mod signals;
mod socket;
mod sources;
mod status;
mod stop_signals;
mod stops;
mod strangers;
mod streams;
mod suggest;
mod system;
mod tls;
mod tokens;
mod transmitter;
mod unattended;
mod verifying;
mod watched;
mod words;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use cli::{Cli, Command, Stream, System};
use config::Config;
use nix::sys::stat::Mode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After how many polls of tasks a thread looks whether somebody has sent something. A poll of ours
/// is long (a proof is verified, a request decided): by the library's usual number, a quiet caller
/// would be heard only after dozens of a flooding one's.
const EVENTS_EVERY: u32 = 5;

/// What went wrong was asked for wrongly, or refused.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread, and nothing opened: what it becomes is somebody else's program.
    if let Command::Isolate(typed) = &cli.command {
        return isolate::run(typed);
    }
    own_process::printing(|| run_and_tell(cli.command))
}

/// Does what was asked for, and says what went wrong.
fn run_and_tell(command: Command) -> ExitCode {
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    assert!(installed.is_ok(), "nothing installed a provider before");
    // Whatever is written is its owner's alone, unless somebody says otherwise.
    nix::sys::stat::umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let ran = runtime(&command).and_then(|runtime| runtime.block_on(run(command)));
    match ran {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chancery: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// The threads that `command` runs on.
fn runtime(command: &Command) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Command::Serve(file) = command
        && let Some(threads) = configured(&file.config)?.limits.worker_threads
    {
        builder.worker_threads(threads);
    }
    builder.event_interval(EVENTS_EVERY).enable_all().build().context("could not start")
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(init) => {
            let founded = founding::init(&init.dir, &init.founders, init.development).await?;
            founded.print(&init.dir);
        }
        Command::Serve(file) => serve::serve(configured(&file.config)?).await?,
        Command::CheckConfig(file) => {
            let config = config::read(&file.config, system::environment().into_iter())?;
            let servers = isolate::settle(&config);
            sources::routes(&config, &isolate::launchers(&servers))?;
            for told in isolate::warnings(&servers) {
                eprintln!("chancery: {told}");
            }
            config.tls.as_ref().map(tls::acceptor).transpose()?;
            let clock: std::sync::Arc<dyn model::Clock> =
                std::sync::Arc::new(system::SystemClock::new());
            attestation::platforms(&config, &clock, &tokio_util::task::TaskTracker::new())?;
            let entropy: std::sync::Arc<dyn model::Entropy> =
                std::sync::Arc::new(system::SystemEntropy::new());
            // How the deployment was founded, its database tells when it is served.
            login::door(&config, true, (&clock, &entropy))?;
            match &config.policy.path {
                Some(path) => {
                    let held = policy::held(&policy_set::PolicySet::read(path)?)?;
                    println!("the configuration is in order, {held} cases of policy hold");
                    eprintln!(
                        "chancery: policy is read from files that nobody signs (`policy.allow_loose`), in a deployment for development only"
                    );
                }
                None if config.policy.starter => println!(
                    "the configuration is in order; policy is the starter policy, by which agents call nothing"
                ),
                None => println!("the configuration is in order; policy is the active release"),
            }
        }
        Command::ConfigSchema => println!("{}", serde_json::to_string_pretty(&config::schema())?),
        Command::Dev(dev) => dev::run(dev).await?,
        Command::Demo(demo) => return demonstrate::run(demo.keep).await,
        Command::DemoServer(server) => demonstrate::serve_tools(server).await?,
        Command::Mcp(mcp) => {
            logging("warn", false);
            shim::run(shim::Options::typed(mcp)?).await?;
        }
        Command::Doctor(doctor) => return doctor::run(doctor).await,
        Command::Login(login) => enrol::run(login).await?,
        Command::Holder(holder) => shim::hold(holder).await?,
        Command::Drill(drill) => return drill::run(drill).await,
        Command::Log(log) => return log::run(log).await,
        Command::Reach(typed) => reach::run(typed).await?,
        Command::Unattended(typed) => unattended::run(typed).await?,
        Command::Suggest(typed) => return suggest::run(typed).await,
        Command::Register(register) => register::run(register).await?,
        Command::Policy(typed) => return policy::run(typed).await,
        Command::Review(review) => reviews::run(review).await?,
        Command::Offboard(offboard) => return offboard::run(offboard).await,
        Command::Completions { shell } => {
            // Where standard output takes no more, it would panic in words of its own.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "chancery", &mut script);
            print!("{}", String::from_utf8_lossy(&script));
        }
        Command::Stream(Stream::Manage(typed)) => return Box::pin(managing::run(typed)).await,
        Command::System(System::Initiate(initiate)) => initiate::run(initiate)?,
        Command::People(typed) if let Some(done) = people::offline(&typed) => done?,
        other => administer::run(other).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration at `path`; logging is set up as it says.
fn configured(path: &std::path::Path) -> anyhow::Result<Config> {
    let config = config::read(path, system::environment().into_iter())?;
    logging(&config.logging.level, config.logging.json);
    Ok(config)
}

/// Logs go to standard error: standard output is for what was asked for.
pub(crate) fn logging(level: &str, json: bool) {
    let filter = tracing_subscriber::EnvFilter::new(level);
    // What cannot be written is lost: telling standard error that it is full would panic.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.log_internal_errors(false).with_ansi(std::io::stderr().is_terminal());
    // A second call changes nothing: `dev` sets it up before it serves.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
