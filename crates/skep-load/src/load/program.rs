//! One program: references replaced, then given to the kernel.

use super::resolve::{KernelType, Resolved, Unbound};
use super::{Job, LoadOptions, LoadedProgram};
use crate::failure::LoadFailure;
use crate::kernel::LiveKernel;
use crate::verifier;
use cranelift_entity::PrimaryMap;
use skep_asm::{Callee, Endian, Insn, WideImm, encode};
use skep_btf::info::{FuncInfo, LineInfo, Record, encode_records};
use skep_ir::ProgKind;
use skep_ir::diag::{Diagnostic, Severity};
use skep_ir::kernel::{Feature, KernelInfo};
use skep_ir::module::MapId;
use skep_ir::spec::{Attach, Collection, ProgramSpec, RefKind};
use skep_sys::bpf::{AttachType, Btf, LoadTarget, Map, Prog, ProgFlags, ProgLoad, ProgType};
use skep_sys::proc::{kernel_release, kernel_version, version_code};
use skep_sys::{Errno, SysError};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The programs to be loaded with their indexes, in the order of the collection.
pub(super) fn chosen<'a>(
    collection: &'a Collection,
    options: &'a LoadOptions<'_>,
) -> impl Iterator<Item = (usize, &'a ProgramSpec)> {
    let wanted = options.programs;
    collection.programs.iter().enumerate().filter(move |(i, _)| wanted.is_none_or(|w| w.contains(i)))
}

/// How often a load that a signal ended is begun again.
const INTERRUPTIONS: usize = 20;

/// What all loads of a collection share.
pub(super) struct Context<'a> {
    pub(super) collection: &'a Collection,
    pub(super) kernel: &'a LiveKernel,
    pub(super) maps: &'a PrimaryMap<MapId, Map>,
    pub(super) btf: Option<&'a Btf>,
    pub(super) resolved: &'a Resolved,
    pub(super) options: &'a LoadOptions<'a>,
}

impl Context<'_> {
    /// A job for each program; if it is bound to its places when it loads, for each of them, and if some of them
    /// take a link for many, for those and the others.
    pub(super) fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for (spec, program) in chosen(self.collection, self.options) {
            let bound = program.kind.is_some_and(|k| k.info().attach_btf);
            let mut start = 0;
            for part in program.attach.chunk_by(|a, b| !bound && many(a) == many(b)) {
                jobs.push(Job { spec, attach: start..start + part.len() });
                start += part.len();
            }
            if program.attach.is_empty() {
                jobs.push(Job { spec, attach: 0..0 });
            }
        }
        jobs
    }

    pub(super) fn load(&self, job: &Job) -> Result<LoadedProgram, LoadFailure> {
        let spec = &self.collection.programs[job.spec];
        let fail = |error, diagnostic| verifier::not_tried(self.collection, job.spec, error, diagnostic);
        let plain = |message: String| Diagnostic::new(Severity::Error, None, message);
        let Some(kind) = spec.kind else {
            let error = SysError::new("bpf(BPF_PROG_LOAD)", Errno::EINVAL);
            return Err(fail(error, plain(format!("program {} has no kind", spec.name))));
        };
        let bound = match self.resolved.binding(spec, job.attach.start) {
            Ok(bound) => bound,
            Err(Unbound { name, module }) => {
                let error = SysError::new("bpf(BPF_PROG_LOAD)", Errno::ENOENT).about(name.clone());
                return Err(fail(error, verifier::unbound(self.kernel, kind, &name, &module)));
            }
        };
        let mut fd_array: Vec<BorrowedFd<'_>> = Vec::new();
        let mut insns = spec.insns.clone();
        for reference in &spec.refs {
            let at = reference.insn as usize;
            if let Err(what) = self.replace(&mut insns, at, &reference.kind, &mut fd_array) {
                let error = SysError::new("bpf(BPF_PROG_LOAD)", Errno::ENOENT).about(what.clone());
                return Err(fail(error, plain(format!("the kernel has no {what}"))));
            }
        }
        let info = kind.info();
        // Lines and functions are read against the BTF, lines by function: alone they would be refused.
        let (func_info, line_info) = if self.btf.is_some() && !spec.func_info.is_empty() {
            (encode_records(&spec.func_info), encode_records(&spec.line_info))
        } else {
            (Vec::new(), Vec::new())
        };
        let load = ProgLoad {
            prog_type: ProgType(info.prog_type),
            insns: &encode(&insns, Endian::Little),
            license: &self.collection.license,
            name: &spec.name,
            expected_attach_type: self.expected_attach(kind, spec.attach.get(job.attach.start)),
            attach_btf_id: bound.map_or(0, |b| b.id.0),
            target: self.target(bound),
            prog_btf: self.btf.filter(|_| !func_info.is_empty()).map(AsFd::as_fd),
            func_info: &func_info,
            func_info_rec_size: FuncInfo::SIZE as u32,
            line_info: &line_info,
            line_info_rec_size: LineInfo::SIZE as u32,
            fd_array: &fd_array,
            flags: if spec.sleepable { ProgFlags::SLEEPABLE } else { ProgFlags::NONE },
            kern_version: version_code(kernel_version(&kernel_release())),
            ..ProgLoad::default()
        };
        let try_load = || match self.options.log_level {
            0 => Prog::load(&load).map(|prog| (prog, None)),
            level => Prog::load_logged(&load, level).map(|(prog, log)| (prog, Some(log))),
        };
        let mut loaded = try_load();
        // A signal that comes while the verifier works ends the load, whatever becomes of the signal
        // (kernel/bpf/verifier.c, `do_check`).
        for _ in 0..INTERRUPTIONS {
            match &loaded {
                Err(e) if matches!(e.error.errno, Errno::EAGAIN | Errno::EINTR) => loaded = try_load(),
                _ => break,
            }
        }
        match loaded {
            Ok((prog, log)) => Ok(LoadedProgram { prog, spec: job.spec, attach: job.attach.clone(), log }),
            Err(error) => Err(verifier::program_failure(self.kernel, self.collection, job.spec, error)),
        }
    }

    fn target(&self, bound: Option<KernelType>) -> LoadTarget<'_> {
        let module = bound.and_then(|b| self.resolved.modules.get(b.module?));
        module.map_or(LoadTarget::Kernel, |btf| LoadTarget::BtfObj(btf.as_fd()))
    }

    /// Puts what a reference stands for into its instruction; the error says what there is not.
    fn replace<'s>(
        &'s self,
        insns: &mut [Insn],
        at: usize,
        kind: &RefKind,
        fd_array: &mut Vec<BorrowedFd<'s>>,
    ) -> Result<(), String> {
        let fd_of = |map: MapId| match self.maps.get(map) {
            Some(map) => Ok(map.as_fd().as_raw_fd()),
            None => Err(format!("map {map}")),
        };
        let imm = match kind {
            RefKind::Map(map) => WideImm::MapFd(fd_of(*map)?),
            RefKind::MapValue(map, offset) => WideImm::MapValue { fd: fd_of(*map)?, offset: *offset },
            RefKind::Ksym(index) => match self.resolved.ksyms.get(*index as usize) {
                Some(&address) => WideImm::Value(address),
                None => return Err(format!("symbol {index}")),
            },
            RefKind::Kfunc(index) => {
                let name = self.collection.kfuncs.get(*index as usize).map_or("", String::as_str);
                let found = self.resolved.kfunc(name).ok_or_else(|| format!("kernel function {name}"))?;
                let slot = insns.get_mut(at).ok_or("instruction for a call")?;
                let fd_index = self.fd_index(found, fd_array);
                *slot = Insn::call(Callee::Kfunc { btf_id: found.id.0.cast_signed(), fd_index });
                return Ok(());
            }
        };
        match insns.get_mut(at..at + 2) {
            Some([first, second]) => {
                [*first, *second] = Insn::load_wide(first.dst, imm);
                Ok(())
            }
            _ => Err("instruction for a constant".into()),
        }
    }

    /// The index of a module's BTF in the descriptor array. Index 0 stands for the kernel itself
    /// (kernel/bpf/verifier.c, `find_kfunc_desc_btf`), so the first element is never looked at.
    fn fd_index<'s>(&'s self, found: KernelType, fd_array: &mut Vec<BorrowedFd<'s>>) -> i16 {
        let Some(btf) = found.module.and_then(|m| self.resolved.modules.get(m)) else { return 0 };
        let fd = btf.as_fd();
        if fd_array.is_empty() {
            fd_array.push(fd);
        }
        let known = fd_array.iter().skip(1).position(|have| have.as_raw_fd() == fd.as_raw_fd());
        let index = known.map_or(fd_array.len(), |i| i + 1);
        if index == fd_array.len() {
            fd_array.push(fd);
        }
        i16::try_from(index).unwrap_or(i16::MAX)
    }

    /// The attach type that a program is loaded for. Links for many places are told apart from those for one
    /// here; a kernel without the former gets the latter, one for each place.
    fn expected_attach(&self, kind: ProgKind, attach: Option<&Attach>) -> AttachType {
        match attach.and_then(many) {
            Some((feature, attach)) if kind == ProgKind::Kprobe && self.kernel.has(feature) => attach,
            _ => AttachType(kind.info().expected_attach),
        }
    }
}

/// What a place takes that is linked together with others.
fn many(attach: &Attach) -> Option<(Feature, AttachType)> {
    match attach {
        Attach::KprobeMulti { .. } => Some((Feature::KprobeMulti, AttachType::TRACE_KPROBE_MULTI)),
        Attach::UprobeMulti { .. } => Some((Feature::UprobeMulti, AttachType::TRACE_UPROBE_MULTI)),
        _ => None,
    }
}
