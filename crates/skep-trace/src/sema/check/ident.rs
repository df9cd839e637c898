//! Bare names.

use super::{Checker, Ex};
use crate::config::Unstable;
use crate::hir::ExprKind as Hir;
use crate::sema::attach::suggest;
use crate::sema::calls;
use crate::sema::diags::Stage;
use crate::types::{EnumId, Type};
use skep_ir::{Diagnostic, Loc, Severity};

impl Checker<'_, '_> {
    pub(super) fn identifier(&mut self, name: &str, loc: Loc) -> Ex {
        if let Some(function) = calls::find(name).filter(|f| f.bare) {
            return (function.run)(self, &calls::Call { name, args: &[], loc });
        }
        if let Some(number) = argument_number(name) {
            return self.argument(number, name, loc);
        }
        if let Some((id, value)) = self.db.enumerator(name) {
            return self.enumerator(id, value, loc);
        }
        let mut note = Diagnostic::error(loc, format!("Unknown identifier: '{name}'"));
        if let Some(near) = suggest::nearest(name, calls::bare_names()) {
            note = note.hint(format!("Did you mean {near}?"));
        }
        self.diags.push(Stage::Check, note);
        Ex::failed(loc)
    }

    fn enumerator(&mut self, id: EnumId, value: i64, loc: Loc) -> Ex {
        let repr = self.db.structs.enums[id].repr;
        let bits = super::convert::mask(i128::from(value), repr);
        Ex::new(Hir::Int(bits), Type::Enum(id), loc)
    }

    /// Whether a feature whose meaning may still change may be used; tells about it.
    pub(crate) fn unstable(&mut self, feature: &str, key: &str, setting: Unstable, loc: Loc) -> bool {
        match setting {
            Unstable::Enable => true,
            Unstable::Warn => {
                let message = format!(
                    "Script is using an unstable feature: {feature}. To prevent this warning you must explicitly \
                     enable it in the config e.g. {key}=enable"
                );
                self.diags.push(Stage::Config, Diagnostic::new(Severity::Warning, None, message));
                true
            }
            Unstable::Error => {
                let message = format!(
                    "{feature} feature is not enabled by default. To enable this unstable feature, set the config \
                     flag to enable. {key}=enable"
                );
                self.diags.error(Stage::Config, loc, message);
                false
            }
        }
    }
}

/// The number of an argument builtin: `arg0`, `arg1`...
fn argument_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("arg")?;
    let plain = digits == "0" || !digits.starts_with('0');
    (plain && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}
