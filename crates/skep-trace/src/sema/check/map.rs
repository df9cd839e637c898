//! Maps: their keys and values over all uses.

use super::{Checker, Ex};
use crate::hir::{self, ExprKind as Hir, MapRef};
use crate::sema::diags::Stage;
use crate::sema::ty::{Ty, merge};
use crate::syntax::ast;
use crate::types::Type;
use skep_ir::{Diagnostic, Loc};

/// What is known of a map, from walk to walk.
#[derive(Clone, Debug)]
pub(crate) struct MapState {
    /// Its number in this walk: its place in the order of names among the maps that the walk before used.
    pub(crate) id: MapRef,
    /// Whether the number is such a place.
    numbered: bool,
    /// Whether it has keys; `None` while no use tells.
    pub(crate) keyed: Option<bool>,
    /// What the walk before found.
    pub(crate) was_keyed: Option<bool>,
    /// Key so far.
    pub(crate) key: Option<Ty>,
    /// Value so far.
    pub(crate) value: Option<Ty>,
    /// Kind and size from its declaration.
    pub(crate) declared: Option<(hir::DeclaredKind, u32)>,
    /// Declaration.
    pub(crate) declared_at: Option<Loc>,
    /// First use.
    pub(crate) loc: Loc,
    /// It is used in this walk.
    pub(crate) used: bool,
    /// The text of the function that sets it, for messages: `count()`.
    pub(crate) function: Option<String>,
}

impl MapState {
    /// Prepares for a walk; `next` is the first number that is free.
    pub(crate) fn begin_walk(&mut self, next: &mut u32) {
        self.numbered = self.used;
        if self.numbered {
            self.id = MapRef::from_u32(*next);
            *next += 1;
        }
        self.used = false;
        self.function = None;
        // Whether it has keys is found again in order, so that the message is at the use that disagrees.
        self.was_keyed = self.keyed.take().or(self.was_keyed);
    }
}

impl Checker<'_, '_> {
    /// A map by name; it is known from its first use on.
    pub(crate) fn map_state(&mut self, name: &str, loc: Loc) -> &mut MapState {
        if !self.maps.contains_key(name) {
            let state = MapState {
                // Some number until the next walk.
                id: MapRef::from_u32(self.maps.len() as u32),
                numbered: false,
                keyed: None,
                was_keyed: None,
                key: None,
                value: None,
                declared: None,
                declared_at: None,
                loc,
                used: false,
                function: None,
            };
            self.maps.insert(name.to_owned(), state);
        }
        let state = self.maps.get_mut(name).expect("it was inserted above if it was missing");
        if !state.used {
            state.loc = loc;
        }
        state.used = true;
        self.changed |= !state.numbered;
        state
    }

    /// Whether the maps used in this walk are those that have numbers.
    pub(crate) fn numbers_hold(&self) -> bool {
        self.maps.values().all(|m| m.used == m.numbered)
    }

    /// A use of an element (or of the only value): checks and merges the key and gives it the key's type. `None`
    /// after a message, or while the key's type is not known.
    pub(crate) fn map_access(
        &mut self,
        name: &str,
        key: Option<&[ast::Expr]>,
        loc: Loc,
    ) -> Option<(MapRef, Option<hir::Expr>)> {
        let keyed = key.is_some();
        let state = self.map_state(name, loc);
        match state.keyed {
            Some(before) if before != keyed => {
                let message = if keyed {
                    format!(
                        "@{name} used as a map with an explicit key (non-scalar map), previously used without an \
                         explicit key (scalar map)"
                    )
                } else {
                    format!(
                        "@{name} used as a map without an explicit key (scalar map), previously used with an \
                         explicit key (non-scalar map)"
                    )
                };
                self.diags.error(Stage::Types, loc, message);
                return None;
            }
            _ => state.keyed = Some(keyed),
        }
        let Some(key) = key else { return Some((self.maps.get(name)?.id, None)) };
        let key = self.key_expr(key, loc);
        self.map_key(name, key, loc)
    }

    /// The keys of an access as one value.
    fn key_expr(&mut self, key: &[ast::Expr], loc: Loc) -> Ex {
        let mut parts: Vec<Ex> = key
            .iter()
            .map(|e| {
                let ex = self.expr(e);
                self.value(ex)
            })
            .collect();
        if parts.len() == 1 {
            return parts.swap_remove(0);
        }
        if parts.iter().any(|p| p.unknown) {
            return Ex::unknown(loc);
        }
        // The tuple has no place of its own; it spans its elements.
        let at = match (parts.first(), parts.last()) {
            (Some(first), Some(last)) if first.loc().expansion == last.loc().expansion => {
                first.loc().to(last.loc())
            }
            _ => loc,
        };
        if let Some(bad) = parts.iter().find(|p| matches!(p.e.ty, Type::None | Type::Agg(_))) {
            let message = format!("Value '{}' cannot be used as a map key.", self.show(bad));
            return self.error(Stage::Types, loc, message);
        }
        if !self.fits_a_value(parts.iter(), loc) {
            return Ex::unknown(loc);
        }
        let ty = Ty::tuple(parts.iter().map(Ex::ty).collect());
        Ex::typed(Hir::Tuple(parts.into_iter().map(|p| p.e).collect()), ty, at)
    }

    /// Merges a key into a map's and converts it to the map's.
    pub(crate) fn map_key(&mut self, name: &str, key: Ex, loc: Loc) -> Option<(MapRef, Option<hir::Expr>)> {
        if key.unknown {
            return None;
        }
        let bad = match &key.e.ty {
            Type::None | Type::Agg(_) => {
                Some(format!("Value '{}' cannot be used as a map key.", self.show(&key)))
            }
            // Nothing is no key: the kernel wants a byte at least.
            Type::Tuple(_) | Type::Record(_) if self.db.size_of(&key.e.ty) == 0 => {
                Some(format!("Value '{}' cannot be used as a map key.", self.show(&key)))
            }
            _ if matches!(key.e.kind, Hir::Ctx) => Some("context cannot be part of a map key".to_owned()),
            _ => None,
        };
        if let Some(message) = bad {
            self.diags.error(Stage::Types, loc, message);
            return None;
        }
        let ty = key.ty();
        let state = self.map_state(name, loc);
        let id = state.id;
        let merged = match &state.key {
            None => ty.clone(),
            Some(known) => match merge(known, &ty) {
                Some(merged) => merged,
                None => {
                    let known = known.ty.clone();
                    let message = format!(
                        "Argument mismatch for @{name}: trying to access with arguments: '{}' when map expects \
                         arguments: '{}'",
                        self.db.show(&ty.ty),
                        self.db.show(&known)
                    );
                    self.diags.error(Stage::Types, loc, message);
                    return None;
                }
            },
        };
        let merged = self.wider(self.maps.get(name).and_then(|s| s.key.as_ref()), merged);
        let to = merged.ty.clone();
        if self.maps.get(name).is_some_and(|s| s.key.as_ref() != Some(&merged)) {
            self.changed = true;
            self.widened = Some((format!("the key of @{name}"), loc));
            if let Some(state) = self.maps.get_mut(name) {
                state.key = Some(merged);
            }
        }
        self.db.complete(&to);
        let key = self.convert(key, &to);
        Some((id, Some(key)))
    }

    /// `@m`, `@m[k]` as a value.
    pub(super) fn map_read(&mut self, name: &str, key: Option<&[ast::Expr]>, loc: Loc) -> Ex {
        let Some((map, key)) = self.map_access(name, key, loc) else {
            return Ex::unknown(loc);
        };
        match self.maps.get(name).and_then(|m| m.value.clone()) {
            Some(ty) => Ex::typed(Hir::Map(map, key.map(Box::new)), ty, loc),
            None => self.undefined_map(name, loc),
        }
    }

    /// A map that nothing was stored in. In an early walk the store may still come.
    pub(crate) fn undefined_map(&mut self, name: &str, loc: Loc) -> Ex {
        self.diags.error(Stage::Check, loc, format!("Undefined map: @{name}"));
        Ex::unknown(loc)
    }

    /// The map of an argument that must be a whole map.
    pub(crate) fn whole_map<'a>(&mut self, e: &'a ast::Expr) -> Option<&'a str> {
        match &e.kind {
            ast::ExprKind::Map { name, key: None, .. } => {
                self.map_state(name, e.loc);
                Some(name)
            }
            // A macro's parameter may come wrapped in a block that is nothing but the map.
            ast::ExprKind::Block(block) if block.stmts.is_empty() => self.whole_map(block.value.as_ref()?),
            _ => None,
        }
    }

    /// Merges the type of something stored into a map's value; the type to store is given back.
    pub(crate) fn store_type(&mut self, name: &str, ty: &Ty, loc: Loc) -> Option<Type> {
        let state = self.map_state(name, loc);
        let merged = match &state.value {
            None => ty.clone(),
            Some(known) => match merge(known, ty) {
                Some(merged) => merged,
                None => {
                    let known = known.ty.clone();
                    let message = format!(
                        "Type mismatch for @{name}: trying to assign value of type '{}' when map already has a type \
                         '{}'",
                        self.db.show(&ty.ty),
                        self.db.show(&known)
                    );
                    let same_kind =
                        matches!((&ty.ty, &known), (Type::Agg(a), Type::Agg(b)) if a.name() == b.name());
                    if same_kind {
                        self.different_bounds(&known, loc);
                    } else {
                        self.diags.push(Stage::Types, Diagnostic::error(loc, message));
                    }
                    return None;
                }
            },
        };
        let merged = self.wider(self.maps.get(name).and_then(|s| s.value.as_ref()), merged);
        let to = merged.ty.clone();
        if self.maps.get(name).is_some_and(|s| s.value.as_ref() != Some(&merged)) {
            self.changed = true;
            self.widened = Some((format!("@{name}"), loc));
            if let Some(state) = self.maps.get_mut(name) {
                state.value = Some(merged);
            }
        }
        self.db.complete(&to);
        Some(to)
    }

    /// One map collects with different constants at different places.
    fn different_bounds(&mut self, known: &Type, loc: Loc) {
        use crate::types::AggTy;
        let message = match known {
            Type::Agg(AggTy::Hist { .. }) => "Different bits in a single hist unsupported",
            Type::Agg(AggTy::Lhist { .. }) => "Different lhist bounds in a single map unsupported",
            _ => "Different tseries bounds in a single map unsupported",
        };
        self.diags.error(Stage::Resources, loc, message);
    }
}
