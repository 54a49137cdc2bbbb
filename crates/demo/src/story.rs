//! Tells what happens, step by step, in plain words, and keeps the score.

use std::fmt::Write as _;

/// What was told so far, and how it went.
#[derive(Debug, Default)]
pub(crate) struct Story(Vec<Told>);

/// One step and why it did not go as told, if it did not.
#[derive(Debug)]
struct Told {
    title: &'static str,
    wrong: Option<String>,
}

impl Story {
    /// Plays one step and says how it went. What comes later is played all the same.
    pub(crate) async fn step(
        &mut self,
        title: &'static str,
        play: impl Future<Output = anyhow::Result<()>>,
    ) {
        println!("\n{:>2}. {title}", self.0.len());
        let wrong = play.await.err().map(|error| format!("{error:#}"));
        match &wrong {
            None => println!("    \u{2713} as told"),
            Some(why) => println!("    \u{2717} not as told: {why}"),
        }
        self.0.push(Told { title, wrong });
    }

    /// Whether every step so far went as told.
    pub(crate) fn is_as_told(&self) -> bool {
        self.0.iter().all(|told| told.wrong.is_none())
    }

    /// Prints the score.
    pub(crate) fn sum_up(&self) {
        println!("\n{}", self.summary());
    }

    fn summary(&self) -> String {
        let width = self.0.iter().map(|told| told.title.len()).max().unwrap_or(0);
        let mut table = String::from("Summary\n");
        for (number, told) in self.0.iter().enumerate() {
            let (mark, how) = match &told.wrong {
                None => ('\u{2713}', "as told"),
                Some(_) => ('\u{2717}', "NOT as told"),
            };
            let title = told.title;
            // Writing to a text cannot fail.
            let _ = writeln!(table, "{number:>4}  {title:<width$}  {mark} {how}");
        }
        let wrong = self.0.iter().filter(|told| told.wrong.is_some()).count();
        let all = self.0.len();
        let verdict = if wrong == 0 {
            format!("All {all} steps went as told.")
        } else {
            format!("{wrong} of {all} steps did not go as told.")
        };
        table + &verdict
    }
}

/// Prints one or more lines of what happens.
pub(crate) fn say(text: &str) {
    text.lines().for_each(|line| println!("    {line}"));
}

#[cfg(test)]
mod tests {
    use super::Story;

    async fn told(steps: &[(&'static str, bool)]) -> Story {
        let mut story = Story::default();
        for (title, holds) in steps {
            let play = async { if *holds { Ok(()) } else { Err(anyhow::anyhow!("it did not")) } };
            story.step(title, play).await;
        }
        story
    }

    #[tokio::test]
    async fn one_step_that_is_not_as_told_spoils_the_whole() {
        let story = told(&[("First", true), ("The second", false), ("Third", true)]).await;
        assert!(!story.is_as_told());
        assert_eq!(
            story.summary(),
            "Summary\n   0  First       \u{2713} as told\n   1  The second  \u{2717} NOT as told\n   \
             2  Third       \u{2713} as told\n1 of 3 steps did not go as told."
        );
    }

    #[tokio::test]
    async fn all_as_told_is_as_told() {
        let story = told(&[("First", true), ("Second", true)]).await;
        assert!(story.is_as_told());
        assert!(story.summary().ends_with("All 2 steps went as told."));
    }
}
