//! The terminal of a device that a person is to enrol.

use std::process::Command;

use crate::{Child, Deployment, Page, binary};

/// What the terminal of the device shows.
#[derive(Debug)]
pub struct Terminal {
    /// `chancery login`, which waits.
    pub login: Child,
    /// The beginning of the device's key.
    pub fingerprint: String,
    /// The page that a person is to open.
    pub page: String,
    /// The code that they are to type there.
    pub code: String,
}

impl Terminal {
    /// Begins to log in as the page of the documentation shows, as the user whose home is `laptop` below
    /// the deployment's directory.
    pub fn open(deployment: &Deployment) -> Self {
        let blocks = Page::read("enrolment.md", &[]).blocks("sh");
        let [block] = blocks.as_slice() else { panic!("one command is shown: {blocks:?}") };
        let bin = binary().parent().expect("a directory").display().to_string();
        let mut shell = Command::new("sh");
        shell.args(["-ec", block]).env_remove("XDG_STATE_HOME");
        shell.env("HOME", deployment.path("laptop"));
        shell.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap_or_default()));
        shell.env("CHANCERY_URL", deployment.url());
        let mut fingerprint = String::new();
        let (login, (page, code)) = Child::start_and_read(&mut shell, |line| {
            if let Some((_, key)) = line.split_once(", key ") {
                key.clone_into(&mut fingerprint);
            }
            let asked = line.strip_prefix("open ")?.split_once(" and type the code ")?;
            Some((asked.0.to_owned(), asked.1.to_owned()))
        });
        Self { login, fingerprint, page, code }
    }

    /// Waits until it has learned what became of it; says whether it was enrolled.
    pub fn is_enrolled(mut self) -> bool {
        crate::wait_until("the device learns it", || self.login.ended()).success()
    }
}
