#!/bin/busybox sh
# First program of the guest: lays this machine's files over an overlay and hands over to stage2.sh inside.
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/console 2>&1

die() {
    echo "skep-vm: $*"
    poweroff -f
    sleep 60
}

for module in /modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module" || die "$module does not load"
done
. /control/parameters

# The host's root never changes: it is the lower layer, and writes go to memory.
mount -t virtiofs -o ro root /host || die "the share of the host's root does not mount"
mount -t tmpfs -o mode=755,size=75% upper /upper
mkdir /upper/files /upper/work
mount -t overlay -o lowerdir=/host,upperdir=/upper/files,workdir=/upper/work root /root || die "no overlay"

for dir in proc sys dev run tmp mnt boot lib/modules; do
    mkdir -p "/root/$dir"
done
chmod 1777 /root/tmp
mount -t tmpfs -o mode=755 run /root/run
mkdir -p /dev/shm /dev/pts /root/run/lock /root/run/skep-vm
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr

# Modules on demand. The kernel asks modprobe, and only busybox's reads the index that busybox made.
release=$(uname -r)
mount -t tmpfs modules /root/lib/modules
ln -s "$MODULES" "/root/lib/modules/$release"
ln -sf "$CONFIG" "/root/boot/config-$release"
cp /bin/busybox /root/run/skep-vm/busybox
printf '#!/bin/sh\nexec /run/skep-vm/busybox modprobe "$@"\n' >/root/run/skep-vm/modprobe
chmod +x /root/run/skep-vm/modprobe
for link in usr/sbin/modprobe sbin/modprobe; do
    [ ! -d "/root/${link%/*}" ] || ln -sf /run/skep-vm/modprobe "/root/$link"
done
echo /run/skep-vm/modprobe >/proc/sys/kernel/modprobe

echo 0 >/proc/sys/kernel/kptr_restrict
echo -1 >/proc/sys/kernel/perf_event_paranoid
ip link set lo up
hostname skep-vm

mkdir -p "/root$FOLDER"
mount -t virtiofs folder "/root$FOLDER" || die "the share of $FOLDER does not mount"

cp /control/* /root/run/skep-vm/
# Without /proc, busybox does not find itself.
for tree in sys dev proc; do
    /bin/busybox mount --move "/$tree" "/root/$tree"
done
exec /bin/busybox switch_root /root /run/skep-vm/busybox sh /run/skep-vm/stage2.sh
