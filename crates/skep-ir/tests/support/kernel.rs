//! Kernels that tests compile for.

use skep_btf::Btf;
use skep_ir::kernel::{Arch, Feature, FeatureSet, KernelInfo};

pub struct TestKernel {
    pub features: FeatureSet,
    pub btf: Option<Btf>,
    pub cpus: u32,
}

impl TestKernel {
    pub fn new() -> Self {
        TestKernel { features: FeatureSet::all(), btf: None, cpus: 2 }
    }

    /// `all`, or `all -a -b`, or a list of features.
    pub fn with_features(text: &str) -> Result<Self, String> {
        let mut kernel = TestKernel::new();
        kernel.features = FeatureSet::default();
        for word in text.split([' ', ',']).filter(|w| !w.is_empty()) {
            let (name, add) = word.strip_prefix('-').map_or((word, true), |name| (name, false));
            if name == "all" {
                kernel.features = FeatureSet::all();
                continue;
            }
            let feature = Feature::ALL.iter().copied().find(|f| f.name() == name);
            let feature = feature.ok_or_else(|| format!("there is no feature {name}"))?;
            kernel.features =
                if add { kernel.features.with(feature) } else { kernel.features.without(feature) };
        }
        Ok(kernel)
    }
}

impl KernelInfo for TestKernel {
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
