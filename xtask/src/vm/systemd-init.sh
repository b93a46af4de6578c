#!/bin/busybox sh
# The first process of a test machine with systemd, until that is.
# A machine that never says this did not boot.
echo init: started > /dev/console
exec /usr/lib/systemd/systemd
