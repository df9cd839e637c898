# What cargo xtask vm promises about the machines that it starts.

NAME exit code and streams
RUN {{XTASK}} vm 6.12 -- sh -c 'echo out; echo err >&2; exit 9'
EXPECT out
EXPECT_NONE err
STDERR err
STDERR_NONE out
RETURN_CODE 9
TIMEOUT 60
SERIAL
REQUIRES {{XTASK}} vm --check 6.12

NAME folder is shared, the rest is not
SETUP echo before > file
RUN {{XTASK}} vm 6.12 -- sh -c 'cat file; echo after > file; echo lost > {{DIR}}/lost' && cat file && ls {{DIR}}/lost
EXPECT before
       after
STDERR_REGEX lost
WILL_FAIL
TIMEOUT 60
SERIAL
REQUIRES {{XTASK}} vm --check 6.12

NAME several kernels
RUN {{XTASK}} vm 6.1 7.3 -- sh -c 'uname -r | cut -d . -f 1; uname -r | grep -q ^6'
EXPECT 6.1| 6
EXPECT 7.3| 7
RETURN_CODE 1
TIMEOUT 90
SERIAL
REQUIRES {{XTASK}} vm --check 6.1 7.3

NAME out of time
RUN {{XTASK}} vm 6.12 --timeout 3 -- sleep 1000
STDERR_REGEX out of time after 3 s
RETURN_CODE 124
TIMEOUT 60
SERIAL
REQUIRES {{XTASK}} vm --check 6.12

NAME crash
RUN {{XTASK}} vm 6.12 -- sh -c 'echo c > /proc/sysrq-trigger'
STDERR_REGEX no exit code from the guest
STDERR_REGEX Kernel panic
RETURN_CODE 125
TIMEOUT 60
SERIAL
REQUIRES {{XTASK}} vm --check 6.12

NAME interrupted
RUN timeout --preserve-status -s INT 3 {{XTASK}} vm 6.12 -- sleep 1000
RETURN_CODE 130
TIMEOUT 60
SERIAL
REQUIRES {{XTASK}} vm --check 6.12

NAME killed machines are dead, and swept by the next
SETUP mkdir state && ln -s "${XDG_CACHE_HOME:-$HOME/.cache}/skep-vm/kernels" state/kernels
RUN mkdir cache && mv state cache/skep-vm; export XDG_CACHE_HOME=$PWD/cache
    timeout -s KILL 3 {{XTASK}} vm 6.12 -- sleep 1000; echo code $?; sleep 0.5
    ls cache/skep-vm/run | wc -l
    for p in /proc/[0-9]*; do [ "$(readlink $p/cwd)" != "$(echo $PWD/cache/skep-vm/run/*)" ] || grep -h State $p/status; done
    {{XTASK}} vm 6.12 -- true; echo code $?
    ls cache/skep-vm/run | wc -l
EXPECT code 137
       1
       code 0
       0
TIMEOUT 60
SERIAL
REQUIRES {{XTASK}} vm --check 6.12

NAME wrong usage
RUN {{XTASK}} vm 5.4 -- true
STDERR_REGEX unknown kernel 5\.4: there are 6\.1, 6\.12, 7\.3, or all
RETURN_CODE 2
ANY_USER
