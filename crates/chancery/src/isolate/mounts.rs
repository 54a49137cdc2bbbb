//! A server's own view of the files, in a mount namespace: all of it read-only but its own
//! temporary directory and what it may write, none of what is protected, no devices but the
//! harmless ones, no sockets of the system's services.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};

use super::{Isolation, OWN_TMP, is_below};

/// The devices that it has.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Links in `/dev` that programs look for.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The most files in its temporary directory.
const TMP_FILES_MAX: u32 = 262_144;

/// Where names are looked up; it is often a link to a place that is not shown.
const RESOLVER: &str = "/etc/resolv.conf";

/// One line of `/proc/self/mountinfo` (proc(5)).
struct Mounted {
    device: String,
    /// The directory of that file system that is seen.
    root: PathBuf,
    /// Where it is seen.
    point: PathBuf,
    options: String,
}

/// Something of the old view, held open for the new one.
struct Held {
    path: PathBuf,
    file: OwnedFd,
}

/// Builds the view of a server whose files belong to `owner` (uid and gid).
pub(super) fn build(isolation: &Isolation, owner: (u32, u32)) -> anyhow::Result<()> {
    let dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    put(None, "/", None, private, None).context("could not take the mounts as its own")?;
    let writes = isolation.writes.iter().map(|path| Held::open(path));
    let writes: Vec<_> = writes.collect::<anyhow::Result<_>>()?;
    let resolver = std::fs::canonicalize(RESOLVER).ok();
    let resolver = resolver.filter(|path| path.starts_with("/run"));
    let resolver = resolver.map(|path| Held::open(&path)).transpose()?;
    let devices = DEVICES.map(|name| Held::open(&Path::new("/dev").join(name)));
    let devices: Vec<_> = devices.into_iter().collect::<anyhow::Result<_>>()?;

    cover(&isolation.protected)?;
    let (size, (uid, gid)) = (isolation.limits.memory_mb, owner);
    let own = format!("mode=700,uid={uid},gid={gid},size={size}m,nr_inodes={TMP_FILES_MAX}");
    tmpfs(Path::new("/tmp"), &own)?;
    bind(Path::new("/tmp"), Path::new("/var/tmp"))?;
    tmpfs(Path::new("/run"), "mode=755,size=64k")?;
    build_devices(&devices)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if put(Some(Path::new("proc")), "/proc", Some("proc"), flags, None).is_err() {
        // Where parts of it are masked, as in containers, it is no more masked than it was.
        bind(Path::new("/proc"), Path::new("/proc"))?;
    }
    for held in writes.iter().chain(&resolver) {
        held.show()?;
    }
    make_read_only(&isolation.writes)?;
    // By its path: the directory itself would still be in the old view.
    std::env::set_current_dir(dir).or_else(|_| std::env::set_current_dir("/"))?;
    Ok(())
}

/// Puts nothing in the place of each of `protected`, wherever it can be seen.
fn cover(protected: &[PathBuf]) -> anyhow::Result<()> {
    let mounts = mounts()?;
    let mut nothing: Option<PathBuf> = None;
    for place in protected.iter().flat_map(|path| seen_at(path, &mounts)) {
        let is_dir = match std::fs::metadata(&place) {
            Ok(metadata) => metadata.is_dir(),
            // Below what is covered already, or not there.
            Err(_) => continue,
        };
        if is_dir {
            tmpfs(&place, "mode=000,size=64k")?;
            let file = place.join("nothing");
            std::fs::write(&file, [])?;
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o000))?;
            nothing.get_or_insert(file);
        } else {
            let nothing = nothing.as_deref().context("the state directory is not there")?;
            bind(nothing, &place)?;
        }
    }
    Ok(())
}

/// Where the file at `path` is seen: there, and through other mounts of the same file system.
fn seen_at(path: &Path, mounts: &[Mounted]) -> Vec<PathBuf> {
    // The last one mounted at a place is the one that is seen.
    let of = mounts.iter().filter(|mounted| path.starts_with(&mounted.point));
    let of = of.max_by_key(|mounted| mounted.point.components().count());
    let inner = of.and_then(|of| Some((of, of.root.join(path.strip_prefix(&of.point).ok()?))));
    let Some((of, inner)) = inner else { return vec![path.to_owned()] };
    let others = mounts.iter().filter(|other| other.device == of.device);
    let others = others.filter_map(|other| {
        let below = inner.strip_prefix(&other.root).ok()?;
        let is_whole = below.as_os_str().is_empty();
        Some(if is_whole { other.point.clone() } else { other.point.join(below) })
    });
    std::iter::once(path.to_owned()).chain(others.filter(|place| place != path)).collect()
}

fn build_devices(devices: &[Held]) -> anyhow::Result<()> {
    let dev = Path::new("/dev");
    tmpfs(dev, "mode=755,size=64k")?;
    for device in devices {
        device.show()?;
    }
    for (name, target) in DEVICE_LINKS {
        std::os::unix::fs::symlink(target, dev.join(name))?;
    }
    std::fs::create_dir(dev.join("shm"))?;
    bind(Path::new("/tmp"), &dev.join("shm"))?;
    std::fs::create_dir(dev.join("pts"))?;
    let options = "newinstance,ptmxmode=0666,mode=620";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    // A kernel without it gives the server no terminals.
    let _ = put(Some(Path::new("devpts")), "/dev/pts", Some("devpts"), flags, Some(options));
    Ok(())
}

/// Makes every mount read-only but the server's own and those below `writes`.
fn make_read_only(writes: &[PathBuf]) -> anyhow::Result<()> {
    let own = OWN_TMP.map(PathBuf::from);
    let mounts = mounts()?.into_iter();
    for mounted in mounts.filter(|it| !is_below(&it.point, &own) && !is_below(&it.point, writes)) {
        let kept = [
            ("nosuid", MsFlags::MS_NOSUID),
            ("nodev", MsFlags::MS_NODEV),
            ("noexec", MsFlags::MS_NOEXEC),
        ];
        let kept =
            kept.into_iter().filter(|(name, _)| mounted.options.split(',').any(|o| o == *name));
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        let flags = kept.fold(flags, |flags, (_, flag)| flags | flag);
        match mount(None::<&Path>, &mounted.point, None::<&str>, flags, None::<&str>) {
            // Hidden below another mount, or not to be reached by this user at all.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
            Err(error) => {
                let point = mounted.point.display().to_string();
                return Err(error).with_context(|| format!("could not make `{point}` read-only"));
            }
        }
    }
    Ok(())
}

impl Held {
    fn open(path: &Path) -> anyhow::Result<Self> {
        // It was no link when it was settled: one that it has become leads wherever a server wants.
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let opened = openat2(AT_FDCWD, path, how);
        let file = opened.with_context(|| format!("could not open `{}`", path.display()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Shows it where it was.
    fn show(&self) -> anyhow::Result<()> {
        let source = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        if self.path.symlink_metadata().is_err() {
            self.path.parent().map(std::fs::create_dir_all).transpose()?;
            if std::fs::metadata(&source)?.is_dir() {
                std::fs::create_dir(&self.path)?;
            } else {
                std::fs::write(&self.path, [])?;
            }
        }
        bind(&source, &self.path)
    }
}

fn tmpfs(at: &Path, options: &str) -> anyhow::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    put(Some(Path::new("tmpfs")), at, Some("tmpfs"), flags, Some(options))
}

fn bind(source: &Path, at: &Path) -> anyhow::Result<()> {
    put(Some(source), at, None, MsFlags::MS_BIND | MsFlags::MS_REC, None)
}

fn put(
    source: Option<&Path>,
    at: impl AsRef<Path>,
    kind: Option<&str>,
    flags: MsFlags,
    options: Option<&str>,
) -> anyhow::Result<()> {
    let at = at.as_ref();
    let mounted = mount(source, at, kind, flags, options);
    mounted.with_context(|| format!("could not mount at `{}`", at.display()))
}

fn mounts() -> anyhow::Result<Vec<Mounted>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").context("could not read mounts")?;
    text.lines().map(|line| parse(line).context("could not read mounts")).collect()
}

fn parse(line: &str) -> Option<Mounted> {
    let mut fields = line.split(' ').skip(2);
    Some(Mounted {
        device: fields.next()?.to_owned(),
        root: unescaped(fields.next()?),
        point: unescaped(fields.next()?),
        options: fields.next()?.to_owned(),
    })
}

/// A path as the kernel writes it there: white space and backslashes in octal (`\040`).
fn unescaped(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(3).unwrap_or((part, ""));
        path.push(u8::from_str_radix(code, 8).map_or('\\', char::from));
        path.push_str(rest);
    }
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_protected_is_covered_wherever_it_is_seen() {
        let mounts = [
            "21 1 8:1 / / rw - ext4 /dev/sda rw",
            "22 21 8:1 /var/lib /mnt/a\\040b rw,nosuid - ext4 /dev/sda rw",
            "23 21 8:1 /var/lib/chancery /srv/state rw - ext4 /dev/sda rw",
            "24 21 8:2 / /mnt/other rw - ext4 /dev/sdb rw",
            "25 21 8:1 /etc /mnt/etc rw - ext4 /dev/sda rw",
        ];
        let mounts: Vec<_> = mounts.iter().filter_map(|line| parse(line)).collect();
        let check = |path: &str, wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(PathBuf::from).collect();
            assert_eq!(seen_at(Path::new(path), &mounts), wanted, "{path}");
        };
        let all = ["/var/lib/chancery", "/mnt/a b/chancery", "/srv/state"];
        check("/var/lib/chancery", &all);
        check("/srv/state", &["/srv/state", "/var/lib/chancery", "/mnt/a b/chancery"]);
        check("/mnt/other/x", &["/mnt/other/x"]);
    }
}
