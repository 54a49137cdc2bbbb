//! A directory of policy as it stands at one moment: nothing that takes its place is mixed with it, and nothing in it
//! is passed over that somebody may have meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

/// The most files in one directory.
const FILES_MAX: usize = 2_000;

/// How often a directory is read that another one takes the place of meanwhile.
const READINGS_MAX: usize = 4;

/// What may lie beside any policy, and is none.
const BESIDE_ALL: [&str; 2] = ["LICENSE", "README.md"];

/// A directory that was opened: it is read by what was opened, whatever stands at its path by then.
pub(crate) struct Folder {
    /// As it was named.
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// What `read` makes of the directory at `path`, and of no other.
    ///
    /// # Errors
    /// It cannot be read, or `read` refuses it; or another one took its place each time.
    pub(crate) fn read<T>(
        path: &Path,
        mut read: impl FnMut(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        for _ in 0..READINGS_MAX {
            let folder = Self::open(path, path.to_owned())?;
            let made = read(&folder);
            // Of one that is being cleared away, something may have been gone already.
            if folder.is_at(path) {
                return made;
            }
        }
        bail!(
            "another directory takes the place of `{}` each time it is read: try again",
            path.display()
        )
    }

    fn open(place: &Path, path: PathBuf) -> anyhow::Result<Self> {
        let shown = path.display();
        let handle = File::open(place).with_context(|| format!("could not read `{shown}`"))?;
        Ok(Self { path, handle })
    }

    /// The directory `name` in it.
    pub(crate) fn within(&self, name: &str) -> anyhow::Result<Self> {
        Self::open(&self.place(name), self.path.join(name))
    }

    /// Whether it is what stands at `path`.
    fn is_at(&self, path: &Path) -> bool {
        let number = |it: Metadata| (it.dev(), it.ino());
        let stands = path.metadata().map(number);
        matches!((self.handle.metadata().map(number), stands), (Ok(own), Ok(there)) if own == there)
    }

    /// Where `name` is in what was opened.
    fn place(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.handle.as_raw_fd()))
    }

    /// Where it is, as it was named.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where `name` is, for people.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// What is in it, but for what is hidden, what editors leave, and what may lie beside any policy.
    pub(crate) fn names(&self) -> anyhow::Result<BTreeSet<String>> {
        let shown = self.path.display();
        let entries = fs::read_dir(self.place(""));
        let mut names = BTreeSet::new();
        for entry in entries.with_context(|| format!("could not read the directory `{shown}`"))? {
            let name = entry?.file_name();
            let told = name.to_string_lossy();
            if is_passed_over(&told) {
                continue;
            }
            let Some(name) = name.to_str() else {
                bail!("the name of `{shown}/{told}` is not UTF-8: give it another");
            };
            names.insert(name.to_owned());
            ensure!(
                names.len() <= FILES_MAX,
                "`{shown}` has more than {FILES_MAX} files: put several into one"
            );
        }
        Ok(names)
    }

    /// The text of the file `name`: what is none, a device or a pipe that somebody links to, may never end.
    pub(crate) fn text(&self, name: &str) -> anyhow::Result<String> {
        let (place, shown) = (self.place(name), self.shown(name));
        let unread = || format!("could not read `{shown}`");
        let is_file = place.metadata().with_context(unread)?.is_file();
        ensure!(is_file, "could not read `{shown}`: it is no file");
        fs::read_to_string(place).with_context(unread)
    }

    /// The texts of all that is in it, by name: what is no file with this extension would never be read, as if it held.
    pub(crate) fn all(&self, extension: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let mut texts = BTreeMap::new();
        for name in self.names()? {
            let is_read = is_of(&name, extension) && self.place(&name).is_file();
            let shown = self.shown(&name);
            ensure!(
                is_read,
                "`{shown}` is not read: name it `*.{extension}`, or move it elsewhere"
            );
            texts.insert(name.clone(), self.text(&name)?);
        }
        Ok(texts)
    }
}

/// Whether a file of this name has that extension.
pub(crate) fn is_of(name: &str, extension: &str) -> bool {
    !name.starts_with('.') && Path::new(name).extension().is_some_and(|it| it == extension)
}

/// Whether nobody means what is called so to be read. What is hidden and is named as a policy is may be meant.
fn is_passed_over(name: &str) -> bool {
    let is_policy = Path::new(name).extension().is_some_and(|it| it == "cedar");
    let is_hidden = name.starts_with('.') && (!is_policy || name.starts_with(".#"));
    let is_left = name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'));
    is_hidden || is_left || BESIDE_ALL.contains(&name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Puts the directory `two` at a path, in place of `one`.
    type Swap = fn(&Path, &str);

    fn by_link(path: &Path, two: &str) {
        let link = path.with_file_name("link");
        symlink(two, &link).expect("it can be made");
        fs::rename(&link, path).expect("it can be swapped");
    }

    fn by_moving(path: &Path, two: &str) {
        fs::rename(path, path.with_file_name("gone")).expect("it can be moved");
        fs::rename(path.with_file_name(two), path).expect("it can be moved");
    }

    /// Two directories of the same files that say which they are of, and a link to the first.
    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a directory can be made");
        for set in ["one", "two"] {
            let dir = home.path().join(set);
            fs::create_dir(&dir).expect("it can be made");
            for name in ["a.cedar", "b.cedar"] {
                fs::write(dir.join(name), set).expect("it can be written");
            }
        }
        symlink("one", home.path().join("set")).expect("it can be made");
        home
    }

    #[test]
    fn what_is_swapped_is_read_again_and_never_mixed() {
        let ways: [(&str, Swap); 2] = [("set", by_link), ("one", by_moving)];
        for (name, swap) in ways {
            let home = home();
            let (path, mut read) = (home.path().join(name), Vec::new());
            let last = Folder::read(&path, |folder| {
                let first = folder.text("a.cedar")?;
                if read.is_empty() {
                    swap(&path, "two");
                }
                read.push((first, folder.text("b.cedar")?));
                Ok(read.len())
            });
            assert_eq!(last.expect("it stays"), 2);
            let both = |of: &str| (of.to_owned(), of.to_owned());
            assert_eq!(read, [both("one"), both("two")]);
        }
    }

    #[test]
    fn what_never_stays_is_refused() {
        let home = home();
        let path = home.path().join("set");
        let mut sets = ["two", "one"].iter().cycle();
        let read = Folder::read(&path, |_| {
            by_link(&path, sets.next().expect("it goes round"));
            Ok(())
        });
        let why = read.expect_err("it never stays").to_string();
        assert!(why.contains("each time it is read: try again"), "{why}");
    }
}
