//! What the verifier says, and what it means to who wrote the program.

/// Who can do something about a rejection.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Who wrote the program: it asks for too much, or for what the kernel does not offer.
    Program,
    /// skep: it has accepted what it should have refused, or compiled it wrongly.
    Compiler,
}

/// A line of the verifier's, and its meaning.
#[derive(Debug)]
pub struct Meaning {
    /// Text that the line contains; `{}` stands for anything.
    pub pattern: &'static str,
    /// What it means; `{0}`, `{1}`... is what stood for the first, second... `{}`.
    pub cause: &'static str,
    /// What to do about it; empty if that follows from the blame.
    pub remedy: &'static str,
    /// Who can.
    pub blame: Blame,
}

macro_rules! meanings {
    ($($blame:ident $pattern:literal => $cause:literal, $remedy:literal;)*) => {
        /// Tried in this order, the particular before the general.
        pub const MEANINGS: &[Meaning] = &[$(Meaning {
            pattern: $pattern, cause: $cause, remedy: $remedy, blame: Blame::$blame,
        }),*];
    };
}

meanings! {
    // Limits.
    Program "BPF program is too large. Processed {} insn" =>
        "the program is too complex: the kernel gave up after following {0} instructions",
        "split it over several probes, or make its loops shorter and its branches fewer";
    Program "he sequence of {} jumps is too complex" =>
        "too many branches follow each other: the kernel gave up after {0} of them on one path",
        "split the program over several probes, or make its loops shorter";
    Program "infinite loop detected" => "the kernel cannot see that this loop ends",
        "bound it by a constant, e.g. `for ($i : 0..100)`, or count with a variable that is compared to one";
    Program "back-edge from insn {} to {}" => "this kernel allows no loops",
        "write the steps out, or use `unroll`";
    Program "combined stack size of {} calls is {}. Too large" =>
        "the functions that call each other here need {1} bytes of stack and a program has 512",
        "make strings and structs smaller, or keep them in maps";
    Program "the call stack of {} frames is too deep" =>
        "functions call each other {0} deep and the kernel allows 8", "call fewer functions from functions";
    Program "too many subprograms" => "the program has more functions than the kernel allows (256)",
        "use fewer functions";
    Program "the program is too complex" => "the program is too complex for the kernel to check",
        "split it over several probes";
    Program "trace type programs can only use preallocated hash map" =>
        "on this kernel, programs of this kind can use only maps whose memory is taken at the start",
        "upgrade to 6.1 or later, or use a map without its own memory policy";

    // Helpers and kernel functions.
    Program "program of this type cannot use helper {}" => "this kind of probe cannot call {0} on this kernel",
        "use another kind of probe, or do without the function; `skep feature` lists what the kernel offers";
    Program "unknown func {}" => "the kernel does not offer {0} to this kind of probe",
        "do without the function, or use a newer kernel; `skep feature` lists what this one offers";
    Program "invalid func {}" => "the kernel does not have {0}",
        "do without the function, or use a newer kernel; `skep feature` lists what this one offers";
    Program "cannot call GPL-restricted function from non-GPL compatible program" =>
        "only programs under a licence that is compatible with the GPL may call this",
        "set the licence to GPL, or do without the function";
    Program "GPL-restricted function from non-GPL" =>
        "only programs under a licence that is compatible with the GPL may call this",
        "set the licence to GPL, or do without the function";
    Program "helper call is not allowed in probe" => "this function cannot be called in this kind of probe",
        "use another kind of probe";
    Program "helper call might sleep in a non-sleepable prog" =>
        "this function may sleep, and programs of this kind may not", "use another kind of probe";
    Program "sleepable helper {} in non-sleepable prog" =>
        "{0} may sleep, and programs of this kind may not", "use another kind of probe";
    Program "calling kernel function {} is not allowed" =>
        "this kind of probe cannot call the kernel function {0} on this kernel",
        "use another kind of probe, or do without the function";
    Program "kernel function {} args#{} expected pointer" =>
        "an argument of the kernel function {0} is not of the type that it takes", "";

    // What is attached to.
    Program "{}() is not modifiable" => "the kernel does not let the result of {0} be changed",
        "only functions marked for error injection and security hooks can be changed";
    Program "attach_btf_id {} is not a function" => "what is to be attached to is no function", "";
    Program "is not a function" => "what is to be attached to is no function", "check its name";
    Program "is static and cannot be traced" => "the function cannot be traced", "use a kprobe or a tracepoint";
    Program "only type cast to" => "a value is cast to a type that the kernel does not allow here", "";

    // Permission.
    Program "leaks addr" => "the program would show a kernel address to a user without the right to see it",
        "run as root, or with CAP_PERFMON";
    Program "pointer comparison prohibited" => "comparing addresses needs more rights",
        "run as root, or with CAP_PERFMON";

    // Memory.
    Compiler "R{} invalid mem access 'map_value_or_null'" =>
        "the value of a map is used before it is known that there is one", "";
    Compiler "R{} invalid mem access '{}_or_null'" => "a value of type {1} is used that may be null", "";
    Compiler "R{} invalid mem access 'scalar'" => "a number is used as an address", "";
    Compiler "R{} invalid mem access 'inv'" => "a number is used as an address", "";
    Compiler "R{} invalid mem access '{}'" => "memory cannot be accessed through a value of type {1}", "";
    Compiler "invalid access to map value, value_size={} off={} size={}" =>
        "{2} bytes at offset {1} of a map's value of {0} bytes are accessed", "";
    Compiler "invalid access to packet, off={} size={}" =>
        "{1} bytes at offset {0} of a packet are accessed before it is known that it has them", "";
    Compiler "invalid access to memory, mem_size={} off={} size={}" =>
        "{2} bytes at offset {1} of {0} bytes of memory are accessed", "";
    Compiler "invalid access to map key" => "memory outside of a map's key is accessed", "";
    Compiler "unbounded memory access" => "the kernel cannot see an upper limit of a length or index", "";
    Compiler "min value is negative" => "a length or index may be negative", "";
    Compiler "min value is outside of the allowed memory range" => "an index may be below the start of memory", "";
    Compiler "max value is outside of the allowed memory range" => "an index may be beyond the end of memory", "";
    Compiler "invalid zero-sized read" => "a length may be zero", "";
    Compiler "invalid read from stack" => "memory of a variable is read before it is written", "";
    Compiler "invalid indirect read from stack" => "memory of a variable is read before it is written", "";
    Compiler "invalid indirect access to stack" => "memory outside of a variable is given to a helper", "";
    Compiler "invalid write to stack" => "memory outside of the stack is written", "";
    Compiler "invalid stack" => "memory outside of the stack is accessed", "";
    Compiler "invalid variable-offset" => "stack memory is accessed at an offset that is not constant", "";
    Compiler "misaligned" => "memory is accessed at an address that is no multiple of the access's size", "";

    // Registers and pointers.
    Compiler "R{} !read_ok" => "a value is used before it is set", "";
    Compiler "dereference of modified {} ptr" => "the address of the {0} is used after it was changed", "";
    Compiler "same insn cannot be used with different pointers" =>
        "one instruction accesses memory of different kinds", "";
    Compiler "math between {} pointer and {}" => "a number without limits is added to a {0} address", "";
    Compiler "R{} pointer arithmetic on {} prohibited" => "an address of type {1} is changed", "";
    Compiler "pointer += pointer prohibited" => "two addresses are added", "";
    Compiler "only read is supported" => "kernel memory is written, and programs may only read it", "";
    Compiler "invalid bpf_context access off={} size={}" =>
        "{1} bytes at offset {0} of the context cannot be accessed in this kind of program", "";
    Compiler "R{} type={} expected={}" => "a function of the kernel gets {1} where it takes {2}", "";
    Compiler "Unreleased reference" => "something that was acquired is not released on every path", "";
    Compiler "At program exit the register R0 has" => "the result is none that this kind of program may return", "";

    // Shape of the code.
    Compiler "unreachable insn {}" => "a part of the program can never run", "";
    Compiler "jump out of range" => "a jump leads out of the program", "";
    Compiler "last insn is not an exit or jmp" => "the program runs past its end", "";
}

impl Meaning {
    /// The cause of a line that matches, with what stood for its `{}`.
    pub fn of(&self, line: &str) -> Option<String> {
        let captures = captures(self.pattern, line)?;
        let mut cause = self.cause.to_owned();
        for (i, capture) in captures.iter().enumerate() {
            cause = cause.replace(&format!("{{{i}}}"), capture);
        }
        Some(cause)
    }
}

/// What stands for the `{}` of a pattern in a line that contains it. One at the end, or at the beginning, stands
/// for one word.
fn captures<'l>(pattern: &str, line: &'l str) -> Option<Vec<&'l str>> {
    let mut parts = pattern.split("{}");
    let first = parts.next()?;
    let at = line.find(first)?;
    let mut captures = Vec::new();
    let mut rest = &line[at + first.len()..];
    for part in parts {
        let end = if part.is_empty() {
            rest.find([' ', ',', ';', '.']).unwrap_or(rest.len())
        } else {
            rest.find(part)?
        };
        captures.push(&rest[..end]);
        rest = &rest[end + part.len()..];
    }
    Some(captures)
}

#[cfg(test)]
mod tests {
    use super::captures;

    #[test]
    fn patterns_match_anywhere_and_capture() {
        assert_eq!(captures("R{} !read_ok", "R3 !read_ok"), Some(vec!["3"]));
        assert_eq!(captures("size={} off={} end", "x size=4 off=8 end"), Some(vec!["4", "8"]));
        assert_eq!(captures("unknown func {}", "unknown func bpf_x#3"), Some(vec!["bpf_x#3"]));
        assert_eq!(captures("{}() is not", "do_exit() is not modifiable"), Some(vec!["do_exit"]));
        assert_eq!(captures("unbounded", "R1 unbounded memory"), Some(vec![]));
        assert_eq!(captures("a{}b{}c", "a-b-"), None);
    }
}
