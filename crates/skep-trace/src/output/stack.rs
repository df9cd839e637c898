//! Symbols and stacks.

use super::host::SourceLine;
use super::number::{self, read};
use super::values::Values;
use crate::types::StackMode;

/// Before a frame where it stands by its symbol alone.
const INDENT: &[u8] = b"        ";

/// Bytes of a frame by build id, `struct bpf_stack_build_id` of `linux/bpf.h`.
const BUILD_ID_FRAME: usize = 32;

impl Values<'_> {
    /// A kernel address as the name of its symbol.
    pub(super) fn kernel_symbol(&mut self, out: &mut Vec<u8>, address: u64) {
        match self.names.kernel_symbol(address) {
            Some(symbol) => out.extend_from_slice(symbol.name.as_bytes()),
            None => unknown(out, address),
        }
    }

    /// An address of a process as the name of its function.
    pub(super) fn user_symbol(&mut self, out: &mut Vec<u8>, pid: u32, address: u64) {
        match self.names.user_symbol(pid, address).and_then(|symbol| symbol.name.as_deref()) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => unknown(out, address),
        }
    }

    /// A stack by its number: of the kernel, or of a process. It begins and ends with a newline.
    pub(super) fn stack(&mut self, out: &mut Vec<u8>, mode: StackMode, pid: Option<u32>, id: u64) {
        out.push(b'\n');
        let build_ids = mode == StackMode::BuildId && pid.is_some();
        let map = if build_ids { self.plan.build_id_stacks } else { self.plan.stacks };
        let mut frames = std::mem::take(&mut self.cache.frames);
        frames.clear();
        // A number below zero is what the kernel returned instead of a stack.
        let found = (id as i64) > 0 || (id == 0 && map.is_some());
        let found = found
            && map.is_some_and(|map| self.maps.lookup(map, &id.to_le_bytes(), &mut frames).unwrap_or(false));
        if !found && id != 0 {
            out.extend_from_slice(INDENT);
            out.extend_from_slice(b"<unwind failure>\n");
        } else if build_ids {
            build_id_frames(out, &frames);
        } else {
            for (index, frame) in frames.chunks_exact(8).enumerate() {
                let address = read(frame, 0, 8);
                if address == 0 {
                    break;
                }
                match pid {
                    Some(pid) => self.user_frame(out, mode, pid, address, index > 0),
                    None => self.kernel_frame(out, mode, address),
                }
                out.push(b'\n');
            }
        }
        self.cache.frames = frames;
    }

    fn kernel_frame(&mut self, out: &mut Vec<u8>, mode: StackMode, address: u64) {
        if !begin_frame(out, mode, address) {
            return;
        }
        match self.names.kernel_symbol(address) {
            Some(symbol) => number::write(out, format_args!("{}+{}", symbol.name, symbol.offset)),
            None => {
                unknown(out, address);
                if mode == StackMode::Perf {
                    out.extend_from_slice(b" ([unknown])");
                }
            }
        }
    }

    fn user_frame(&mut self, out: &mut Vec<u8>, mode: StackMode, pid: u32, address: u64, returned_to: bool) {
        let start = out.len();
        if !begin_frame(out, mode, address) {
            return;
        }
        let lines = self.settings.source_lines;
        let symbol = self.names.user_frame(pid, address, returned_to);
        if let Some(symbol) = symbol {
            let head = out.split_off(start);
            for (name, line) in &symbol.inlined {
                out.extend_from_slice(&head);
                number::write(out, format_args!("[inlined] {name}"));
                source_line(out, line.as_ref().filter(|_| lines));
                out.push(b'\n');
            }
            out.extend_from_slice(&head);
        }
        match symbol.and_then(|symbol| Some((symbol, symbol.name.as_deref()?))) {
            Some((symbol, name)) => {
                number::write(out, format_args!("{name}+{}", symbol.offset));
                source_line(out, symbol.line.as_ref().filter(|_| lines));
            }
            None => unknown(out, address),
        }
        if mode == StackMode::Perf {
            let path = symbol.and_then(|symbol| symbol.path.as_deref()).unwrap_or("[unknown]");
            number::write(out, format_args!(" ({path})"));
        }
    }
}

/// What stands before the symbol of a frame; false if no symbol is wanted.
fn begin_frame(out: &mut Vec<u8>, mode: StackMode, address: u64) -> bool {
    match mode {
        StackMode::Raw => {
            number::hex(out, address);
            return false;
        }
        StackMode::Perf => {
            out.push(b'\t');
            number::hex(out, address);
            out.push(b' ');
        }
        StackMode::Bpftrace | StackMode::BuildId => out.extend_from_slice(INDENT),
    }
    true
}

fn source_line(out: &mut Vec<u8>, line: Option<&SourceLine>) {
    if let Some(SourceLine { file, line }) = line {
        number::write(out, format_args!("@{file}:{line}"));
    }
}

/// An address without a symbol.
fn unknown(out: &mut Vec<u8>, address: u64) {
    if address != 0 {
        out.extend_from_slice(b"0x");
    }
    number::hex(out, address);
}

/// Frames as build id and offset in the file; as addresses where the kernel found no build id.
fn build_id_frames(out: &mut Vec<u8>, frames: &[u8]) {
    const VALID: u64 = 1;
    for frame in frames.chunks_exact(BUILD_ID_FRAME) {
        let (status, word) = (read(frame, 0, 4), read(frame, 24, 8));
        match status {
            0 => break,
            // An address below the first mapping, which is how chains of frames end, is taken for a place before
            // the start of that mapping's file (`find_vma` in kernel/bpf/stackmap.c).
            VALID if (word as i64) < 0 => break,
            VALID => {
                frame[4..24].iter().for_each(|byte| number::hex_byte(out, *byte));
                number::write(out, format_args!(" {word:#04x}\n"));
            }
            _ => number::write(out, format_args!("{word:x}\n")),
        }
    }
}
