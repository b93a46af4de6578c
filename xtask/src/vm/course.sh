#!/bin/busybox sh
# What a test machine is there for: runs /command, hands its status, what it left in /out
# and the kernel's messages back on the disk, and powers off. What is tested is decided
# elsewhere.
export HOME=/root
sh /command > /dev/ttyS1 2>&1
echo $? > /out/status
dmesg > /out/dmesg
if [ -d /run/systemd/system ]; then
    journalctl --quiet --no-pager --output=short-monotonic > /out/journal
fi
tar -C /out -cf /dev/nvme0n1 $(ls /out)
sync
busybox poweroff -f
