//! What several test targets share.

pub(crate) mod env;
pub(crate) mod types;
