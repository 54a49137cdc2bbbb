//! A directory of policy as it stands at one moment: nothing that takes its place, or that of a file in it, is mixed
//! with it, and nothing in it is passed over that somebody may have meant.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, bail, ensure};

/// The most files in one directory.
const FILES_MAX: usize = 2_000;

/// The most that is read of a directory with those in it, in bytes.
const BYTES_MAX: u64 = 32 << 20;

/// How often a directory is read that changes meanwhile.
const READINGS_MAX: usize = 4;

/// What may lie beside any policy, and is none.
const BESIDE_ALL: [&str; 2] = ["LICENSE", "README.md"];

/// A directory that was opened: it is read by what was opened, whatever stands at its path by then.
pub(crate) struct Folder {
    /// As it was named.
    path: PathBuf,
    handle: File,
    reading: Rc<RefCell<Reading>>,
}

/// What was read so far, of a directory and those in it.
#[derive(Default)]
struct Reading {
    bytes: u64,
    /// What stood where, as it was opened.
    stood: BTreeMap<PathBuf, Stamp>,
}

/// By what one knows a file or directory again, and that it is as it was.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    number: (u64, u64),
    /// When it last changed, in seconds and nanoseconds.
    changed: (i64, i64),
    bytes: u64,
}

impl Stamp {
    fn of(it: &Metadata) -> Self {
        let (number, changed) = ((it.dev(), it.ino()), (it.ctime(), it.ctime_nsec()));
        Self { number, changed, bytes: it.len() }
    }
}

impl Reading {
    /// Whether all that was read still stands there as it was.
    fn stands(&self) -> bool {
        let is_same = |(path, stamp): (&PathBuf, &Stamp)| {
            path.metadata().is_ok_and(|it| Stamp::of(&it) == *stamp)
        };
        self.stood.iter().all(is_same)
    }
}

impl Folder {
    /// What `read` makes of the directory at `path`, and of no other, as it stands at one moment.
    ///
    /// # Errors
    /// It cannot be read, or `read` refuses it; or it, or what was read in it, changed each time.
    pub(crate) fn read<T>(
        path: &Path,
        mut read: impl FnMut(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        for _ in 0..READINGS_MAX {
            let reading = Rc::default();
            let folder = Self::open(path, path.to_owned(), &reading)?;
            let made = read(&folder);
            // Of one that is being cleared away, something may have been gone already.
            if reading.borrow().stands() {
                return made;
            }
        }
        bail!("`{}`, or what is in it, changes each time it is read: try again", path.display())
    }

    fn open(place: &Path, path: PathBuf, reading: &Rc<RefCell<Reading>>) -> anyhow::Result<Self> {
        let handle = opened(place, (path.as_path(), reading))?;
        Ok(Self { path, handle, reading: reading.clone() })
    }

    /// The directory `name` in it.
    pub(crate) fn within(&self, name: &str) -> anyhow::Result<Self> {
        Self::open(&self.place(name), self.path.join(name), &self.reading)
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
        let unread =
            || format!("could not read the directory `{shown}`: name one that this user may read");
        for entry in entries.with_context(unread)? {
            let name = entry?.file_name();
            let told = name.to_string_lossy();
            if is_passed_over(&told) {
                continue;
            }
            let Some(name) = name.to_str() else {
                bail!(
                    "the name of `{shown}/{}` is not UTF-8: give it another",
                    told.escape_debug()
                );
            };
            // It is told at terminals.
            ensure!(
                !name.contains(char::is_control),
                "the name of `{shown}/{}` has control characters: give it another",
                told.escape_debug()
            );
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
        let (path, shown) = (self.path.join(name), self.shown(name));
        let file = opened(&self.place(name), (path.as_path(), &self.reading))?;
        let is_file = file.metadata().is_ok_and(|it| it.is_file());
        ensure!(is_file, "`{shown}` is no file: write it as one, or move it elsewhere");
        let left = BYTES_MAX - self.reading.borrow().bytes;
        let mut text = Vec::new();
        let read = file.take(left + 1).read_to_end(&mut text);
        let unread = || format!("could not read `{shown}`: try again, or write it anew");
        let bytes = read.with_context(unread)? as u64;
        ensure!(
            bytes <= left,
            "with `{shown}` there are more than {BYTES_MAX} bytes of policy: move elsewhere what is none"
        );
        self.reading.borrow_mut().bytes += bytes;
        let no_text = || format!("could not read `{shown}`: write it as text in UTF-8");
        String::from_utf8(text).with_context(no_text)
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

/// What is at `place`, which was named `path`, opened to be read. A pipe without a writer holds nothing up.
fn opened(place: &Path, (path, reading): (&Path, &Rc<RefCell<Reading>>)) -> anyhow::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(place);
    let file = file.and_then(|file| {
        let stamp = Stamp::of(&file.metadata()?);
        reading.borrow_mut().stood.entry(path.to_owned()).or_insert(stamp);
        Ok(file)
    });
    file.with_context(|| {
        let shown = path.display();
        format!(
            "could not read `{shown}`: see that it is there for this user to read, or remove it"
        )
    })
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

    /// A file of a set is swapped as the whole is: by a link beside it, or by another that takes its place.
    #[test]
    fn what_changes_in_it_is_read_again_and_never_mixed() {
        let by_link_within: Swap = |path, _| by_link(&path.join("..data"), "../two");
        let by_writing: Swap = |path, two| {
            for name in ["a.cedar", "b.cedar"] {
                fs::write(path.join(name), format!("{two} written")).expect("it can be written");
            }
        };
        let by_moving_within: Swap = |path, two| {
            for name in ["b.cedar", "a.cedar"] {
                let from = path.with_file_name(two).join(name);
                fs::rename(from, path.join(name)).expect("it can be moved");
            }
        };
        for (swap, last) in
            [(by_link_within, "two"), (by_writing, "two written"), (by_moving_within, "two")]
        {
            let home = home();
            let (path, mut read) = (home.path().join("mounted"), Vec::new());
            fs::create_dir(&path).expect("it can be made");
            symlink("../one", path.join("..data")).expect("it can be made");
            for name in ["a.cedar", "b.cedar"] {
                symlink(format!("..data/{name}"), path.join(name)).expect("it can be made");
            }
            let made = Folder::read(&path, |folder| {
                let first = folder.text("a.cedar")?;
                if read.is_empty() {
                    swap(&path, "two");
                }
                read.push((first, folder.text("b.cedar")?));
                Ok(read.len())
            });
            assert_eq!(made.expect("it stays"), 2);
            assert_eq!(read[1], (last.to_owned(), last.to_owned()));
        }
    }

    /// Whoever may write there stops nobody, nor fills their memory.
    #[test]
    fn what_is_no_file_or_never_ends_is_refused() {
        let home = home();
        let path = home.path().join("one");
        let pipe = path.join("pipe.cedar");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("it can be made");
        fs::create_dir(path.join("dir.cedar")).expect("it can be made");
        symlink("nowhere.cedar", path.join("link.cedar")).expect("it can be made");
        // Nothing is ever kept at its first byte.
        symlink("/proc/self/mem", path.join("fails.cedar")).expect("it can be made");
        fs::write(path.join("bytes.cedar"), [0xff]).expect("it can be written");
        let large = File::create(path.join("large.cedar")).expect("it can be made");
        large.set_len(BYTES_MAX + 1).expect("it can be made longer");
        for (name, why) in [
            ("pipe.cedar", "is no file"),
            ("dir.cedar", "is no file"),
            ("link.cedar", "see that it is there for this user to read, or remove it"),
            ("fails.cedar", "try again, or write it anew"),
            ("bytes.cedar", "write it as text in UTF-8"),
            ("large.cedar", "bytes of policy"),
        ] {
            let read = Folder::read(&path, |folder| folder.text(name));
            let told = read.expect_err(name).to_string();
            assert!(told.contains(name) && told.contains(why), "{told}");
        }
        let told = Folder::read(&path.join("a.cedar"), Folder::names).expect_err("it is a file");
        assert!(told.to_string().contains("a.cedar`: name one that this user may read"), "{told}");
        // So many are as much as one that is as long as all of them.
        large.set_len(BYTES_MAX).expect("it can be made shorter");
        let both = |folder: &Folder| Ok((folder.text("large.cedar")?, folder.text("a.cedar")?));
        let told = Folder::read(&path, both).expect_err("one is too much").to_string();
        assert!(told.contains("a.cedar") && told.contains("bytes of policy"), "{told}");
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
