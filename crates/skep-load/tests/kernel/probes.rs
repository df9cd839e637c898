//! Probed features against what the kernels of the test matrix are known to have.

use crate::harness::{Needs, Outcome, Stop, Test, ensure, ensure_eq};
use skep_ir::kernel::{Feature, FeatureSet, KernelInfo};
use skep_load::{Answer, LiveKernel, PROBES};
use skep_sys::proc::{Lockdown, kernel_release, kernel_version, lockdown};

pub(crate) const TESTS: &[Test] = &[
    ("probes_match_the_kernels_of_the_matrix", Needs::Root, matrix),
    ("features_that_are_switched_off_are_not_probed", Needs::Nothing, switched_off),
    ("the_kernel_answers_what_it_is", Needs::Nothing, facts),
];

/// Features that kernels of the matrix lack, by version; what is not listed, they have. The first is the kernel
/// of a locked-down virtual machine without kprobes and trampolines; the others are Debian's.
const LACKS: &[((u32, u32), &[Feature])] = &[
    (
        (6, 18),
        &[
            Feature::ProbeWriteUser,
            Feature::OverrideReturn,
            Feature::Kprobe,
            Feature::KprobeMulti,
            Feature::KprobeSession,
            Feature::Fentry,
            Feature::FmodRet,
            Feature::Lsm,
            Feature::LsmCgroup,
            Feature::SchedExt,
        ],
    ),
    (
        (6, 1),
        &[
            Feature::CpuV4,
            Feature::OverrideReturn,
            Feature::MayGoto,
            Feature::MapSumElemCount,
            Feature::IterNum,
            Feature::TaskFromPid,
            Feature::RdonlyCast,
            Feature::KprobeMulti,
            Feature::KprobeSession,
            Feature::UprobeMulti,
            Feature::Tcx,
            Feature::Netfilter,
            Feature::SchedExt,
            Feature::Arena,
        ],
    ),
    ((6, 12), &[Feature::OverrideReturn, Feature::SchedExt]),
    ((7, 3), &[Feature::OverrideReturn]),
];

fn matrix() -> Outcome {
    let release = kernel_release();
    let (major, minor, _) = kernel_version(&release);
    let Some((_, lacks)) = LACKS.iter().find(|(version, _)| *version == (major, minor)) else {
        return Err(Stop::Skip(format!("{release} is no kernel of the matrix")));
    };
    let own = (major, minor) == (6, 18);
    if own && lockdown() != Some(Lockdown::Integrity) {
        return Err(Stop::Skip(format!("{release} is not the locked-down kernel of the matrix")));
    }
    let kernel = LiveKernel::new();
    let mut wrong = Vec::new();
    for probe in PROBES {
        let expected = if lacks.contains(&probe.feature) { Answer::No } else { Answer::Yes };
        let found = kernel.answer(probe.feature);
        if found != expected {
            wrong.push(format!("{} {found:?}", probe.feature.name()));
        }
    }
    ensure!(wrong.is_empty(), "{release}: {}", wrong.join(", "));
    Ok(())
}

fn switched_off() -> Outcome {
    let off = FeatureSet::default().with(Feature::RingBuffer).with(Feature::CpuV4);
    let kernel = LiveKernel::without(off);
    ensure!(!kernel.has(Feature::RingBuffer) && !kernel.has(Feature::CpuV4), "they are off");
    // The features of a group that is shown by one program are not taken along.
    let _ = kernel.has(Feature::Jmp32);
    ensure!(!kernel.has(Feature::CpuV4), "it is still off");
    ensure_eq!(kernel.switched_off(), off);
    Ok(())
}

fn facts() -> Outcome {
    let kernel = LiveKernel::new();
    ensure!(kernel.possible_cpus() >= 1, "there is a CPU");
    ensure!(kernel.page_size().is_power_of_two(), "a page is a power of two");
    match kernel.open_btf() {
        Ok(btf) => ensure!(btf.func("do_exit").is_some(), "do_exit is described"),
        Err(why) => return Err(Stop::Skip(format!("kernel BTF: {why}"))),
    }
    ensure!(kernel.module_btf("no_such_module").is_none(), "there is no such module");
    Ok(())
}
