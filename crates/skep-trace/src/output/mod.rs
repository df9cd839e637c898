//! Output: from records and maps of a running script to text or JSON.
//!
//! A [`Printer`] follows a [`Plan`](crate::plan::Plan). It is given every record in the order in which the rings
//! deliver them, prints what they ask for, and hands back as an [`Effect`] what it cannot do itself: it does no
//! I/O, and asks the system through the traits in [`Host`].
//!
//! ```text
//! ring ─► Printer::record ─► Sink::output, Sink::message
//!              │    ▲
//!       Effect ▼    │ Maps, Resolver
//!   session: exit, run, read a file, clear a map
//! ```

mod host;
mod printer;

pub use host::{Host, KernelSymbol, MapError, Maps, Resolver, Sink, SourceLine, UserSymbol, Zone};
pub use printer::{Effect, OutputFormat, Printer, Settings, TestResult};
