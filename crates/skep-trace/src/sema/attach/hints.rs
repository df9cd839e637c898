//! What to use where a kernel function cannot be probed.

use crate::env::Env;

/// Kernel functions that scripts probe, and the tracepoints that tell (nearly) the same. `*` at the end of a
/// name stands for any end; `{}` is what it stood for.
struct Row {
    functions: &'static [&'static str],
    tracepoints: &'static [&'static str],
    differs: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        functions: &["do_sys_openat2", "do_sys_open", "vfs_open", "do_filp_open", "path_openat"],
        tracepoints: &["syscalls:sys_enter_openat", "syscalls:sys_enter_open", "syscalls:sys_enter_openat2"],
        differs: "names are as the caller gave them; the result is at sys_exit",
    },
    Row {
        functions: &["vfs_read", "ksys_read", "new_sync_read"],
        tracepoints: &["syscalls:sys_enter_read", "syscalls:sys_enter_pread64", "syscalls:sys_enter_readv"],
        differs: "only system calls, no reads within the kernel",
    },
    Row {
        functions: &["vfs_write", "ksys_write", "new_sync_write"],
        tracepoints: &[
            "syscalls:sys_enter_write",
            "syscalls:sys_enter_pwrite64",
            "syscalls:sys_enter_writev",
        ],
        differs: "only system calls, no writes within the kernel",
    },
    Row {
        functions: &["vfs_fsync", "vfs_fsync_range", "do_fsync"],
        tracepoints: &["syscalls:sys_enter_fsync", "syscalls:sys_enter_fdatasync"],
        differs: "only system calls",
    },
    Row {
        functions: &["vfs_unlink", "do_unlinkat"],
        tracepoints: &["syscalls:sys_enter_unlink", "syscalls:sys_enter_unlinkat"],
        differs: "names are as the caller gave them",
    },
    Row {
        functions: &["do_execveat_common", "bprm_execve", "do_execve", "exec_binprm"],
        tracepoints: &[
            "sched:sched_process_exec",
            "syscalls:sys_enter_execve",
            "syscalls:sys_enter_execveat",
        ],
        differs: "sched_process_exec tells of programs that started, the system calls of attempts",
    },
    Row { functions: &["do_exit", "do_group_exit"], tracepoints: &["sched:sched_process_exit"], differs: "" },
    Row {
        functions: &["kernel_clone", "_do_fork", "copy_process", "wake_up_new_task"],
        tracepoints: &["sched:sched_process_fork"],
        differs: "",
    },
    Row {
        functions: &["tcp_v4_connect", "tcp_v6_connect", "tcp_connect", "tcp_set_state"],
        tracepoints: &["sock:inet_sock_set_state"],
        differs: "an active open is the change to TCP_SYN_SENT",
    },
    Row {
        functions: &["inet_csk_accept"],
        tracepoints: &["sock:inet_sock_set_state"],
        differs: "an accepted connection changes from TCP_SYN_RECV to TCP_ESTABLISHED",
    },
    Row { functions: &["tcp_retransmit_skb"], tracepoints: &["tcp:tcp_retransmit_skb"], differs: "" },
    Row {
        functions: &["tcp_drop", "tcp_drop_reason", "kfree_skb", "kfree_skb_reason"],
        tracepoints: &["skb:kfree_skb"],
        differs: "with the reason of the drop",
    },
    Row {
        functions: &["blk_mq_start_request", "blk_account_io_start"],
        tracepoints: &["block:block_rq_issue", "block:block_rq_insert"],
        differs: "",
    },
    Row { functions: &["blk_account_io_done"], tracepoints: &["block:block_rq_complete"], differs: "" },
    Row {
        functions: &["blk_start_plug"],
        tracepoints: &["block:block_rq_issue", "block:block_rq_complete"],
        differs: "blk_start_plug measures no I/O at all",
    },
    Row {
        functions: &["submit_bio", "submit_bio_noacct", "generic_make_request"],
        tracepoints: &["block:block_bio_queue"],
        differs: "",
    },
    Row { functions: &["finish_task_switch"], tracepoints: &["sched:sched_switch"], differs: "" },
    Row {
        functions: &["ttwu_do_wakeup", "try_to_wake_up", "ttwu_do_activate"],
        tracepoints: &["sched:sched_wakeup", "sched:sched_wakeup_new"],
        differs: "",
    },
    Row { functions: &["oom_kill_process"], tracepoints: &["oom:mark_victim"], differs: "" },
    Row {
        functions: &["handle_mm_fault", "do_user_addr_fault"],
        tracepoints: &["exceptions:page_fault_user"],
        differs: "",
    },
    Row {
        functions: &["shrink_node", "try_to_free_pages", "do_try_to_free_pages"],
        tracepoints: &["vmscan:mm_vmscan_direct_reclaim_begin", "vmscan:mm_vmscan_direct_reclaim_end"],
        differs: "",
    },
    Row {
        functions: &["do_nanosleep", "hrtimer_nanosleep"],
        tracepoints: &["syscalls:sys_enter_clock_nanosleep", "syscalls:sys_enter_nanosleep"],
        differs: "only system calls",
    },
    Row { functions: &["ext4_*"], tracepoints: &["ext4:ext4_{}"], differs: "" },
    Row { functions: &["xfs_*"], tracepoints: &["xfs:xfs_{}"], differs: "" },
    Row { functions: &["btrfs_*"], tracepoints: &["btrfs:btrfs_{}"], differs: "" },
];

/// The system call that a function is the entry of, by the names that kernels have used for it.
pub(super) fn syscall(function: &str) -> Option<&str> {
    let prefixes = [
        "__x64_sys_",
        "__arm64_sys_",
        "__ia32_sys_",
        "__se_sys_",
        "__do_sys_",
        "ksys_",
        "SyS_",
        "sys_",
        "do_sys_",
    ];
    prefixes.iter().find_map(|p| function.strip_prefix(p)).filter(|name| !name.is_empty())
}

/// Names that one function has had on different kernels.
const RENAMED: &[&[&str]] = &[
    &["do_sys_openat2", "do_sys_open"],
    &["kernel_clone", "_do_fork", "do_fork"],
    &["kfree_skb_reason", "kfree_skb"],
    &["tcp_drop_reason", "tcp_drop"],
    &["blk_account_io_start", "__blk_account_io_start"],
    &["blk_account_io_done", "__blk_account_io_done"],
    &["finish_task_switch", "finish_task_switch.isra.0"],
    &["bprm_execve", "do_execveat_common", "do_execveat_common.isra.0", "__do_execve_file"],
    &["submit_bio_noacct", "generic_make_request"],
];

/// Other names under which a kernel may have a function, best first.
pub(super) fn other_names(function: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(call) = syscall(function) {
        names.extend(
            ["__x64_sys_", "__arm64_sys_", "__se_sys_", "__do_sys_", "sys_"].map(|p| format!("{p}{call}")),
        );
    }
    for row in RENAMED.iter().filter(|row| row.contains(&function)) {
        names.extend(row.iter().map(|&n| n.to_owned()));
    }
    names.retain(|n| n != function);
    names
}

/// Tracepoints of the running kernel that tell what a probe on a function would, each as a line for the user.
pub(super) fn instead(env: &dyn Env, function: &str, ret: bool) -> Vec<String> {
    let exists = |name: &str| {
        name.split_once(':').is_some_and(|(category, event)| env.tracepoint_format(category, event).is_some())
    };
    let mut lines = Vec::new();
    let listed = ROWS.iter().any(|row| row.functions.contains(&function));
    if let Some(call) = syscall(function).filter(|_| !listed) {
        let edge = if ret { "exit" } else { "enter" };
        let name = format!("syscalls:sys_{edge}_{call}");
        if exists(&name) {
            lines.push(format!("Use tracepoint:{name}."));
            return lines;
        }
    }
    for row in ROWS {
        let matched = row.functions.iter().find_map(|f| match f.strip_suffix('*') {
            Some(prefix) => function.strip_prefix(prefix),
            None => (*f == function).then_some(""),
        });
        let Some(rest) = matched else { continue };
        let found: Vec<_> =
            row.tracepoints.iter().map(|t| t.replace("{}", rest)).filter(|t| exists(t)).collect();
        if !found.is_empty() {
            let names: Vec<_> = found.iter().map(|t| format!("tracepoint:{t}")).collect();
            let differs = if row.differs.is_empty() { String::new() } else { format!(" ({})", row.differs) };
            lines.push(format!("Use {}{differs}.", names.join(", ")));
        }
    }
    if function.starts_with("security_") {
        lines.push(
            "Hooks of security modules have no equal on kernels without kprobes and LSM programs.".into(),
        );
    }
    lines
}
