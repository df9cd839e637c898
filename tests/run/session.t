# How a script runs and ends.

NAME begin and end
PROG begin { printf("a\n"); } end { printf("b\n"); @x = 1; }
EXPECT a
       b
EXPECT @x: 1
STDERR Attached 2 probes
KERNELS host 6.1 6.12 7.3

NAME two newlines before the maps
RUN env -u __BPFTRACE_NOTIFY_PROBES_ATTACHED {{TRACE}} -q -e 'begin { printf("a\n"); @x = 1; exit(); }' | od -An -c | tr -s ' '
EXPECT a \n \n \n @ x : 1 \n

NAME exit codes are passed on
PROG begin { exit(7); }
RETURN_CODE 7
KERNELS host 6.1 6.12 7.3

NAME low byte of exit codes
PROG begin { exit(256 + 3); }
RETURN_CODE 3

NAME what follows an exit is handled
PROG begin { printf("1\n"); } begin { exit(); } begin { printf("2\n"); }
EXPECT 1
       2

NAME dry run
RUN {{TRACE}} --dry-run -e 'begin { printf("hello\n"); @ = 0; } interval:s:1 { }'
EXPECT_REGEX_NONE .

NAME end by Ctrl-C
PROG interval:ms:10 { @n = count(); } end { printf("end\n"); }
AFTER sleep 0.3
STOP INT
EXPECT end
EXPECT_REGEX ^@n: \d+$
STDERR Attached 2 probes
KERNELS host 6.1 6.12 7.3

NAME end by SIGTERM
PROG interval:ms:10 { @n = count(); }
AFTER sleep 0.3
STOP TERM
EXPECT_REGEX ^@n: \d+$

NAME output to a closed pipe
RUN env -u __BPFTRACE_NOTIFY_PROBES_ATTACHED {{TRACE}} -e 'interval:ms:1 { printf("line\n"); }' 2> err | head -n 2; cat err
EXPECT line
       line
EXPECT_REGEX_NONE panicked|ERROR|Broken

NAME a reader that does not read keeps nobody from ending
RUN mkfifo pipe; sleep 30 < pipe & reader=$!
    {{TRACE}} -q -e 'interval:us:200 { printf("%s\n", "0123456789012345678901234567890123456789012345678901234567890123456789"); }' > pipe & pid=$!
    sleep 4; kill -INT $pid; sleep 0.5; kill -INT $pid; wait $pid; echo code $?; kill $reader
EXPECT code 130
TIMEOUT 15

NAME full disk
RUN {{TRACE}} -o /dev/full -e 'begin { printf("x\n"); exit(); }'
STDERR ERROR: cannot write to '/dev/full': No space left on device
RETURN_CODE 1

NAME full disk under stdout
RUN {{TRACE}} -e 'interval:ms:10 { printf("x\n"); }' > /dev/full
STDERR ERROR: cannot write to standard output: No space left on device
RETURN_CODE 1

NAME output to a file
RUN {{TRACE}} -o out -e 'begin { printf("x\n"); @a = 1; exit(); }'; cat out
EXPECT x
EXPECT @a: 1

NAME no file for output
RUN {{TRACE}} -o /nowhere/file -e 'begin { exit(); }'
STDERR ERROR: failed to open output file '/nowhere/file': No such file or directory
RETURN_CODE 1

NAME partial lines without buffering
RUN {{TRACE}} -B none -q -e 'begin { printf("a"); printf("b"); exit(); }'
EXPECT ab

NAME json
RUN {{TRACE}} -f json -e 'begin { printf("x %d\n", 3); print((1,2)); @a = 1; @h = hist(5); exit(); }'
EXPECT {"type": "attached_probes", "count": 1, "data": {"probes": 1}}
       {"type": "printf", "data": "x 3\n"}
       {"type": "value", "data": [1,2]}
       {"type": "map", "data": {"@a": 1}}
       {"type": "hist", "data": {"@h": [{"min": 4, "max": 7, "count": 1}]}}
KERNELS host 6.1 6.12 7.3

NAME quiet
PROG begin { printf("a\n"); exit(); }
ARGS -q
EXPECT a
STDERR_REGEX_NONE .

NAME a command is traced from its start
PROG tracepoint:syscalls:sys_exit_execve /pid == cpid/ { printf("exec %d\n", args.ret); } tracepoint:sched:sched_process_exit /pid == cpid/ { printf("gone\n"); }
ARGS -c true
EXPECT exec 0
       gone
KERNELS host 6.1 6.12 7.3

NAME the run ends with its command
PROG tracepoint:sched:sched_process_exit /pid == cpid/ { @gone = count(); }
ARGS -c true
EXPECT @gone: 1

NAME the command ends with the run
RUN {{TRACE}} -c 'sleep 1000' -e 'interval:ms:50 { exit(); }'; sleep 0.1; pgrep -f '^sleep 1000$' > /dev/null && echo left || echo none
EXPECT none

NAME the run ends with its process
RUN sleep 2 & {{TRACE}} -p $! -e 'tracepoint:sched:sched_process_exit { printf("%s\n", comm); } end { printf("over\n"); }'
EXPECT sleep
EXPECT over

NAME a signal of one's own
PROG self:signal:SIGUSR1 { printf("signalled\n"); exit(); }
AFTER kill -USR1 {{PID}}
EXPECT signalled

NAME commands of the script
PROG begin { system("echo %s", "from a shell"); exit(); }
ARGS --unsafe
EXPECT from a shell

NAME files of the script
PROG begin { cat("/proc/sys/kernel/ostype"); cat("/nope"); exit(); }
EXPECT Linux
STDERR ERROR: failed to open file '/nope': No such file or directory

NAME maps are cleared and zeroed in order
PROG begin { @a[1] = 5; print(@a); zero(@a); print(@a); clear(@a); print(@a); @b = count(); clear(@b); @c = count(); exit(); }
EXPECT @a[1]: 5
       @a[1]: 0
EXPECT @c: 1
EXPECT_REGEX_NONE ^@b

NAME tests
RUN {{TRACE}} --test -e 'test:good { return 0; } test:bad { printf("shown\n"); return 1; }' | sed 's/\x1b\[[0-9;]*m//g; s/([0-9]* .*s)/(T)/'
EXPECT [==========] Running 2 tests.
EXPECT [       OK ] good (T)
EXPECT shown
       [  FAILED  ] bad (T)
EXPECT [  PASSED  ] 1 test.

NAME tests that fail
RUN {{TRACE}} --test -e 'test:bad { assert(1 == 2, "no"); }' 2>&1
EXPECT_REGEX assert failed: no
RETURN_CODE 1

NAME tests are not run without being asked
PROG test:a { return 0; }
STDERR ERROR: No probes attached; use --test to run test probes.
RETURN_CODE 1

NAME benchmarks
RUN {{TRACE}} --bench -e 'bench:b { $x = 1; }'
EXPECT_REGEX ^Benchmark +Time\(ns\) +Iterations$
EXPECT_REGEX ^b +\d+ +\d+$

NAME every event is printed or counted
RUN {{TRACE}} -B full -o out -e 'config = { perf_rb_pages=4 } tracepoint:syscalls:sys_enter_getpgid /comm == "skep-load"/ { @n = count(); printf("line %d\n", args.pid); }' > log 2>&1 &
    pid=$!; sleep 1; python3 -c 'import os
    open("/proc/self/comm", "w").write("skep-load")
    for i in range(300000): os.getpgid(0)'; kill -INT $pid; wait $pid; cat log >> out
    seen=$(sed -n 's/^@n: //p' out); printed=$(grep -c '^line ' out); lost=$(sed -n 's/^WARNING: Total lost event count: //p' out)
    echo seen $seen; test $seen -eq $((printed + ${lost:-0})) && echo exact
EXPECT seen 300000
       exact
TIMEOUT 60
REQUIRES command -v python3

NAME demo
RUN {{BIN}} demo
EXPECT_REGEX ^\d\d:\d\d:\d\d  \d+ +\S*uname$
EXPECT_REGEX ^@lived_us:$
TIMEOUT 10
KERNELS host 6.1 6.12 7.3
