#!/bin/busybox sh
# The first process of a test machine without systemd: mounts, and begins the course.
export PATH=/bin
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
. /course
