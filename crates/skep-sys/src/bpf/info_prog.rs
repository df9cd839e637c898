//! `BPF_OBJ_GET_INFO_BY_FD` for programs, with their code and debug information.

use super::attr::attrs;
use super::info::{ObjectKind, get_info};
use super::kinds::ProgType;
use super::sys::{output, text};
use crate::error::Result;
use std::os::fd::BorrowedFd;
use std::time::Duration;

attrs! {
    RawProgInfo {
        prog_type: u32, id: u32, tag: [u8; 8], jited_prog_len: u32, xlated_prog_len: u32,
        jited_prog_insns: u64, xlated_prog_insns: u64, load_time: u64, created_by_uid: u32, nr_map_ids: u32,
        map_ids: u64, name: [u8; 16], ifindex: u32, gpl_compatible: u32, netns_dev: u64, netns_ino: u64,
        nr_jited_ksyms: u32, nr_jited_func_lens: u32, jited_ksyms: u64, jited_func_lens: u64, btf_id: u32,
        func_info_rec_size: u32, func_info: u64, nr_func_info: u32, nr_line_info: u32, line_info: u64,
        jited_line_info: u64, nr_jited_line_info: u32, line_info_rec_size: u32,
        jited_line_info_rec_size: u32, nr_prog_tags: u32, prog_tags: u64, run_time_ns: u64, run_cnt: u64,
        recursion_misses: u64, verified_insns: u32, attach_btf_obj_id: u32, attach_btf_id: u32, pad: u32,
    }
}

/// `struct bpf_prog_info` without what needs buffers (see [`ProgCode`]). Unknown fields are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgInfo {
    /// Kind of program.
    pub prog_type: ProgType,
    /// Id, unique while the program lives.
    pub id: u32,
    /// Hash of the instructions.
    pub tag: [u8; 8],
    /// Name, at most 15 bytes.
    pub name: String,
    /// Bytes of machine code; 0 if interpreted or hidden.
    pub jited_len: u32,
    /// Bytes of instructions after the verifier's rewrites; 0 if hidden.
    pub xlated_len: u32,
    /// When it was loaded, on the boot clock.
    pub load_time: Duration,
    /// User that loaded it.
    pub created_by_uid: u32,
    /// Maps that it uses.
    pub map_ids: Vec<u32>,
    /// Device of an offloaded program.
    pub ifindex: u32,
    /// Whether its licence lets it call GPL-only helpers.
    pub gpl_compatible: bool,
    /// Device number of the network namespace of an offloaded program.
    pub netns_dev: u64,
    /// Inode number of the network namespace of an offloaded program.
    pub netns_ino: u64,
    /// BTF object that it was loaded with; 0 for none.
    pub btf_id: u32,
    /// Number of functions with `func_info`.
    pub nr_func_info: u32,
    /// Number of `line_info` records.
    pub nr_line_info: u32,
    /// Time spent in it while statistics were enabled.
    pub run_time: Duration,
    /// Number of runs while statistics were enabled.
    pub run_cnt: u64,
    /// Runs that the kernel left out because the program was active on that CPU.
    pub recursion_misses: u64,
    /// Instructions that the verifier visited.
    pub verified_insns: u32,
    /// BTF object of the attach target: a module, or 0 for the kernel or none.
    pub attach_btf_obj_id: u32,
    /// Type of the attach target in it.
    pub attach_btf_id: u32,
}

impl ProgInfo {
    /// Asks for the info of an open program.
    pub fn of(fd: BorrowedFd<'_>) -> Result<ProgInfo> {
        let raw = sizes(fd)?;
        let mut map_ids = vec![0u32; raw.nr_map_ids as usize];
        if !map_ids.is_empty() {
            let mut again = RawProgInfo {
                nr_map_ids: raw.nr_map_ids,
                map_ids: output(&mut map_ids),
                ..RawProgInfo::default()
            };
            // SAFETY: `again` is `struct bpf_prog_info`; `map_ids` has `nr_map_ids` entries, all other
            // buffers are null with size 0.
            unsafe { get_info(fd, &mut again) }?;
            map_ids.truncate(again.nr_map_ids as usize);
        }
        Ok(ProgInfo {
            prog_type: ProgType(raw.prog_type),
            id: raw.id,
            tag: raw.tag,
            name: text(&raw.name),
            jited_len: raw.jited_prog_len,
            xlated_len: raw.xlated_prog_len,
            load_time: Duration::from_nanos(raw.load_time),
            created_by_uid: raw.created_by_uid,
            map_ids,
            ifindex: raw.ifindex,
            gpl_compatible: raw.gpl_compatible & 1 == 1,
            netns_dev: raw.netns_dev,
            netns_ino: raw.netns_ino,
            btf_id: raw.btf_id,
            nr_func_info: raw.nr_func_info,
            nr_line_info: raw.nr_line_info,
            run_time: Duration::from_nanos(raw.run_time_ns),
            run_cnt: raw.run_cnt,
            recursion_misses: raw.recursion_misses,
            verified_insns: raw.verified_insns,
            attach_btf_obj_id: raw.attach_btf_obj_id,
            attach_btf_id: raw.attach_btf_id,
        })
    }
}

/// Code and debug information of a loaded program. What the kernel withholds (without CAP_SYS_ADMIN or
/// CAP_PERFMON, or with hardened JIT) is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgCode {
    /// Instructions after the verifier's rewrites, 8 bytes each.
    pub xlated: Vec<u8>,
    /// Machine code of all functions, one after the other.
    pub jited: Vec<u8>,
    /// Address of each function's machine code.
    pub jited_ksyms: Vec<u64>,
    /// Length in bytes of each function's machine code.
    pub jited_func_lens: Vec<u32>,
    /// `struct bpf_func_info` records.
    pub func_info: Vec<u8>,
    /// Size of one of them.
    pub func_info_rec_size: u32,
    /// `struct bpf_line_info` records.
    pub line_info: Vec<u8>,
    /// Size of one of them.
    pub line_info_rec_size: u32,
    /// Machine address for each `line_info` record.
    pub jited_line_info: Vec<u64>,
    /// Hash of each function's instructions.
    pub prog_tags: Vec<[u8; 8]>,
}

impl ProgCode {
    /// Copies the code of an open program.
    pub fn of(fd: BorrowedFd<'_>) -> Result<ProgCode> {
        let raw = sizes(fd)?;
        // The kernel has one layout for each of these records; a newer, larger one is asked for as it is.
        let func_rec = raw.func_info_rec_size;
        let line_rec = raw.line_info_rec_size;
        let mut code = ProgCode {
            xlated: vec![0; raw.xlated_prog_len as usize],
            jited: vec![0; raw.jited_prog_len as usize],
            jited_ksyms: vec![0; raw.nr_jited_ksyms as usize],
            jited_func_lens: vec![0; raw.nr_jited_func_lens as usize],
            func_info: vec![0; raw.nr_func_info as usize * func_rec as usize],
            func_info_rec_size: func_rec,
            line_info: vec![0; raw.nr_line_info as usize * line_rec as usize],
            line_info_rec_size: line_rec,
            jited_line_info: if raw.jited_line_info_rec_size == 8 {
                vec![0; raw.nr_jited_line_info as usize]
            } else {
                Vec::new()
            },
            prog_tags: vec![[0; 8]; raw.nr_prog_tags as usize],
        };
        let mut again = RawProgInfo {
            xlated_prog_len: raw.xlated_prog_len,
            xlated_prog_insns: output(&mut code.xlated),
            jited_prog_len: raw.jited_prog_len,
            jited_prog_insns: output(&mut code.jited),
            nr_jited_ksyms: raw.nr_jited_ksyms,
            jited_ksyms: output(&mut code.jited_ksyms),
            nr_jited_func_lens: raw.nr_jited_func_lens,
            jited_func_lens: output(&mut code.jited_func_lens),
            nr_func_info: raw.nr_func_info,
            func_info_rec_size: func_rec,
            func_info: output(&mut code.func_info),
            nr_line_info: raw.nr_line_info,
            line_info_rec_size: line_rec,
            line_info: output(&mut code.line_info),
            nr_jited_line_info: code.jited_line_info.len() as u32,
            jited_line_info_rec_size: 8,
            jited_line_info: output(&mut code.jited_line_info),
            nr_prog_tags: raw.nr_prog_tags,
            prog_tags: output(&mut code.prog_tags),
            ..RawProgInfo::default()
        };
        // SAFETY: `again` is `struct bpf_prog_info`; every buffer was made with the count beside it.
        unsafe { get_info(fd, &mut again) }?;
        code.xlated.truncate(hidden(again.xlated_prog_insns, again.xlated_prog_len));
        code.jited.truncate(hidden(again.jited_prog_insns, again.jited_prog_len));
        code.jited_ksyms.truncate(hidden(again.jited_ksyms, again.nr_jited_ksyms));
        code.jited_func_lens.truncate(hidden(again.jited_func_lens, again.nr_jited_func_lens));
        code.jited_line_info.truncate(hidden(again.jited_line_info, again.nr_jited_line_info));
        code.func_info.truncate(again.nr_func_info as usize * func_rec as usize);
        code.line_info.truncate(again.nr_line_info as usize * line_rec as usize);
        code.prog_tags.truncate(again.nr_prog_tags as usize);
        Ok(code)
    }
}

/// The kernel clears the address of a buffer that it may not fill (kernel/bpf/syscall.c,
/// `bpf_prog_get_info_by_fd`).
fn hidden(address: u64, count: u32) -> usize {
    if address == 0 { 0 } else { count as usize }
}

/// The info without any buffer: fixed fields and the sizes of what could be asked for.
fn sizes(fd: BorrowedFd<'_>) -> Result<RawProgInfo> {
    ObjectKind::Prog.expect(fd)?;
    let mut raw = RawProgInfo::default();
    // SAFETY: `raw` is `struct bpf_prog_info` with all buffers null and all sizes 0.
    unsafe { get_info(fd, &mut raw) }?;
    Ok(raw)
}
