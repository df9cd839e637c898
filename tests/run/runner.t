# The runner's view of kernels and of what cases leave behind.

NAME features of 6.1
RUN {{XTASK}} run-cases --features | awk '{ print $1, $2 }'
EXPECT_REGEX ^btf yes
             kprobe yes
             kprobe_multi no
             kprobe_session no
             fentry yes
             lsm yes
             uprobe yes
             uprobe_multi no
             tracefs yes
             iter yes
             struct_ops yes
             sched_ext no
             tcx no
             netkit no
             netfilter no
             arena no
             hw_perf no
             write_user yes
             cgroup2 yes
KERNELS 6.1

NAME features of 6.12
RUN {{XTASK}} run-cases --features | awk '{ print $1, $2 }'
EXPECT_REGEX ^btf yes
             kprobe yes
             kprobe_multi yes
             kprobe_session yes
             fentry yes
             lsm yes
             uprobe yes
             uprobe_multi yes
             tracefs yes
             iter yes
             struct_ops yes
             sched_ext no
             tcx yes
EXPECT_REGEX ^netfilter yes
             arena yes
             hw_perf no
             write_user yes
             cgroup2 yes
KERNELS 6.12

NAME features of 7.3
RUN {{XTASK}} run-cases --features | awk '{ print $1, $2 }'
EXPECT_REGEX ^btf yes
             kprobe yes
             kprobe_multi yes
             kprobe_session yes
             fentry yes
             lsm yes
             uprobe yes
             uprobe_multi yes
             tracefs yes
             iter yes
             struct_ops yes
             sched_ext yes
             tcx yes
             netkit yes
             netfilter yes
             arena yes
             hw_perf no
             write_user yes
             cgroup2 yes
KERNELS 7.3

NAME a pinned map is left behind
SETUP printf 'NAME pins\nRUN {''{XTASK}''} leave-map /sys/fs/bpf/skep-left\n' > inner.t
RUN {{XTASK}} run-cases --bin none inner.t
EXPECT_REGEX ^pass  inner\.pins$
             ^fail  inner\.pins  \(left behind map \d+ \(skep_left\)\)$
             ^fail  inner\.pins  \(left behind pin /sys/fs/bpf/skep-left\)$
CLEANUP rm -f /sys/fs/bpf/skep-left
RETURN_CODE 1
KERNELS 6.1 6.12 7.3

NAME a trace event is left behind
SETUP printf 'NAME adds\nRUN echo "p:skep_left do_sys_openat2" >> /sys/kernel/tracing/kprobe_events\n' > inner.t
RUN {{XTASK}} run-cases --bin none inner.t
EXPECT_REGEX ^fail  inner\.adds  \(left behind trace event p:kprobes/skep_left do_sys_openat2\)$
CLEANUP echo '-:skep_left' >> /sys/kernel/tracing/kprobe_events
RETURN_CODE 1
KERNELS 6.1 6.12 7.3

NAME what others hold is not left behind
SETUP printf 'NAME starts\nRUN env -u XTASK_CASE setsid {''{XTASK}''} leave-map --hold 10 & sleep 1\n' > inner.t
RUN {{XTASK}} run-cases --bin none inner.t
EXPECT pass  inner.starts
       1 passed, 0 failed, 0 skipped
TIMEOUT 15
KERNELS 6.1 6.12 7.3
