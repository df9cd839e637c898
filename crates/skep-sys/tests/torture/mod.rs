//! Every parser of the crate over one input, for the fuzz targets and for the test that mutates the case files.
//! What is checked besides the absence of panics: what came out fits what went in.

use skep_sys::cpu::CpuList;
use skep_sys::net::{self, Interface, TcFilter};
use skep_sys::perf::BitRange;
use skep_sys::proc::{self, Lockdown, MountTable, ProcStat, ProcStatus, SymbolTable, Users};
use std::io::Read;
use std::ops::ControlFlow;

/// Hands the bytes over in small pieces of changing size, as a file may.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 7 + 1;
        let n = self.1.min(self.0.len()).min(out.len());
        out[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

/// The parsers of text.
pub(crate) fn text(data: &[u8]) {
    let lines = data.split(|b| *b == b'\n').count();
    let symbols = |from: &mut dyn Read| {
        let mut all = Vec::new();
        let visited = proc::visit_symbols_in(from, |symbol| {
            assert!(!symbol.name.is_empty());
            all.push((symbol.addr, symbol.name.to_owned()));
            ControlFlow::Continue(())
        });
        assert_eq!(visited.expect("memory does not fail").symbols, all.len());
        all
    };
    let all = symbols(&mut &*data);
    assert!(all.len() <= lines);
    // However the file is cut, it says the same.
    assert_eq!(symbols(&mut Pieces(data, 0)), all);
    let table = SymbolTable::read(data, false).expect("memory does not fail");
    for (addr, _) in &all {
        for probe in [*addr, addr.wrapping_add(1), addr.wrapping_sub(1)] {
            if let Some(found) = table.resolve(probe) {
                assert!(probe >= found.offset && !found.name.contains('\0'));
            }
        }
    }
    for map in proc::parse_maps(data) {
        assert!(map.start <= map.end);
        let _ = map.is_file();
    }
    let table = MountTable::parse(data);
    assert!(table.iter().count() <= lines);
    for mount in table.iter() {
        let _ = table.places_of(&mount.fs_type).count();
    }
    if let Some(stat) = ProcStat::parse(data) {
        assert!(stat.comm.len() <= 3 * data.len());
    }
    let _ = proc::argv(data);
    let _ = proc::parse_cgroup(data);
    assert!(Users::parse(data).iter().count() <= lines);
    let text = String::from_utf8_lossy(data);
    let _ = ProcStatus::parse(&text);
    let _ = Lockdown::parse(&text);
    let _ = proc::version_code(proc::kernel_version(&text));
    if let Some(bits) = BitRange::parse(&text) {
        assert!(bits.encode(1).is_some() && bits.encode(0) == Some(0));
    }
    for line in text.lines() {
        if let Some(list) = CpuList::parse(line) {
            assert!(list.iter().all(|cpu| list.contains(cpu)));
        }
    }
}

/// The parsers of netlink messages.
pub(crate) fn netlink(data: &[u8]) {
    fn attributes(data: &[u8], depth: u32) {
        let mut bytes = 0;
        for attribute in net::attributes(data) {
            bytes += attribute.value.len() + 4;
            let _ = (attribute.u8(), attribute.u32(), attribute.text());
            if depth < 4 {
                attributes(attribute.value, depth + 1);
            }
        }
        assert!(bytes <= data.len());
    }
    let mut bytes = 0;
    for message in net::messages(data) {
        bytes += message.payload.len() + 16;
        attributes(message.payload, 0);
        let _ = (Interface::parse(message.payload), TcFilter::parse(message.payload));
    }
    assert!(bytes <= data.len());
    attributes(data, 0);
    let _ = (Interface::parse(data), TcFilter::parse(data));
}
