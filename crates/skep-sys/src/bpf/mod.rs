//! bpf(2): maps, programs, BTF, links, and the objects of others.
//!
//! [`Map`], [`Prog`], [`Link`] and [`Btf`] own their file descriptor; all descriptors are close-on-exec.
//! Sizes are checked here before the kernel gets an address, so that no call moves more bytes than the
//! buffer has. What a command means and which kinds take it is left to the kernel: its errno comes back as
//! a [`SysError`](crate::SysError), with the sizes and names of the request in the detail.

mod attach;
mod attr;
mod batch;
mod btf;
mod info;
mod info_link;
mod info_prog;
mod kinds;
mod link;
mod log;
mod map;
mod object;
mod prog;
mod run;
mod sys;

pub use attach::{AttachMode, Attached, Hook, Query, prog_attach, prog_detach, prog_query};
pub use batch::{BatchCursor, Elements};
pub use btf::Btf;
pub use info::{BtfInfo, MapInfo, ObjectKind};
pub use info_link::{IterScope, LinkInfo, LinkTargetInfo, UprobeMultiInfo};
pub use info_prog::{ProgCode, ProgInfo};
pub use kinds::{AttachType, ElemFlags, LinkType, MapFlags, MapType, ProgFlags, ProgType};
pub use link::{IterTarget, Link, LinkTarget, Neighbour, Position};
pub use log::{LoadError, Log, log_level};
pub use map::{Keys, Map, MapCreate, MapShape};
pub use object::{
    Access, Ids, TaskFd, TaskFdKind, enable_run_time_stats, open_pin, open_pin_at, pin, pin_at,
    task_fd_query, token_create,
};
pub use prog::{LoadTarget, Prog, ProgLoad};
pub use run::{TestOutput, TestRun};

pub(crate) use sys::text;
