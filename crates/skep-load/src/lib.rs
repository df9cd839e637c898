//! Turns specs into kernel objects: probes, maps, programs, links, events.
