# One-liners as articles about tracing print them.

NAME programs that are started
PROG tracepoint:syscalls:sys_enter_execve { printf("%s -> %s\n", comm, str(args.filename)); }
AFTER /bin/true
STOP INT
EXPECT_REGEX -> /bin/true$
KERNELS host 6.1 6.12 7.3

NAME a missing backslash in a format
RUN {{TRACE}} --dry-run -e 'tracepoint:syscalls:sys_enter_execve { printf("%sn", comm); }'
STDERR_REGEX \\n

NAME system calls by process
PROG tracepoint:raw_syscalls:sys_enter { @[comm] = count(); }
AFTER true
STOP INT
EXPECT_REGEX ^@\[\S+\]: \d+$
KERNELS host 6.1 6.12 7.3

NAME sizes of reads
PROG tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @bytes = hist(args.ret); }
AFTER cat /proc/self/status > /dev/null
STOP INT
EXPECT_REGEX ^@bytes:$
             ^\[
KERNELS host 6.1 6.12 7.3

NAME opens by kprobe
PROG kprobe:do_sys_openat2 /comm == "cat"/ { printf("%s %s\n", comm, str(arg1)); }
AFTER cat /proc/self/stat > /dev/null
STOP INT
EXPECT cat /proc/self/stat
KERNELS 6.1 6.12 7.3

NAME times of reads by kprobe and kretprobe
PROG kprobe:vfs_read { @start[tid] = nsecs; } kretprobe:vfs_read /@start[tid]/ { @ns[comm] = hist(nsecs - @start[tid]); delete(@start, tid); }
AFTER cat /proc/self/stat > /dev/null
STOP INT
EXPECT_REGEX ^@ns\[cat\]:$
KERNELS 6.1 6.12 7.3

NAME functions by wildcard
PROG kprobe:vfs_* { @[func] = count(); }
AFTER cat /proc/self/stat > /dev/null
STOP INT
EXPECT_REGEX ^@\[vfs_read\]: \d+$
STDERR_REGEX ^Attached [2-9]\d probes$
KERNELS 6.1 6.12 7.3

NAME typed arguments of functions
PROG fentry:vfs_read /comm == "cat"/ { @max = max(args.count); } fexit:vfs_read /comm == "cat"/ { @ret = max((int64)retval); }
AFTER cat /proc/self/stat > /dev/null
STOP INT
EXPECT_REGEX ^@max: [1-9]\d*$
EXPECT_REGEX ^@ret: [1-9]\d*$
KERNELS 6.1 6.12 7.3

NAME a kernel without kprobes says what to do
RUN {{TRACE}} -e 'kprobe:do_sys_openat2 { printf("%s\n", str(arg1)); }'
STDERR_REGEX ^stdin:1:1-22: ERROR: .*kprobe
STDERR_REGEX ^HINT: .*tracepoint:syscalls:sys_enter_openat
RETURN_CODE 1
REQUIRES_FEATURE !kprobe

NAME user functions
PROG uprobe:/bin/bash:readline { @ = count(); }
ARGS --dry-run
REQUIRES test -x /bin/bash

NAME allocations of a command
PROG uprobe:libc:malloc /pid == cpid/ { @bytes = hist(arg0); }
ARGS -c ls
EXPECT_REGEX ^@bytes:$
KERNELS host 6.1 6.12 7.3

NAME tasks by iterator
PROG iter:task { printf("%s %d\n", ctx.task.comm, ctx.task.pid); }
EXPECT_REGEX ^skep \d+$
KERNELS host 6.1 6.12 7.3

NAME samples of stacks
PROG profile:hz:99 { @[kstack, ustack, comm] = count(); }
AFTER timeout 0.5 sh -c 'while :; do :; done'
STOP INT
EXPECT_REGEX ^, sh\]: \d+$
TIMEOUT 20
KERNELS host 6.1 6.12 7.3
