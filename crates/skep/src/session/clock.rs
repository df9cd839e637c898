//! Local time.

use skep_trace::output::Zone;
use std::path::Path;

/// The zone of `TZ`, or of the system where it is not set; universal time where that is unknown.
pub(crate) fn zone() -> Zone {
    match std::env::var("TZ") {
        Err(_) => file(Path::new("/etc/localtime")),
        Ok(name) => {
            let name = name.strip_prefix(':').unwrap_or(&name);
            // Names before rules, as tzset(3) does: no rule is the name of a file.
            let found = match name {
                "" => None,
                path if path.starts_with('/') => file(Path::new(path)),
                name => file(&Path::new("/usr/share/zoneinfo").join(name)),
            };
            found.or_else(|| Zone::from_posix(name))
        }
    }
    .unwrap_or_else(Zone::utc)
}

fn file(path: &Path) -> Option<Zone> {
    Zone::from_tzif(&std::fs::read(path).ok()?)
}
