//! Paths that are ours, and those that are not.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use super::Client;
use super::sys::{self, access, call, close, device, fork, fstat, ioctl, open, openat, stat_at};
use crate::served::{DEVICE, TEXT, request};

pub(super) const ALL: &[Client] = &[
    ("names", names),
    ("open-flags", open_flags),
    ("openat2", openat2),
    ("attributes", attributes),
    ("directories", directories),
    ("links", links),
    ("text", text),
    ("native", native),
    ("chroot", chroot),
];

const HERE: i32 = libc::AT_FDCWD;

fn opens(path: &str) {
    opens_at(HERE, path);
}

fn opens_at(at: i32, path: &str) {
    let fd = openat(at, path, libc::O_RDWR).unwrap_or_else(|errno| panic!("{path}: {errno}"));
    assert_eq!(ioctl(fd, request::FD, 0), Ok(fd), "{path}");
    assert_eq!(close(fd), Ok(0));
}

fn directories(_: &[String]) {
    let listed = |path| {
        let entries = fs::read_dir(path).expect("it can be read");
        let entries: Vec<fs::DirEntry> = entries.map(|entry| entry.expect("it is read")).collect();
        entries
    };
    let [device] = &listed("/dev/swiommu-test")[..] else {
        panic!("there is one node");
    };
    assert_eq!(device.path(), Path::new("/dev/swiommu-test/device"));
    // Looked up from the directory's descriptor, which is the host's.
    let found = device.metadata().expect("it exists");
    assert!(found.file_type().is_char_device());
    assert_eq!(found.rdev(), libc::makedev(DEVICE.major, DEVICE.minor));
    let [text] = &listed("/sys/swiommu-test")[..] else {
        panic!("there is one node");
    };
    assert_eq!(text.metadata().expect("it exists").len(), TEXT.len() as u64);

    let read_only = libc::O_RDONLY | libc::O_DIRECTORY;
    let directory = open("/dev/swiommu-test", read_only).expect("it opens");
    opens_at(directory, "device");
    opens_at(directory, "../iommu");
    let host = fstat(directory).expect("it is open").st_mode;
    assert_eq!(host & libc::S_IFMT, libc::S_IFDIR);
    for flags in [libc::O_RDWR, libc::O_WRONLY | libc::O_CREAT] {
        assert_eq!(open("/dev/swiommu-test", flags), Err(libc::EISDIR));
    }
    assert_eq!(
        open("/dev/swiommu-test", libc::O_CREAT | libc::O_DIRECTORY),
        Err(libc::EINVAL)
    );
}

fn names(_: &[String]) {
    for path in [
        "/dev/iommu",
        "//dev//iommu",
        "/dev/./iommu",
        "/./dev/iommu",
        "/dev/../dev/iommu",
        "/proc/../dev/iommu",
        "/../dev/iommu",
        "/dev/swiommu-test/device",
        "/dev/swiommu-test/../iommu",
        "/dev/swiommu-test/./../swiommu-test/device",
    ] {
        opens(path);
    }
    let directory = open("/dev", libc::O_PATH).expect("it opens");
    opens_at(directory, "iommu");
    opens_at(directory, "./iommu");
    opens_at(directory, "../dev/iommu");
    opens_at(directory, "swiommu-test/device");
    opens_at(-1, "/dev/iommu");
    std::env::set_current_dir("/dev").expect("it exists");
    opens("iommu");
    opens("../dev/iommu");
    opens("swiommu-test/device");
    std::env::set_current_dir("/proc/self").expect("it exists");
    assert_eq!(open("iommu", libc::O_RDWR), Err(libc::ENOENT));

    // Links of the host to ours, in the last place and before it.
    let temporary = std::env::temp_dir().join(format!("swiommu-names-{}", std::process::id()));
    fs::create_dir(&temporary).expect("it is created");
    let path = |name: &str| temporary.join(name).to_str().expect("text").to_owned();
    symlink("/dev", path("d")).expect("it is created");
    symlink("/dev/iommu", path("iommu")).expect("it is created");
    symlink("d/iommu", path("device")).expect("it is created");
    opens(&path("d/iommu"));
    opens(&path("iommu"));
    opens(&path("device"));
    let stat = |name: &str, flags| {
        stat_at(HERE, &path(name), flags).map(|stat| stat.st_mode & libc::S_IFMT)
    };
    assert_eq!(stat("iommu", 0), Ok(libc::S_IFCHR));
    assert_eq!(stat("iommu", libc::AT_SYMLINK_NOFOLLOW), Ok(libc::S_IFLNK));
    symlink("iommu-loop", path("iommu-loop")).expect("it is created");
    assert_eq!(open(&path("iommu-loop"), libc::O_RDWR), Err(libc::ELOOP));
    fs::remove_dir_all(&temporary).expect("it is removed");

    for path in ["/dev/iommux", "/devx/iommu", "/iommu", "iommu/x"] {
        assert_eq!(open(path, libc::O_RDWR), Err(libc::ENOENT), "{path}");
    }
    assert_eq!(open("/dev/null/iommu", libc::O_RDWR), Err(libc::ENOTDIR));
    assert_eq!(openat(77, "iommu", libc::O_RDWR), Err(libc::EBADF));
}

fn open_flags(_: &[String]) {
    let with = |path: &str, flags: i32| open(path, flags).map(|fd| close(fd).expect("it is open"));
    assert_eq!(with("/dev/iommu", libc::O_RDWR | libc::O_CREAT), Ok(0));
    assert_eq!(with("/dev/iommu", libc::O_RDWR | libc::O_TRUNC), Ok(0));
    assert_eq!(with("/dev/iommu", libc::O_RDWR | libc::O_NOFOLLOW), Ok(0));
    assert_eq!(with("/dev/iommu", libc::O_WRONLY), Ok(0));
    let exclusive = libc::O_CREAT | libc::O_EXCL;
    assert_eq!(
        with("/dev/iommu", libc::O_RDWR | exclusive),
        Err(libc::EEXIST)
    );
    assert_eq!(with("/dev/iommu", libc::O_DIRECTORY), Err(libc::ENOTDIR));
    assert_eq!(
        with("/dev/iommu", libc::O_TMPFILE | libc::O_RDWR),
        Err(libc::ENOTDIR)
    );
    assert_eq!(
        with("/dev/iommu", libc::O_DIRECTORY | libc::O_CREAT),
        Err(libc::EINVAL)
    );
    assert_eq!(with("/dev/iommu/", libc::O_RDWR), Err(libc::ENOTDIR));
    assert_eq!(
        with("/dev/iommu/", libc::O_RDWR | libc::O_CREAT),
        Err(libc::EISDIR)
    );

    let status = |fd: i32, get: i32| call(libc::SYS_fcntl, [fd as u64, get as u64, 0, 0, 0, 0]);
    for (flags, shown) in [
        (libc::O_RDONLY, libc::O_RDONLY),
        (libc::O_WRONLY, libc::O_WRONLY),
        (
            libc::O_RDWR | libc::O_NONBLOCK,
            libc::O_RDWR | libc::O_NONBLOCK,
        ),
        (libc::O_ACCMODE, libc::O_ACCMODE),
    ] {
        let fd = open("/dev/iommu", flags).expect("it opens");
        let mask = i64::from(libc::O_ACCMODE | libc::O_NONBLOCK);
        assert_eq!(
            status(fd, libc::F_GETFL).map(|flags| flags & mask),
            Ok(shown.into())
        );
        assert_eq!(status(fd, libc::F_GETFD), Ok(0));
        assert_eq!(ioctl(fd, request::ALIVE, 0), Ok(1));
        assert_eq!(close(fd), Ok(0));
    }
    let fd = open("/dev/iommu", libc::O_RDWR | libc::O_CLOEXEC).expect("it opens");
    assert_eq!(status(fd, libc::F_GETFD), Ok(libc::FD_CLOEXEC.into()));
    assert_eq!(close(fd), Ok(0));

    let handle = open("/dev/iommu", libc::O_PATH).expect("it opens");
    assert_eq!(ioctl(handle, request::FD, 0), Err(libc::EBADF));
    assert_eq!(
        fstat(handle).map(|stat| stat.st_mode & libc::S_IFMT),
        Ok(libc::S_IFCHR)
    );
    assert_eq!(super::lifetime::others(), 0);
    opens(&format!("/proc/self/fd/{handle}"));

    let creat = sys::c("/dev/iommu");
    let fd = call(libc::SYS_creat, [creat.as_ptr() as u64, 0o600, 0, 0, 0, 0]);
    let fd = i32::try_from(fd.expect("it opens")).expect("it is small");
    assert_eq!(ioctl(fd, request::FD, 0), Ok(fd));
    let old = call(libc::SYS_open, [creat.as_ptr() as u64, 2, 0, 0, 0, 0]);
    assert_eq!(old, Ok(i64::from(fd) + 1));
}

fn openat2(_: &[String]) {
    let path = sys::c("/dev/iommu");
    let open = |flags: i32, resolve: u64, size: u64| {
        let how = [u64::from(flags.cast_unsigned()), 0, resolve, 0];
        let arguments = [
            HERE as u64,
            path.as_ptr() as u64,
            how.as_ptr() as u64,
            size,
            0,
            0,
        ];
        call(libc::SYS_openat2, arguments).map(|fd| i32::try_from(fd).expect("it is small"))
    };
    let fd = open(libc::O_RDWR, 0, 24).expect("it opens");
    assert_eq!(ioctl(fd, request::FD, 0), Ok(fd));
    assert!(open(libc::O_RDWR, libc::RESOLVE_NO_SYMLINKS, 24).is_ok());
    assert_eq!(open(libc::O_RDWR, 0, 8), Err(libc::EINVAL));
    // From the working directory down, there is no such file.
    assert_eq!(
        open(libc::O_RDWR, libc::RESOLVE_BENEATH, 24),
        Err(libc::EXDEV)
    );
}

fn attributes(_: &[String]) {
    let number = libc::makedev(DEVICE.major, DEVICE.minor);
    let by_path = stat_at(HERE, "/dev/iommu", 0).expect("it exists");
    assert_eq!(by_path.st_mode, libc::S_IFCHR | 0o660);
    assert_eq!(by_path.st_rdev, number);
    assert_eq!((by_path.st_nlink, by_path.st_size), (1, 0));
    let file_system = stat_at(HERE, "/dev", 0).expect("it exists").st_dev;
    assert_eq!(by_path.st_dev, file_system);

    let fd = device();
    let same = |other: libc::stat, how: &str| {
        let essence = |stat: libc::stat| (stat.st_dev, stat.st_ino, stat.st_mode, stat.st_rdev);
        assert_eq!(essence(other), essence(by_path), "{how}");
    };
    same(fstat(fd).expect("it is open"), "fstat");
    same(
        stat_at(fd, "", libc::AT_EMPTY_PATH).expect("it is open"),
        "newfstatat",
    );
    let link = format!("/proc/self/fd/{fd}");
    same(stat_at(HERE, &link, 0).expect("it is open"), "its link");
    let link = stat_at(HERE, &link, libc::AT_SYMLINK_NOFOLLOW).expect("it is open");
    assert_eq!(link.st_mode & libc::S_IFMT, libc::S_IFLNK);
    for number in [libc::SYS_stat, libc::SYS_lstat] {
        let path = sys::c("/dev/iommu");
        let mut stat = by_path;
        stat.st_mode = 0;
        let buffer = std::ptr::from_mut(&mut stat) as u64;
        assert_eq!(
            call(number, [path.as_ptr() as u64, buffer, 0, 0, 0, 0]),
            Ok(0)
        );
        same(stat, "stat or lstat");
        assert_eq!(
            call(number, [path.as_ptr() as u64, 16, 0, 0, 0, 0]),
            Err(libc::EFAULT)
        );
    }
    for statx in [
        sys::statx(HERE, "/dev/iommu", 0),
        sys::statx(fd, "", libc::AT_EMPTY_PATH),
        sys::statx(
            HERE,
            "/dev/iommu",
            libc::AT_SYMLINK_NOFOLLOW | libc::AT_STATX_FORCE_SYNC,
        ),
    ] {
        let statx = statx.expect("it exists");
        assert_eq!(u32::from(statx.stx_mode), by_path.st_mode);
        assert_eq!(
            (statx.stx_rdev_major, statx.stx_rdev_minor),
            (DEVICE.major, DEVICE.minor)
        );
        assert_eq!(statx.stx_ino, by_path.st_ino);
        assert_eq!(
            libc::makedev(statx.stx_dev_major, statx.stx_dev_minor),
            by_path.st_dev
        );
    }

    assert_eq!(access("/dev/iommu", libc::F_OK), Ok(0));
    assert_eq!(access("/dev/iommu", libc::R_OK | libc::W_OK), Ok(0));
    assert_eq!(access("/dev/iommu", libc::X_OK), Err(libc::EACCES));
    assert_eq!(access("/dev/iommu", 8), Err(libc::EINVAL));
    assert_eq!(access("/dev/iommu/", libc::F_OK), Err(libc::ENOTDIR));
    assert_eq!(stat_at(HERE, "/dev/iommu/", 0).err(), Some(libc::ENOTDIR));

    let created = open("/dev/swiommu-test", libc::O_RDWR | libc::O_CREAT);
    assert_eq!(created, Err(libc::EISDIR));
    let directory = stat_at(HERE, "/dev/swiommu-test", 0).expect("it exists");
    assert_eq!(directory.st_mode, libc::S_IFDIR | 0o755);
    assert!(stat_at(HERE, "/dev/swiommu-test/", 0).is_ok());
    assert_eq!(access("/dev/swiommu-test", libc::R_OK | libc::X_OK), Ok(0));

    let path = sys::c("/dev/iommu");
    let mut room = [0u8; 64];
    let room = room.as_mut_ptr() as u64;
    let name = sys::c("security.selinux");
    let get = [path.as_ptr() as u64, name.as_ptr() as u64, room, 64, 0, 0];
    assert_eq!(call(libc::SYS_getxattr, get), Err(libc::ENODATA));
    assert_eq!(
        call(
            libc::SYS_llistxattr,
            [path.as_ptr() as u64, room, 64, 0, 0, 0]
        ),
        Ok(0)
    );
}

fn links(_: &[String]) {
    assert_eq!(sys::readlink("/dev/iommu", 100), Err(libc::EINVAL));
    assert_eq!(sys::readlink("/dev/swiommu-test", 100), Err(libc::EINVAL));
    let fd = device();
    let pid = std::process::id();
    let tid = sys::gettid();
    let paths = [
        format!("/proc/self/fd/{fd}"),
        format!("/proc/{pid}/fd/{fd}"),
        format!("/proc/self/task/{tid}/fd/{fd}"),
        format!("/proc/thread-self/fd/{fd}"),
        format!("/dev/fd/{fd}"),
    ];
    for path in &paths {
        assert_eq!(
            sys::readlink(path, 100).as_deref(),
            Ok("/dev/iommu"),
            "{path}"
        );
        assert_eq!(sys::readlink(path, 4).as_deref(), Ok("/dev"), "{path}");
        opens(path);
        let nofollow = open(path, libc::O_RDWR | libc::O_NOFOLLOW);
        assert_eq!(nofollow, Err(libc::ELOOP), "{path}");
    }
    assert_eq!(
        ioctl(fd, request::ALIVE, 0),
        Ok(1),
        "each was a new open, and is closed"
    );
    let directory = open("/proc/self/fd", libc::O_RDONLY | libc::O_DIRECTORY).expect("it opens");
    opens_at(directory, &fd.to_string());
    let child = fork(|| {
        let path = format!("/proc/{pid}/fd/{fd}");
        assert_eq!(sys::readlink(&path, 100).as_deref(), Ok("/dev/iommu"));
        assert_eq!(close(fd), Ok(0));
        let own = format!("/proc/self/fd/{fd}");
        assert_eq!(sys::readlink(&own, 100), Err(libc::ENOENT));
        assert_eq!(sys::readlink(&path, 100).as_deref(), Ok("/dev/iommu"));
    });
    child.assert_success();
    let null = open("/dev/null", libc::O_RDWR).expect("it opens");
    assert_eq!(
        sys::readlink(&format!("/proc/self/fd/{null}"), 100).as_deref(),
        Ok("/dev/null")
    );
}

fn text(_: &[String]) {
    let path = "/sys/swiommu-test/text";
    assert_eq!(fs::read_to_string(path).as_deref().ok(), Some(TEXT));
    let stat = stat_at(HERE, path, 0).expect("it exists");
    assert_eq!((stat.st_mode, stat.st_size), (libc::S_IFREG | 0o444, 7));
    assert_eq!(open(path, libc::O_RDWR), Err(libc::EACCES));
    let fd = open(path, libc::O_RDONLY).expect("it opens");
    assert_eq!(
        fstat(fd).map(|stat| (stat.st_mode, stat.st_size)),
        Ok((libc::S_IFREG | 0o444, 7))
    );
    let status = fs::read_to_string("/proc/self/status").expect("it is readable");
    assert!(status.contains("VmPin:\t       0 kB\n"), "{status}");
}

/// Calls that are not about us, and calls that the kernel refuses.
fn native(_: &[String]) {
    for number in [
        libc::SYS_open,
        libc::SYS_stat,
        libc::SYS_access,
        libc::SYS_creat,
    ] {
        assert_eq!(
            call(number, [8, 0, 0, 0, 0, 0]),
            Err(libc::EFAULT),
            "{number}"
        );
    }
    let here = HERE as u64;
    for number in [libc::SYS_openat, libc::SYS_newfstatat, libc::SYS_faccessat2] {
        assert_eq!(
            call(number, [here, 8, 0, 0, 0, 0]),
            Err(libc::EFAULT),
            "{number}"
        );
    }
    let long = format!("/{}/iommu", "x".repeat(5000));
    assert_eq!(open(&long, libc::O_RDWR), Err(libc::ENAMETOOLONG));
    assert_eq!(open("", libc::O_RDWR), Err(libc::ENOENT));
    assert_eq!(fstat(-1).err(), Some(libc::EBADF));
    assert_eq!(ioctl(-1, request::FD, 0), Err(libc::EBADF));
    let null = open("/dev/null", libc::O_RDWR).expect("it opens");
    assert_eq!(ioctl(null, request::FD, 0), Err(libc::ENOTTY));
    assert_eq!(
        fstat(null).map(|stat| stat.st_mode & libc::S_IFMT),
        Ok(libc::S_IFCHR)
    );

    // A path that ends where the mapping ends.
    let map = sys::Mapping::anonymous(2 * 4096);
    let second = sys::Mapping {
        at: map.at + 4096,
        len: 4096,
    };
    assert_eq!(second.unmap(), Ok(0));
    let text = b"/dev/iommu\0\0";
    for (index, word) in text.chunks_exact(4).enumerate() {
        let word = u32::from_ne_bytes(word.try_into().expect("four bytes"));
        map.store(1024 - 3 + index, word);
    }
    let path = map.at + 4096 - 12;
    let fd = call(libc::SYS_openat, [here, path, 2, 0, 0, 0]).expect("it opens");
    let fd = i32::try_from(fd).expect("it is small");
    assert_eq!(ioctl(fd, request::FD, 0), Ok(fd));
    // Without its end.
    map.store(1023, u32::from_ne_bytes(*b"uuuu"));
    assert_eq!(
        call(libc::SYS_openat, [here, path, 2, 0, 0, 0]),
        Err(libc::EFAULT)
    );
}

/// Paths are looked up from the client's root.
fn chroot(arguments: &[String]) {
    let root = &arguments[0];
    std::os::unix::fs::chroot(root).expect("we may");
    std::env::set_current_dir("/").expect("it exists");
    opens("/dev/iommu");
    opens("dev/iommu");
    opens("dev/../../dev/iommu");
    opens("/link/iommu");
    assert_eq!(open("/other/iommu", libc::O_RDWR), Err(libc::ENOENT));
}
