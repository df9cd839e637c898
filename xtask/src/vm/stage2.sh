# Process 1 of the guest's final root: runs the command and hands its output and exit code to the host.
. /run/skep-vm/parameters

port() {
    for tries in 1 2 3 4 5 6 7 8 9 10; do
        for name in /sys/class/virtio-ports/*/name; do
            if [ "$(cat "$name" 2>/dev/null)" = "$1" ]; then
                name=${name%/name}
                echo "/dev/${name##*/}"
                return
            fi
        done
        sleep 0.1
    done
}
out=$(port out)
err=$(port err)
exec 3>"$(port control)"

# A port can be opened once only, and a command may open /dev/stdout: it gets pipes instead.
mkfifo /run/skep-vm/out /run/skep-vm/err
cat </run/skep-vm/out >"$out" 3>&- &
out=$!
cat </run/skep-vm/err >"$err" 3>&- &
err=$!

ulimit -l unlimited
ulimit -n 65536
cd "$FOLDER"
echo "up $(cut -d ' ' -f 1 /proc/uptime)" >&3
/bin/sh /run/skep-vm/command </dev/null >/run/skep-vm/out 2>/run/skep-vm/err 3>&-
code=$?

# What the command left running may hold the pipes open: the output ends two seconds after the command.
(sleep 2; kill "$out" "$err") 2>/dev/null 3>&- &
wait "$out" "$err"
sync
echo "exit $code" >&3
echo o >/proc/sysrq-trigger
sleep 60
