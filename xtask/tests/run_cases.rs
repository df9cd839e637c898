//! The runner of run cases, tested on cases over small shell commands. Each case here is a whole `.t` file and
//! what the runner says about it.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/run-cases", |case| {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("xtask-run-cases-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir(&dir.0).map_err(|e| e.to_string())?;
        let file = dir.0.join("t.t");
        std::fs::write(&file, case.section("cases").unwrap_or_default()).map_err(|e| e.to_string())?;
        for (name, text) in [("expected.txt", "one\ntwo\n"), ("expected.json", "{\"a\": 1}\n[2]\n")] {
            std::fs::write(dir.0.join(name), text).map_err(|e| e.to_string())?;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        // `sh` stands for the binary: what it is given with -e it cannot run, what it is given by -c it can.
        command.args(["run-cases", "--bin", "/bin/sh", "--jobs", "1"]);
        command.args(case.section("arguments").unwrap_or_default().split_whitespace());
        let output = command.arg(&file).env("XTASK_TEST", "1").output().map_err(|e| e.to_string())?;
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let result = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let result = result.replace(&dir.0.display().to_string(), "DIR").replace(&release, "RELEASE");
        let result = result.replace(std::env::consts::ARCH, "MACHINE");
        let time = regex::Regex::new(r#""ms":\d+"#).map_err(|e| e.to_string())?;
        let mut result = time.replace_all(&result, r#""ms":TIME"#).into_owned();
        result += &format!("exit {}\n", output.status.code().unwrap_or(-1));
        Ok(vec![("result", result)])
    })
}

/// A folder that goes away with its owner.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
