//! Limits of the user and the process.

use rustix::process::{Resource, getrlimit};

use super::host::sysctl;
use super::{Advice, Finding, Verdict};
use crate::filter::EVENT_FDS;

pub(super) fn findings() -> Vec<Finding> {
    vec![
        inotify_instances(),
        inotify_files(),
        open_files(),
        locked_memory(),
        address_space(),
        mappings(),
    ]
}

fn inotify_instances() -> Finding {
    use rustix::fs::inotify::{CreateFlags, init};
    let subject = "inotify instances";
    let limit = sysctl("fs/inotify/max_user_instances").unwrap_or(0);
    match init(CreateFlags::CLOEXEC) {
        Ok(_) => Finding::good(subject, format!("one is free, at most {limit} for a user")),
        Err(errno) => Finding::lacks(
            Verdict::Missing,
            subject,
            format!("none is free ({errno}), at most {limit} for a user"),
            Advice {
                cost: "the closing of files cannot be noticed; each run needs one instance",
                remedy: "end other runs, or sysctl fs.inotify.max_user_instances=1024",
            },
        ),
    }
}

fn inotify_files() -> Finding {
    const ENOUGH: u64 = 4096;
    let watches = sysctl("fs/inotify/max_user_watches").unwrap_or(0);
    let events = sysctl("fs/inotify/max_queued_events").unwrap_or(0);
    let files = watches.min(events / crate::table::EVENTS_PER_FILE as u64);
    let advice = Advice {
        cost: "programs get ENFILE when they hold that many served files open at once",
        remedy: "sysctl fs.inotify.max_user_watches=65536 fs.inotify.max_queued_events=16384",
    };
    let found = format!("{files} at once");
    Finding::limited_unless(files >= ENOUGH, "served files", found, advice)
}

fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile).current;
    let needed = u64::from(EVENT_FDS.end().cast_unsigned()) + 1;
    let found = shown(limit);
    let advice = Advice {
        cost: "event queues are installed at the numbers 960 to 1023 and fail with EMFILE above the limit",
        remedy: "ulimit -n 1024",
    };
    let good = limit.is_none_or(|limit| limit >= needed);
    Finding::limited_unless(good, "RLIMIT_NOFILE", found, advice)
}

fn locked_memory() -> Finding {
    const USUAL: u64 = 8 << 20;
    let limit = getrlimit(Resource::Memlock).current;
    let advice = Advice {
        cost: "programs that map more for DMA get ENOMEM where the limit is enforced, as on a real host",
        remedy: "ulimit -l unlimited, or --memlock report",
    };
    let good = limit.is_none_or(|limit| limit >= USUAL);
    Finding::limited_unless(good, "RLIMIT_MEMLOCK", shown(limit), advice)
}

fn address_space() -> Finding {
    let limit = getrlimit(Resource::As).current;
    let advice = Advice {
        cost: "the physical address space cannot be reserved, and no machine starts",
        remedy: "ulimit -v unlimited",
    };
    match limit {
        None => Finding::good("RLIMIT_AS", shown(limit)),
        Some(_) => Finding::lacks(Verdict::Missing, "RLIMIT_AS", shown(limit), advice),
    }
}

fn mappings() -> Finding {
    const ENOUGH: u64 = 65530;
    let limit = sysctl("vm/max_map_count").unwrap_or(0);
    let advice = Advice {
        cost: "fewer pieces of client memory can be mapped here, and the rest is reached by system calls",
        remedy: "sysctl vm.max_map_count=65530",
    };
    Finding::limited_unless(
        limit >= ENOUGH,
        "vm.max_map_count",
        limit.to_string(),
        advice,
    )
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}
