//! A kernel and a system that exist only in tests.

use crate::env::{BinaryError, Env, PidNamespace, UserBinary};
use skep_btf::Btf;
use skep_ir::kernel::Arch;
use skep_ir::{Feature, FeatureSet, KernelInfo};
use std::sync::Arc;

pub(super) struct TestEnv {
    pub(super) features: FeatureSet,
    pub(super) cpus: u32,
    pub(super) namespace: PidNamespace,
    pub(super) btf: Option<Btf>,
}

impl Default for TestEnv {
    fn default() -> Self {
        let namespace = PidNamespace { initial: true, dev: 0, ino: 0 };
        TestEnv { features: FeatureSet::default(), cpus: 4, namespace, btf: None }
    }
}

impl KernelInfo for TestEnv {
    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    fn page_size(&self) -> u32 {
        4096
    }

    fn possible_cpus(&self) -> u32 {
        self.cpus
    }

    fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    fn btf(&self) -> Option<&Btf> {
        self.btf.as_ref()
    }
}

impl Env for TestEnv {
    fn tracepoint_format(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn tracepoints(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn tracepoints_unavailable(&self) -> Option<String> {
        None
    }

    fn btf_modules(&self) -> Vec<String> {
        Vec::new()
    }

    fn module_btf(&self, _: &str) -> Option<Arc<Btf>> {
        None
    }

    fn kernel_symbol(&self, _: &str) -> Option<u64> {
        None
    }

    fn kernel_functions(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn find_binary(&self, _: &str, _: Option<u32>) -> Vec<String> {
        Vec::new()
    }

    fn binary(&self, _: &str, _: Option<u32>) -> Result<Arc<dyn UserBinary>, BinaryError> {
        Err(BinaryError::Missing)
    }

    fn pid_namespace(&self) -> PidNamespace {
        self.namespace
    }

    fn cgroup_id(&self, _: &str) -> Option<u64> {
        None
    }

    fn read_source(&self, _: &str) -> Result<String, String> {
        Err("there are no files".into())
    }

    fn list_folder(&self, _: &str) -> Option<Vec<String>> {
        None
    }

    fn tai_offset(&self) -> i64 {
        37_000_000_000
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}
