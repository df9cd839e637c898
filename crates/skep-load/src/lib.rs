//! Turns specs into kernel objects: probes, maps, programs, links, events.
#![forbid(unsafe_code)]

pub mod attach;
pub mod events;
