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

mod convert;
mod elements;
mod errno;
mod gfp;
mod histogram;
mod host;
mod json;
mod map;
mod messages;
mod number;
mod printer;
mod report;
mod series;
mod stack;
mod time;
mod values;

pub use host::{Host, KernelSymbol, MapError, Maps, Resolver, Sink, SourceLine, UserSymbol, Zone};
pub use printer::{Effect, OutputFormat, Printer, Settings, TestResult};
