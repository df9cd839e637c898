# Words on the command line, and what is wrong with them.

NAME version
RUN {{BIN}} --version
EXPECT_REGEX ^skep v\d+\.\d+\.\d+$
ANY_USER

NAME version of the language under its name
RUN ln -s {{BIN}} bpftrace && ./bpftrace --version
EXPECT_REGEX ^bpftrace v0\.27\.\d+ \(skep \d+\.\d+\.\d+\)$
ANY_USER

NAME help
RUN {{BIN}} help && {{BIN}} help trace && {{BIN}} trace -h
EXPECT_REGEX ^  trace +Trace the system with a script\.$
EXPECT_REGEX ^ *-e PROGRAM +Run this text\.$
STDERR_REGEX_NONE .
ANY_USER

NAME no command
RUN {{BIN}}
STDERR_REGEX ^USAGE: skep COMMAND
RETURN_CODE 2
ANY_USER

NAME unknown command
RUN {{BIN}} nope
STDERR ERROR: unknown command: nope
       HINT: skep help lists all commands
RETURN_CODE 2
ANY_USER

NAME stages of the compiler are timed
RUN {{TRACE}} --mode codegen --timing times -e 'begin { exit(); }' && cat times
EXPECT_REGEX ^\{"stages": \[\{"name": "parse", "ns": \d+\}, .*\{"name": "passes and code", "ns": \d+\}\]\}$

NAME unknown option
RUN {{TRACE}} -e 'begin { }' --aa=20
STDERR ERROR: unknown option --aa
       USAGE:
RETURN_CODE 2
ANY_USER

NAME no program
RUN {{TRACE}}
STDERR ERROR: USAGE: filename or -e 'program' required.
RETURN_CODE 1
ANY_USER

NAME empty program
RUN {{TRACE}} -e ''
STDERR ERROR: USAGE: filename or -e 'program' required.
RETURN_CODE 1
ANY_USER

NAME empty standard input
RUN {{TRACE}} - < /dev/null
STDERR ERROR: USAGE: filename or -e 'program' required.
RETURN_CODE 1
ANY_USER

NAME missing file
RUN {{TRACE}} nofile.bt
STDERR ERROR: failed to open file 'nofile.bt': No such file or directory
RETURN_CODE 1
ANY_USER

NAME a folder is no program
RUN {{TRACE}} /tmp
STDERR ERROR: failed to open file '/tmp': Is a directory
RETURN_CODE 1
ANY_USER

NAME a binary is no program
RUN {{TRACE}} /bin/sh
STDERR_REGEX ^ERROR: file '/bin/sh' is no script: byte \d+ is not part of UTF-8 text$
RETURN_CODE 1
ANY_USER

NAME a file without end is no program
RUN {{TRACE}} /dev/zero
STDERR ERROR: file '/dev/zero' is too long for a script: at most 16777216 bytes are read
RETURN_CODE 1
ANY_USER

NAME ten megabytes of parentheses
RUN { printf 'begin { print('; head -c 10000000 /dev/zero | tr '\0' '('; } > deep.bt; {{TRACE}} deep.bt > out 2>&1; code=$?; head -c 100 out; echo; exit $code
EXPECT_REGEX ^deep\.bt:1:\d+-\d+: ERROR: 
RETURN_CODE 1
TIMEOUT 20
ANY_USER

NAME pid that is no number
RUN {{TRACE}} -p abc -e 'begin { }'
STDERR ERROR: Failed to parse pid: invalid integer: abc
RETURN_CODE 1
ANY_USER

NAME pid that cannot be
RUN {{TRACE}} -p 99999999 -e 'begin { }'
STDERR ERROR: Pid out of range: 99999999
RETURN_CODE 1
ANY_USER

NAME pid that is not there
RUN {{TRACE}} -p 4194303 -e 'begin { }'
STDERR ERROR: Failed to attach to pid: Unable to open pidfd (No such process)
RETURN_CODE 1

NAME command that is not there
RUN {{TRACE}} -c nope_cmd -e 'begin { }'
STDERR ERROR: Failed to fork child: Path 'nope_cmd' does not exist or is not executable (No such file or directory)
RETURN_CODE 1

NAME unknown stage
RUN {{TRACE}} -d nope -e 'begin { }'
STDERR ERROR: USAGE: invalid option for -d: nope
RETURN_CODE 1
ANY_USER

NAME unknown format
RUN {{TRACE}} -f xml -e 'begin { }'
STDERR ERROR: Invalid output format "xml"
       Valid formats: 'text', 'json'
RETURN_CODE 1
ANY_USER

NAME errors of scripts show the place
RUN {{TRACE}} -e 'begin { $x = 1; $x = "a"; }'
STDERR stdin:1:17-25: ERROR: Type mismatch for $x: trying to assign value of type 'string[2]' when variable already has a type 'int8'
       begin { $x = 1; $x = "a"; }
                       ~~~~~~~~
RETURN_CODE 1

NAME messages are coloured on demand
RUN BPFTRACE_COLOR=always {{TRACE}} -e 'begin { foo(); }' 2>&1 | od -An -c | head -n 1
EXPECT_REGEX ^\s*033   \[   3   1   m

NAME options of the script
RUN {{TRACE}} -e 'begin { print(getopt("n", 1, "how many")); }' -- --help
STDERR HINT: expected program options:
       --n: how many
RETURN_CODE 1

NAME unknown options of the script
RUN {{TRACE}} -e 'begin { print(getopt("a")); }' -- --zzz
STDERR ERROR: unexpected program command line options: --zzz
       HINT: expected program options: --a
RETURN_CODE 1

NAME standard format
RUN printf 'begin{@x=1;if(1){print(1)}}' | {{TRACE}} --fmt -
EXPECT begin
       {
         @x = 1;
ANY_USER

NAME stages of compilation
RUN {{TRACE}} -d ast,types,codegen --mode codegen -e 'begin { exit(); }'
EXPECT --- ast
       probe begin
         (call exit)
EXPECT_REGEX ^--- types$
EXPECT_REGEX ^--- codegen$

NAME probes by pattern
RUN {{TRACE}} -l 'software:cpu*'
EXPECT software:cpu-clock:
EXPECT_REGEX_NONE task-clock

NAME probes of a script
RUN {{TRACE}} -l -e 'tracepoint:syscalls:sys_enter_openat, tracepoint:syscalls:sys_enter_op*at { } begin { }'
EXPECT tracepoint:syscalls:sys_enter_openat
EXPECT begin

NAME arguments of probes
RUN {{TRACE}} -lv tracepoint:syscalls:sys_enter_openat
EXPECT tracepoint:syscalls:sys_enter_openat
           int __syscall_nr
           int dfd
           const char * filename
           int flags
           umode_t mode

NAME types
RUN {{TRACE}} -lv 'struct list_head'
EXPECT vmlinux: struct list_head {
       	struct list_head *next;
       	struct list_head *prev;
       };

NAME nothing found
RUN {{TRACE}} -l 'tracepoint:nope:*'
EXPECT_REGEX_NONE .

NAME listings end with their reader
RUN {{TRACE}} -l 2> err | head -n 1; cat err
EXPECT_REGEX ^\S+$
EXPECT_REGEX_NONE panicked|ERROR

NAME features
RUN {{BIN}} feature ring_buffer; {{BIN}} feature -o json ring_buffer
EXPECT_REGEX ^ring_buffer +yes
EXPECT_REGEX ^\{"feature": "ring_buffer", "here": "yes", 
KERNELS host 6.1 6.12 7.3

NAME object files
RUN {{TRACE}} --emit-elf x.o -e 'tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }' && head -c 4 x.o | od -An -c
EXPECT_REGEX ^\s*177   E   L   F$

NAME no room for an object file
RUN {{TRACE}} --emit-elf /dev/full -e 'begin { }'
STDERR ERROR: failed to write object file '/dev/full': No space left on device
RETURN_CODE 1

NAME unknown features
RUN {{TRACE}} --no-feature nope -e 'begin { }'
STDERR ERROR: unknown feature: nope
       HINT: skep feature lists all features
RETURN_CODE 1

NAME a kernel without ring buffers
RUN {{TRACE}} --no-feature ring_buffer -e 'begin { printf("a %d\n", 1); exit(2); }'
EXPECT a 1
RETURN_CODE 2

NAME wrong usage under the name of the other program
RUN ln -s {{BIN}} bpftrace && ./bpftrace --nope -e 'begin { }'
STDERR ERROR: unknown option --nope
RETURN_CODE 1
ANY_USER

NAME what the verifier says
RUN {{TRACE}} -q -d verifier -e 'begin { exit(); }'
EXPECT --- verifier begin_1
EXPECT_REGEX ^processed \d+ insns
