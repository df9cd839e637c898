//! Resource limits.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lifts the limit on locked memory, which kernels before 5.11 charge maps to, as far as it goes. Returns
/// whether there is no limit now; a refusal does no harm where map memory is charged to the memory cgroup.
pub fn raise_memlock() -> bool {
    let unlimited = Rlimit { current: None, maximum: None };
    setrlimit(Resource::Memlock, unlimited).is_ok() || raise_to_maximum(Resource::Memlock)
}

/// Lifts the limit on open files to its maximum: every probe of a program takes one. Returns the limit, `None`
/// for none.
pub fn raise_open_files() -> Option<u64> {
    raise_to_maximum(Resource::Nofile);
    getrlimit(Resource::Nofile).current
}

/// Returns whether there is no limit now.
fn raise_to_maximum(resource: Resource) -> bool {
    let Rlimit { current, maximum } = getrlimit(resource);
    if current == maximum {
        return current.is_none();
    }
    setrlimit(resource, Rlimit { current: maximum, maximum }).is_ok() && maximum.is_none()
}
