#!/bin/bash
# The first process in User-Mode Linux: makes it look like a host, and runs pytest on it with the arguments before
# --user-namespace, and in a user namespace with those after it.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
export ENVICUTOR_SANDBOX_CACHE_DIR=/tmp/cache # what it compiles: no file of the host can be written
project=$1
shift

mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
exec {source}<"$project" # which may be below a folder that is about to be covered
for folder in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $folder; done
if [ ! -d "$project" ]; then mkdir -p "$project" && mount --no-canonicalize --bind "/proc/self/fd/$source" "$project"; fi
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up

cd "$project" || exit
echo "uml: Linux $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
pytest=(.venv/bin/pytest -p no:cacheprovider --color=no)
on_host=()
while [ $# -gt 0 ] && [ "$1" != --user-namespace ]; do
  on_host+=("$1")
  shift
done
result=passed
if [ ${#on_host[@]} -gt 0 ]; then "${pytest[@]}" "${on_host[@]}" </dev/null || result=failed; fi
rm -rf /tmp/pytest-of-root # of another owner there
if [ $# -gt 0 ]; then tests/system/uml/user_namespace.sh "${pytest[@]}" "${@:2}" </dev/null || result=failed; fi
echo "uml: $result"
poweroff --force --no-wtmp
