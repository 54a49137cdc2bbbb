//! `scim-import`: a whole organisation is told by its directory, one request for each person.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use crate::deployment::Deployment;
use crate::directory::{Directory, say};
use crate::governed::{Programs, progress};
use crate::http::Connection;
use crate::load;
use crate::report::{Goal, Round, Row};
use crate::upstream::Upstream;

const ROUNDS: usize = 3;

/// How many people there are.
const PEOPLE: usize = 100_000;

/// How many requests are under way at once, each on a connection of its own.
const CLIENTS: usize = 32;

/// After how many it is said how far it is.
const STEP: usize = 20_000;

/// How long it may take at most, in seconds.
const LIMIT_S: f64 = 90.0;

/// Measures the row.
pub(crate) fn measure(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let dir = dir.join(format!("round-{round}"));
        std::fs::create_dir(&dir)?;
        let upstream = Upstream::start()?;
        let deployment = Deployment::start(&dir, &programs.chancery, upstream.port, "")?;
        let directory = Directory::register(&deployment)?;
        let value = load::on_load_core(import(Rc::new(directory)))?;
        progress(&format!("{value:.1} s"));
        rounds.push(Round { value, ratio: value / LIMIT_S });
    }
    let against = format!("{LIMIT_S:.0} s for {PEOPLE} people by {CLIENTS} clients");
    let goal = Goal { value_at_most: Some(LIMIT_S), ..Goal::default() };
    Ok(Row::new("scim-import", "s", rounds).against(against).wants(goal))
}

/// How long it takes until everybody is known, in seconds.
async fn import(directory: Rc<Directory>) -> anyhow::Result<f64> {
    let (started, next) = (Instant::now(), Rc::new(Cell::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::task::spawn_local(client(directory.clone(), next.clone(), started)))
        .collect();
    for client in clients {
        client.await??;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Tells of one person after the other, until all are told of.
async fn client(
    directory: Rc<Directory>,
    next: Rc<Cell<usize>>,
    started: Instant,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(directory.port).await?;
    loop {
        let number = next.replace(next.get() + 1);
        if number >= PEOPLE {
            return Ok(());
        }
        if number.is_multiple_of(STEP) && number > 0 {
            progress(&format!("{number} people, {:.1} s", started.elapsed().as_secs_f64()));
        }
        say(&mut connection, &directory.new_user(&format!("p{number}")), 201).await?;
    }
}
