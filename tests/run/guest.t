# What cases may rely on in the virtual machines of the kernel matrix.

NAME file systems are mounted
RUN awk '{ print $3, $2 }' /proc/mounts
EXPECT_REGEX ^tracefs /sys/kernel/tracing$
EXPECT_REGEX ^debugfs /sys/kernel/debug$
EXPECT_REGEX ^securityfs /sys/kernel/security$
EXPECT_REGEX ^bpf /sys/fs/bpf$
EXPECT_REGEX ^cgroup2 /sys/fs/cgroup$
EXPECT_REGEX ^devpts /dev/pts$
EXPECT_REGEX ^tmpfs /dev/shm$
EXPECT_REGEX ^overlay /$
KERNELS 6.1 6.12 7.3

NAME kernel addresses are shown
RUN cat /proc/sys/kernel/kptr_restrict /proc/sys/kernel/perf_event_paranoid; grep -c ' 0000000000000000 ' /proc/kallsyms
EXPECT 0
       -1
KERNELS 6.1 6.12 7.3
RETURN_CODE 1

NAME loopback is up
RUN ip -4 -brief address show dev lo
EXPECT_REGEX 127\.0\.0\.1/8
REQUIRES command -v ip
KERNELS 6.1 6.12 7.3

NAME modules load on demand
RUN ip link add skep-a type veth peer name skep-b && ip -brief link
EXPECT_REGEX ^skep-a@skep-b
CLEANUP ip link delete skep-a
REQUIRES command -v ip
SERIAL
KERNELS 6.1 6.12 7.3

NAME memory may be locked, temporary files written
RUN ulimit -l; echo text > /tmp/skep-guest-file && cat /tmp/skep-guest-file
EXPECT unlimited
       text
CLEANUP rm -f /tmp/skep-guest-file
KERNELS 6.1 6.12 7.3

NAME streams can be opened by name
RUN echo 1 > /dev/stdout; echo 2 > /dev/stderr; cat /dev/stdin; echo 3 > /dev/fd/1
EXPECT 3
STDERR 2
KERNELS 6.1 6.12 7.3

NAME the kernel is the one that was asked for
RUN uname -r
EXPECT_REGEX ^6\.1\.0-
KERNELS 6.1

NAME the kernel is the one that was asked for (6.12)
RUN uname -r
EXPECT_REGEX ^6\.12\.
KERNELS 6.12

NAME the kernel is the one that was asked for (7.3)
RUN uname -r
EXPECT_REGEX ^7\.
KERNELS 7.3
