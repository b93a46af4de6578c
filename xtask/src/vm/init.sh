#!/bin/busybox sh
# The first process of a test machine: mounts, runs /command, hands its status, what it
# left in /out and the kernel's messages back on the disk, and powers off. What is tested
# is decided elsewhere.
export PATH=/bin HOME=/root
mount -t devtmpfs devtmpfs /dev
# A machine that never says this did not boot.
echo init: started > /dev/ttyS0
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
ip link set lo up
echo +cpu > /sys/fs/cgroup/cgroup.subtree_control
sh /command > /dev/ttyS1 2>&1
echo $? > /out/status
dmesg > /out/dmesg
tar -C /out -cf /dev/nvme0n1 $(ls /out)
sync
poweroff -f
