//! Holding on to type information, wherever it lives.

use crate::env::UserBinary;
use skep_btf::Btf;
use std::ops::Deref;
use std::sync::Arc;

/// Type information of the kernel, of a module, or of a user program.
#[derive(Clone)]
pub enum BtfRef<'e> {
    /// The kernel's.
    Kernel(&'e Btf),
    /// A module's.
    Module(Arc<Btf>),
    /// A user program's.
    Binary(Arc<dyn UserBinary>),
}

impl<'e> BtfRef<'e> {
    /// Type information of a user program, if it has any.
    #[must_use]
    pub fn binary(binary: Arc<dyn UserBinary>) -> Option<BtfRef<'e>> {
        binary.types()?;
        Some(BtfRef::Binary(binary))
    }
}

impl Deref for BtfRef<'_> {
    type Target = Btf;

    fn deref(&self) -> &Btf {
        match self {
            BtfRef::Kernel(btf) => btf,
            BtfRef::Module(btf) => btf,
            BtfRef::Binary(binary) => {
                binary.types().expect("a reference is made only to a program that has type information")
            }
        }
    }
}
