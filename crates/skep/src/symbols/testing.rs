//! Programs for tests, compiled when they run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that goes with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new folder; the name is for people.
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("skep-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the folder for temporary files can be written to");
        Folder(path)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Compiles a C program with `gcc` and these flags; `None`, with a word about it, if there is no compiler.
    pub(crate) fn compile(&self, name: &str, source: &str, flags: &[&str]) -> Option<PathBuf> {
        let (text, program) = (self.0.join(format!("{name}.c")), self.0.join(name));
        std::fs::write(&text, source).expect("the test's folder can be written to");
        self.run("gcc", &[&[text.to_str()?, "-o", program.to_str()?], flags].concat())?;
        Some(program)
    }

    /// Runs a tool that must succeed, and gives its output; `None`, with a word about it, if it is not installed.
    pub(crate) fn run(&self, tool: &str, args: &[&str]) -> Option<String> {
        let output = match Command::new(tool).args(args).current_dir(&self.0).output() {
            Ok(output) => output,
            Err(e) => {
                let _ = std::io::Write::write_all(
                    &mut std::io::stderr(),
                    format!("skipped: {tool}: {e}\n").as_bytes(),
                );
                return None;
            }
        };
        assert!(output.status.success(), "{tool} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program with functions, variables and two USDT probes, one of them with a semaphore.
pub(crate) const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#define NOTE(provider, name, semaphore, args, ...)                                                        \
    __asm__ __volatile__(                                                                                 \
        "990: nop\n"                                                                                      \
        ".pushsection .note.stapsdt,\"\",\"note\"\n .balign 4\n"                                          \
        ".4byte 992f-991f, 994f-993f, 3\n"                                                                \
        "991: .asciz \"stapsdt\"\n"                                                                       \
        "992: .balign 4\n"                                                                                \
        "993: .8byte 990b\n .8byte _.stapsdt.base\n .8byte " semaphore "\n"                               \
        ".asciz \"" provider "\"\n .asciz \"" name "\"\n .asciz \"" args "\"\n"                           \
        "994: .balign 4\n .popsection\n"                                                                  \
        ".ifndef _.stapsdt.base\n"                                                                        \
        ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                           \
        ".weak _.stapsdt.base\n .hidden _.stapsdt.base\n"                                                 \
        "_.stapsdt.base: .space 1\n .size _.stapsdt.base, 1\n .popsection\n .endif\n" ::__VA_ARGS__)
unsigned short test_gate_semaphore __attribute__((section(".probes"), used));
int counter = 42;
__attribute__((noinline)) int twice(int n) {
    NOTE("test", "plain", "0", "-4@%0", "r"(n));
    if (test_gate_semaphore)
        NOTE("test", "gate", "test_gate_semaphore", "-4@%0 8@%1", "r"(n), "r"((long)n * 2));
    return n * 2;
}
static __attribute__((noinline)) int hidden(int n) { return twice(n) + counter; }
int main(int argc, char **argv) {
    printf("%d %p\n", hidden(argc), (void *)&twice);
    fflush(stdout);
    if (argc > 1) sleep(30);
    return 0;
}
"#;

/// A program with types of all kinds, and a function that is inlined.
pub(crate) const TYPED: &str = r#"
#include <stdio.h>
enum color { RED, GREEN = 5, BLUE };
struct point { int x, y; };
union either { long number; char text[8]; };
struct node {
    struct node *next;
    const char *name;
    struct point at[3];
    unsigned ready : 1;
    unsigned level : 5;
    enum color color;
    union either value;
    double weight;
    int (*call)(int);
};
typedef unsigned long size;
static inline __attribute__((always_inline)) int inner(const struct node *n) {
    return n->at[1].x + 1; /* in inner */
}
__attribute__((noinline)) size measure(struct node *n, const char *label, size max, ...) {
    int extra = inner(n); /* call of inner */
    return extra + (label ? label[0] : 0) + max;
}
int main(int argc, char **argv) {
    struct node n = { .at = { { argc, 1 } } };
    printf("%lu\n", measure(&n, argv[0], 3)); /* call of measure */
    return 0;
}
"#;

/// The number of the line with a text.
pub(crate) fn line_of(source: &str, text: &str) -> u32 {
    source.lines().position(|line| line.contains(text)).expect("it is in the program") as u32 + 1
}
