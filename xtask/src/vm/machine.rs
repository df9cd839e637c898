//! One machine from power-on to exit code.

use crate::interrupt;
use crate::process::Tethered;
use crate::vm::guest;
use crate::vm::kernels::Kernel;
use crate::vm::state::{FILE_TAGS, RunDir, State};
use crate::vm::tools::Tools;
use crate::vm::unpack::Ready;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// What to boot and what to run in it.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) ready: &'a Ready,
    pub(crate) tools: &'a Tools,
    pub(crate) folder: &'a Path,
    pub(crate) command: &'a [OsString],
    pub(crate) cpus: u32,
    /// MiB.
    pub(crate) memory: u32,
    /// For everything: boot and command.
    pub(crate) timeout: Duration,
    /// Let the kernel say more on the console than errors.
    pub(crate) verbose: bool,
}

/// Where a machine's output goes while it runs. Pieces arrive as they are read, not line by line.
pub(crate) trait Sink: Sync {
    fn stdout(&self, bytes: &[u8]);
    fn stderr(&self, bytes: &[u8]);
    fn console(&self, bytes: &[u8]);
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) ending: Ending,
    /// From power-on to the start of the command.
    pub(crate) boot: Option<Duration>,
    pub(crate) wall: Duration,
    /// Of QEMU and the file servers.
    pub(crate) cpu: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The command's exit code.
    Exit(u8),
    /// Out of time; the last lines of the console.
    Timeout(String),
    /// The guest ended without a code: it did not boot, or it crashed. Last lines of console and programs.
    Lost(String),
    /// A signal ended xtask's wait.
    Interrupted,
}

/// What the guest says through its control port.
enum Message {
    Up,
    Exit(u8),
}

/// The kernel's command line. `panic=-1` with QEMU's `-no-reboot` ends the machine at a crash at once.
const CMDLINE: &str = "console=ttyS0 panic=-1 oops=panic mitigations=off no_timer_check tsc=reliable \
    nowatchdog cryptomgr.notests rcupdate.rcu_expedited=1 audit=0 random.trust_cpu=on lsm=landlock,yama,bpf";

const PORTS: [&str; 4] = ["out", "err", "control", "console"];

impl Machine<'_> {
    /// Boots, runs the command, and takes everything down again.
    pub(crate) fn run(&self, state: &State, sink: &dyn Sink) -> Result<Report> {
        let started = Instant::now();
        let run = state.run_dir()?;
        let dir = run.path();
        let busybox = &self.tools.busybox;
        let initrd = guest::initrd(self.kernel, self.ready, busybox, self.folder, self.command)?;
        std::fs::write(dir.join("initrd"), initrd).context("cannot write the initial RAM disk")?;

        // What runs in the guest does not see changes of the root made meanwhile; those of the folder it does.
        let shares = [(Path::new("/"), "always"), (self.folder, "auto")];
        let serve = |(tag, (source, cache))| self.file_server(&run, tag, source, cache);
        let servers = FILE_TAGS.into_iter().zip(shares).map(serve).collect::<Result<Vec<_>>>()?;
        let listeners = PORTS.map(|port| UnixListener::bind(dir.join(format!("{port}.sock"))));
        let mut qemu = Tethered::spawn("QEMU", &self.tools.qemu, |command| {
            command
                .current_dir(dir)
                .args(self.qemu_arguments(&run))
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
        })?;
        let mut complaints = qemu.child().stderr.take().context("stderr was asked for as a pipe")?;
        let mut streams = Vec::new();
        for (listener, port) in listeners.into_iter().zip(PORTS) {
            let listener = listener.with_context(|| format!("cannot listen for port {port}"))?;
            match accept(&listener, &mut qemu)? {
                Some(stream) => streams.push(stream),
                None => {
                    let mut text = String::new();
                    let _ = complaints.read_to_string(&mut text);
                    bail!("QEMU did not start: {}", text.trim());
                }
            }
        }
        let streams: [UnixStream; 4] = match streams.try_into() {
            Ok(streams) => streams,
            Err(_) => bail!("QEMU connected to fewer ports than it has"),
        };
        let console = Mutex::new(Tail::default());
        let (ending, boot, cpu) = std::thread::scope(|scope| {
            let [out, err, control, tty] = streams;
            let (tell, told) = mpsc::channel();
            scope.spawn(|| copy(out, |bytes| sink.stdout(bytes)));
            scope.spawn(|| copy(err, |bytes| sink.stderr(bytes)));
            scope.spawn(|| {
                copy(tty, |bytes| {
                    console.lock().expect("adding bytes does not panic").add(bytes);
                    sink.console(bytes);
                });
            });
            scope.spawn(|| {
                copy(complaints, |bytes| console.lock().expect("adding bytes does not panic").add(bytes));
            });
            scope.spawn(move || listen(control, &tell));
            let result = self.wait(&mut qemu, &servers, &told, started);
            // The threads end with QEMU's end of the connections.
            qemu.end();
            result
        })?;
        drop(servers);
        let shown = || console.lock().expect("adding bytes does not panic").text();
        let ending = match ending {
            Ending::Timeout(_) => Ending::Timeout(shown()),
            Ending::Lost(_) => Ending::Lost(shown()),
            other => other,
        };
        Ok(Report { ending, boot, wall: started.elapsed(), cpu })
    }

    /// Until the guest has told its exit code, or cannot any more.
    fn wait(
        &self,
        qemu: &mut Tethered,
        servers: &[Tethered],
        told: &mpsc::Receiver<Message>,
        started: Instant,
    ) -> Result<(Ending, Option<Duration>, Duration)> {
        let (mut boot, mut cpu) = (None, Duration::ZERO);
        let ending = loop {
            // Sampled, because the figures vanish with the process.
            cpu = cpu.max(qemu.cpu() + servers.iter().map(Tethered::cpu).sum());
            match told.recv_timeout(Duration::from_millis(50)) {
                Ok(Message::Up) => boot = Some(started.elapsed()),
                Ok(Message::Exit(code)) => break Ending::Exit(code),
                // The control port closes when QEMU ends, and never before.
                Err(mpsc::RecvTimeoutError::Disconnected) => break Ending::Lost(String::new()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if interrupt::raised() {
                break Ending::Interrupted;
            }
            if started.elapsed() > self.timeout {
                break Ending::Timeout(String::new());
            }
        };
        Ok((ending, boot, cpu.max(qemu.cpu() + servers.iter().map(Tethered::cpu).sum())))
    }

    /// virtiofsd for one folder, ready for QEMU to connect.
    fn file_server(&self, run: &RunDir, tag: &str, source: &Path, cache: &str) -> Result<Tethered> {
        let dir = run.path();
        let socket = run.file_socket(tag);
        let log = dir.join(format!("{tag}.log"));
        let file = std::fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut server = Tethered::spawn("virtiofsd", &self.tools.virtiofsd, |command| {
            let mut source_option = OsString::from("source=");
            source_option.push(source);
            command.current_dir(dir).arg(format!("--socket-path={socket}")).arg("-f");
            command.arg("-o").arg(source_option);
            command.args(["-o", "sandbox=chroot", "-o", &format!("cache={cache}"), "-o", "xattr"]);
            command.stdout(Stdio::null()).stderr(file);
        })?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while !dir.join(&socket).exists() {
            if server.has_ended()? || Instant::now() > deadline {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let hint = if crate::process::is_root() { "" } else { "\nits sandbox may need root" };
                bail!("virtiofsd does not serve {}: {}{hint}", source.display(), text.trim());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Paths in here are relative to the machine's folder.
    fn qemu_arguments(&self, run: &RunDir) -> Vec<OsString> {
        let loglevel = if self.verbose { "loglevel=6" } else { "quiet loglevel=4" };
        let memory = self.memory;
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |text: &str| arguments.extend(text.split(' ').map(OsString::from));
        // la57 costs a page-table level for nothing. The memory must be shareable with the file servers.
        add("-accel tcg,thread=multi -machine q35 -cpu max,la57=off -nodefaults -no-user-config");
        add("-display none -no-reboot");
        add(&format!("-smp {} -m {memory}", self.cpus));
        add(&format!("-object memory-backend-memfd,id=ram,size={memory}M,share=on -numa node,memdev=ram"));
        add("-chardev socket,id=console,path=console.sock -serial chardev:console");
        add("-device virtio-serial-pci,max_ports=8");
        for port in ["out", "err", "control"] {
            add(&format!(
                "-chardev socket,id={port},path={port}.sock -device virtserialport,chardev={port},name={port}"
            ));
        }
        for tag in FILE_TAGS {
            add(&format!("-chardev socket,id=fs-{tag},path={}", run.file_socket(tag)));
            add(&format!("-device vhost-user-fs-pci,queue-size=1024,chardev=fs-{tag},tag={tag}"));
        }
        add("-initrd initrd");
        arguments.extend(["-append".into(), format!("{CMDLINE} {loglevel}").into()]);
        arguments.extend(["-kernel".into(), self.ready.vmlinux.clone().into_os_string()]);
        arguments
    }
}

/// QEMU connects to all ports while it starts; `None` when it ended instead.
fn accept(listener: &UnixListener, qemu: &mut Tethered) -> Result<Option<UnixStream>> {
    listener.set_nonblocking(true).context("cannot wait for QEMU")?;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context("cannot read from QEMU")?;
                return Ok(Some(stream));
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e).context("cannot wait for QEMU"),
        }
        if qemu.has_ended()? {
            return Ok(None);
        }
        if Instant::now() > deadline {
            bail!("QEMU does not connect to its ports");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Everything until the other end closes, or dies.
fn copy(mut from: impl Read, to: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        to(&buffer[..n]);
    }
}

fn listen(control: UnixStream, tell: &mpsc::Sender<Message>) {
    for line in BufReader::new(control).lines().map_while(Result::ok) {
        let message = match line.split_once(' ') {
            Some(("up", _)) => Some(Message::Up),
            Some(("exit", code)) => code.trim().parse().ok().map(Message::Exit),
            _ => None,
        };
        if message.is_some_and(|m| tell.send(m).is_err()) {
            return;
        }
    }
}

/// The end of what was written to the console.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    const KEPT: usize = 32 << 10;

    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * Self::KEPT {
            self.0.drain(..self.0.len() - Self::KEPT);
        }
    }

    /// The last lines, below those that say what happened: a crash ends with a long list of registers.
    fn text(&self) -> String {
        const SHOWN: usize = 40;
        const HEADLINES: [&str; 4] = ["Kernel panic", "BUG:", "Oops:", "skep-vm:"];
        let text = String::from_utf8_lossy(&self.0).replace('\r', "");
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let (older, shown) = lines.split_at(lines.len().saturating_sub(SHOWN));
        let headlines = older.iter().filter(|line| HEADLINES.iter().any(|h| line.contains(h)));
        headlines.chain(shown).copied().collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_console_keeps_its_headlines_and_its_size() {
        let mut tail = Tail::default();
        tail.add(b"[ 1] Kernel panic - not syncing\r\n");
        (0..100).for_each(|n| tail.add(format!("line {n}\r\n").as_bytes()));
        let text = tail.text();
        assert!(text.starts_with("[ 1] Kernel panic - not syncing\nline 60\n"), "{text}");
        assert!(text.ends_with("\nline 99"));
        (0..100).for_each(|_| tail.add(&[b'x'; 4096]));
        assert!(tail.0.len() <= 2 * Tail::KEPT);
    }
}
