//! `BPF_PROG_TEST_RUN`: running a program once, or many times, with given input.

use super::attr::TestRunAttr;
use super::prog::Prog;
use super::sys::{Cmd, bpf, input, len32, output};
use crate::error::{Errno, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// What a test run is given. The kernel refuses fields that the kind of program has no use for
/// (net/bpf/test_run.c, `bpf_prog_test_run_*`).
#[derive(Debug, Clone, Copy, Default)]
pub struct TestRun<'a> {
    /// Packet or other data of the kind.
    pub data_in: &'a [u8],
    /// Room for the data after the run; 0 for no data.
    pub data_out_size: usize,
    /// Context of the kind: `__sk_buff`, `xdp_md`, the arguments of a raw tracepoint, the buffer of a syscall
    /// program.
    pub ctx_in: &'a [u8],
    /// Room for the context after the run; 0 for none. Syscall programs return theirs without it.
    pub ctx_out_size: usize,
    /// Number of runs; 0 is one run.
    pub repeat: u32,
    /// CPU to run a raw tracepoint program on.
    pub cpu: Option<u32>,
    /// XDP: really send and redirect, as if the packets had come from a device (`BPF_F_TEST_XDP_LIVE_FRAMES`).
    pub live_frames: bool,
    /// XDP with live frames: packets per batch; 0 is 64.
    pub batch_size: u32,
    /// Other flags (`BPF_F_TEST_*`).
    pub flags: u32,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutput {
    /// What the program returned in the last run.
    pub retval: u32,
    /// Mean time of a run; 0 for kinds that are not timed.
    pub duration: Duration,
    /// Data after the last run.
    pub data: Vec<u8>,
    /// Context after the last run.
    pub ctx: Vec<u8>,
}

const F_TEST_RUN_ON_CPU: u32 = 1;
const F_TEST_XDP_LIVE_FRAMES: u32 = 2;

impl Prog {
    /// Runs the program in the kernel.
    ///
    /// `ENOSPC`: an output is larger than its room, the detail says how large. `EINTR`: a signal came; the
    /// program may have run.
    pub fn test_run(&self, run: &TestRun<'_>) -> Result<TestOutput> {
        let cmd = Cmd::PROG_TEST_RUN;
        let mut data = vec![0; run.data_out_size];
        let mut ctx_out = vec![0; run.ctx_out_size];
        // The context of a syscall program is written back in place (kernel/bpf/syscall.c and
        // net/bpf/test_run.c, `bpf_prog_test_run_syscall`): the kernel gets a copy that it may write to.
        let mut ctx_in = run.ctx_in.to_vec();
        let mut flags = run.flags;
        if run.cpu.is_some() {
            flags |= F_TEST_RUN_ON_CPU;
        }
        if run.live_frames {
            flags |= F_TEST_XDP_LIVE_FRAMES;
        }
        let mut attr = TestRunAttr {
            prog_fd: self.as_fd().as_raw_fd() as u32,
            data_size_in: len32(cmd, "data", run.data_in.len())?,
            data_size_out: len32(cmd, "data", data.len())?,
            data_in: input(run.data_in),
            // Null without room: given an address and size 0 the kernel would copy all there is
            // (net/bpf/test_run.c, `bpf_test_finish`).
            data_out: output(&mut data),
            repeat: run.repeat,
            ctx_size_in: len32(cmd, "context", ctx_in.len())?,
            ctx_size_out: len32(cmd, "context", ctx_out.len())?,
            ctx_in: output(&mut ctx_in),
            ctx_out: output(&mut ctx_out),
            flags,
            cpu: run.cpu.unwrap_or(0),
            batch_size: run.batch_size,
            ..TestRunAttr::default()
        };
        // SAFETY: all addresses are of slices with the sizes beside them, null where the size is 0; those
        // that the kernel writes to are exclusively ours.
        let result = unsafe { bpf(cmd, &mut attr) };
        if let Err(e) = result {
            let (data, ctx) = (attr.data_size_out, attr.ctx_size_out);
            return Err(match e.errno {
                Errno::ENOSPC => e.about(format!("the run yields {data} bytes of data and {ctx} of context")),
                _ => e,
            });
        }
        data.truncate(attr.data_size_out as usize);
        ctx_out.truncate(attr.ctx_size_out as usize);
        Ok(TestOutput {
            retval: attr.retval,
            duration: Duration::from_nanos(u64::from(attr.duration)),
            data,
            ctx: if run.ctx_out_size > 0 { ctx_out } else { ctx_in },
        })
    }
}
