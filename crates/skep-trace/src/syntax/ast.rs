//! What a script says, before anything is known about names and types.
//!
//! The tree is plain data: the parser makes it, macro expansion copies and rewrites it, semantic analysis
//! reads it. Every node knows its place ([`Loc`]); copies made by a macro know the call as well.

use skep_ir::Loc;

/// A name with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident {
    /// The name, without `$` or `@`.
    pub name: String,
    /// The token, with its `$` or `@`.
    pub loc: Loc,
}

/// A whole script with everything that it imports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// The C part of the root file and of imported headers.
    pub c_items: Vec<CItem>,
    /// Its object-like macros that are defined at its end; expansion replaces their uses.
    pub defines: Vec<CDefine>,
    /// `config = { ... }`, entry by entry.
    pub config: Vec<ConfigEntry>,
    /// `import "..."` of the root file and of imported scripts, resolved ones included.
    pub imports: Vec<Import>,
    /// Probes, macros, map declarations and subprograms in source order.
    pub items: Vec<Item>,
}

/// `key=value` of the config block.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigEntry {
    /// The key as written.
    pub key: Ident,
    /// The value.
    pub value: ConfigValue,
    /// From the key to the end of the value.
    pub loc: Loc,
}

/// Value of a config entry.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// A number.
    Int(u64),
    /// A bare word.
    Word(String),
    /// A string.
    Str(String),
}

/// `import "path";`
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The path as written.
    pub path: String,
    /// The files that it brought in, as the loader names them; empty for imports inside of bodies.
    pub files: Vec<String>,
    /// The statement.
    pub loc: Loc,
}

/// Something at the top level.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `probe { ... }`
    Probe(Probe),
    /// `macro name(...) { ... }`
    Macro(Macro),
    /// `let @name = kind(n);`
    MapDecl(MapDecl),
    /// `fn name(...): type { ... }`
    Subprog(Subprog),
}

/// Attach points with a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Where it is attached.
    pub attach: Vec<AttachPoint>,
    /// `/ ... /`
    pub predicate: Option<Expr>,
    /// `{ ... }`
    pub body: Block,
    /// From the first attach point to the closing brace.
    pub loc: Loc,
}

/// One attach point as written; what its parts mean depends on the provider and is worked out later.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachPoint {
    /// `name=` before it.
    pub label: Option<Ident>,
    /// What stands before the first `:`, as written.
    pub provider: Ident,
    /// What stands behind each `:`.
    pub parts: Vec<AttachPart>,
    /// The whole attach point without its label.
    pub loc: Loc,
}

/// A part of an attach point between two `:`.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachPart {
    /// The text; quotes are taken away and positional parameters replaced.
    pub text: String,
    /// Whether any of it was quoted; wildcards in quotes are still wildcards, `:` in quotes part nothing.
    pub quoted: bool,
    /// The text with its quotes.
    pub loc: Loc,
}

/// A macro.
#[derive(Clone, Debug, PartialEq)]
pub struct Macro {
    /// Its name.
    pub name: Ident,
    /// Its parameters; `None` if it was written without parentheses.
    pub params: Option<Vec<MacroParam>>,
    /// Its body; the trailing expression is its value.
    pub body: Block,
    /// From `macro` to the closing brace.
    pub loc: Loc,
    /// Whether it belongs to the built-in library.
    pub builtin: bool,
}

/// A parameter of a macro: what kind of argument it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct MacroParam {
    /// `$p`, `@p` or `p`.
    pub kind: ParamKind,
    /// The name.
    pub name: Ident,
}

/// See [`MacroParam`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A scratch variable.
    Variable,
    /// A map.
    Map,
    /// Any expression, evaluated at each use; or a type given as `typeof(...)`.
    Expr,
}

/// `let @name = kind(n);`
#[derive(Clone, Debug, PartialEq)]
pub struct MapDecl {
    /// The map.
    pub map: Ident,
    /// `hash`, `lruhash`...
    pub kind: Ident,
    /// Elements.
    pub entries: Expr,
    /// The statement with its `;`.
    pub loc: Loc,
}

/// `fn name($a : type) : type { ... }`
#[derive(Clone, Debug, PartialEq)]
pub struct Subprog {
    /// Its name.
    pub name: Ident,
    /// Its parameters.
    pub params: Vec<(Ident, TypeExpr)>,
    /// Its result.
    pub ret: TypeExpr,
    /// Its body.
    pub body: Block,
    /// From `fn` to the closing brace.
    pub loc: Loc,
}

/// `{ statements; value }`
///
/// Only blocks of macros and blocks within expressions have a value. In bodies of probes, subprograms and
/// loops, and in the blocks of an `if` or a block that is a statement, the last expression is a statement,
/// with or without semicolon.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Statements.
    pub stmts: Vec<Stmt>,
    /// The expression without semicolon at the end, which is the block's value.
    pub value: Option<Box<Expr>>,
    /// From brace to brace.
    pub loc: Loc,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// From its first token to its last one. A `;` belongs to expression statements, `return`, `break` and
    /// `continue`, not to assignments, `let`, `_ =` and `import`; loops and blocks end with their brace.
    pub loc: Loc,
}

/// See [`Stmt`].
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `e;`
    Expr(Expr),
    /// `_ = e;`
    Discard(Expr),
    /// `target = e;` and `target op= e;`
    Assign {
        /// A variable, a map or a map element; anything else is an error of analysis.
        target: Expr,
        /// The operator of a compound assignment.
        op: Option<BinaryOp>,
        /// The right side.
        value: Expr,
    },
    /// `let $x: T = e;`
    Let {
        /// The variable.
        var: Ident,
        /// Its type.
        ty: Option<TypeExpr>,
        /// Its value.
        value: Option<Expr>,
    },
    /// `if c { } else { }`; `else if` is a block with one statement.
    If {
        /// The condition.
        cond: Expr,
        /// Where it holds.
        then: Block,
        /// Where it does not.
        other: Option<Block>,
    },
    /// `for ($x : ...) { }`
    For {
        /// The variable.
        var: Ident,
        /// What it runs over.
        over: ForOver,
        /// The body.
        body: Block,
    },
    /// `while (c) { }`
    While {
        /// The condition.
        cond: Expr,
        /// The body.
        body: Block,
    },
    /// `unroll (n) { }`
    Unroll {
        /// How often.
        count: Expr,
        /// The body.
        body: Block,
    },
    /// `break;`
    Break,
    /// `continue;`
    Continue,
    /// `return e;`
    Return(Option<Expr>),
    /// A block of its own.
    Block(Block),
    /// `import "path";` in a body: names code that the body needs, never loaded by the parser.
    Import(Import),
}

/// What a `for` runs over.
#[derive(Clone, Debug, PartialEq)]
pub enum ForOver {
    /// The elements of a map: [`ExprKind::Map`] without key.
    Map(Expr),
    /// `a..b`
    Range(Expr, Expr),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its place: from its first token to its last one, without parentheses around it. That of a cast is only
    /// `(T)`.
    pub loc: Loc,
}

/// See [`Expr`].
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A literal; negative ones are a [`UnaryOp::Neg`] of it.
    Int(u64),
    /// `true` or `false`.
    Bool(bool),
    /// A string: bytes, because escapes can make any.
    Str(Vec<u8>),
    /// `$name`
    Var(String),
    /// `@name` or `@name[keys]`; several keys are one tuple.
    Map {
        /// Name without `@`; empty for `@`.
        name: String,
        /// Place of the name.
        name_loc: Loc,
        /// The keys as written; `None` without brackets.
        key: Option<Vec<Expr>>,
    },
    /// `$1`
    Param(u32),
    /// `$#`
    ParamCount,
    /// A bare name: a builtin, an enumerator, a macro, a macro's parameter.
    Ident(String),
    /// `name(args)`
    Call {
        /// The function.
        name: Ident,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// `op e`
    Unary(UnaryOp, Box<Expr>),
    /// `++e`, `e--`
    IncDec {
        /// A variable, a map or a map element.
        target: Box<Expr>,
        /// `--`
        decrement: bool,
        /// Written before the target: the value is the new one.
        prefix: bool,
    },
    /// `a op b`
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `c ? a : b`; without the middle `c ?: b`
    Ternary(Box<Expr>, Option<Box<Expr>>, Box<Expr>),
    /// `(T)e`
    Cast(TypeExpr, Box<Expr>),
    /// `e.name` or `e->name`
    Field {
        /// The object, or a pointer to it.
        base: Box<Expr>,
        /// The field.
        name: Ident,
        /// Written with `->`.
        arrow: bool,
    },
    /// `e.N`
    TupleIndex(Box<Expr>, u64),
    /// `e[i]`
    Index(Box<Expr>, Box<Expr>),
    /// `(a, b)`, `(a,)`, `()`
    Tuple(Vec<Expr>),
    /// `(n = e, ...)`
    Record(Vec<(Ident, Expr)>),
    /// `{ stmts; value }`
    Block(Block),
    /// `if c { a } else { b }` used for its value
    If {
        /// The condition.
        cond: Box<Expr>,
        /// Where it holds.
        then: Block,
        /// Where it does not.
        other: Option<Block>,
    },
    /// `comptime e`
    Comptime(Box<Expr>),
    /// `sizeof(T)` or `sizeof(e)`
    Sizeof(TypeOrExpr),
    /// `offsetof(T, f.g)` or `offsetof(e, f.g)`
    Offsetof(TypeOrExpr, Vec<Ident>),
    /// `typeof(...)` as an argument of a macro
    Typeof(TypeOrExpr),
    /// `typeinfo(...)`
    Typeinfo(TypeOrExpr),
}

/// A type, or an expression whose type is meant. A bare name is parsed as a type; analysis may find that it
/// is a builtin.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeOrExpr {
    /// A type.
    Type(TypeExpr),
    /// An expression.
    Expr(Box<Expr>),
}

/// A type as written: a base and suffixes from left to right.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeExpr {
    /// What it begins with.
    pub base: TypeBase,
    /// `*` and `[n]`.
    pub suffixes: Vec<TypeSuffix>,
    /// The whole text.
    pub loc: Loc,
}

/// See [`TypeExpr`].
#[derive(Clone, Debug, PartialEq)]
pub enum TypeBase {
    /// `int32`, `string`, `size_t`...
    Name(String),
    /// `struct S`
    Struct(String),
    /// `union U`
    Union(String),
    /// `enum E`
    Enum(String),
    /// `typeof(...)`
    Typeof(Box<TypeOrExpr>),
    /// `(T1, T2)`
    Tuple(Vec<TypeExpr>),
}

/// See [`TypeExpr`].
#[derive(Clone, Debug, PartialEq)]
pub enum TypeSuffix {
    /// `*`
    Ptr,
    /// `[n]` or `[]`; the capacity of strings and buffers.
    Array(Option<Box<Expr>>),
}

/// Operators before an operand.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
    /// `~`
    BitNot,
    /// `*`
    Deref,
    /// `&`
    AddrOf,
}

/// Operators between operands.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the operators")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    BitAnd,
    BitOr,
    BitXor,
    Shl,
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    LogicalAnd,
    LogicalOr,
}

impl BinaryOp {
    /// The operator as written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::Shl => "<<",
            BinaryOp::Shr => ">>",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::LogicalAnd => "&&",
            BinaryOp::LogicalOr => "||",
        }
    }
}

/// `#define NAME text`
#[derive(Clone, Debug, PartialEq)]
pub struct CDefine {
    /// The name.
    pub name: Ident,
    /// What stands behind it on its line, without comments; a use is replaced by it, read as an expression.
    pub text: String,
    /// Place of the text.
    pub loc: Loc,
}

/// A definition of the C part.
#[derive(Clone, Debug, PartialEq)]
pub enum CItem {
    /// `struct S { ... };`, `union`, also anonymous ones behind a typedef.
    Composite(CComposite),
    /// `enum E { ... };`
    Enum(CEnum),
    /// `typedef T name;`
    Typedef {
        /// The new name.
        name: Ident,
        /// What it stands for.
        ty: CType,
    },
}

/// `struct` or `union` of the C part.
#[derive(Clone, Debug, PartialEq)]
pub struct CComposite {
    /// Tag; empty if anonymous.
    pub name: String,
    /// Whether it is a union.
    pub union: bool,
    /// Members; `None` for a declaration without a body.
    pub members: Option<Vec<CMember>>,
    /// `__attribute__((packed))`
    pub packed: bool,
    /// `__attribute__((aligned(n)))`, 0 if none
    pub align: u32,
    /// The definition.
    pub loc: Loc,
}

/// A member of a [`CComposite`].
#[derive(Clone, Debug, PartialEq)]
pub struct CMember {
    /// Name; empty for an anonymous struct or union.
    pub name: String,
    /// Type.
    pub ty: CType,
    /// Bits of a bit-field.
    pub bits: Option<u32>,
    /// `__attribute__((aligned(n)))` of the member, 0 if none.
    pub align: u32,
    /// Its place.
    pub loc: Loc,
}

/// `enum` of the C part.
#[derive(Clone, Debug, PartialEq)]
pub struct CEnum {
    /// Tag; empty if anonymous.
    pub name: String,
    /// Enumerators with their values.
    pub variants: Vec<(String, i64)>,
    /// The definition.
    pub loc: Loc,
}

/// A type of the C part.
#[derive(Clone, Debug, PartialEq)]
pub enum CType {
    /// An arithmetic type: bytes and sign. `char` is signed.
    Int {
        /// 1, 2, 4 or 8.
        bytes: u32,
        /// Whether it is signed.
        signed: bool,
    },
    /// `_Bool`, `bool`
    Bool,
    /// `float`, `double`: only their size matters.
    Float(u32),
    /// `void`
    Void,
    /// A typedef's name, perhaps known only to the kernel's types.
    Name(Ident),
    /// `struct S` by name.
    Struct(Ident),
    /// `union U` by name.
    Union(Ident),
    /// `enum E` by name.
    Enum(Ident),
    /// Defined where it is used.
    Inline(Box<CItem>),
    /// Pointer; a function pointer is a pointer to void.
    Ptr(Box<CType>),
    /// Array; no length for a flexible one.
    Array(Box<CType>, Option<u64>),
}
