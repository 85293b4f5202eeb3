#!/bin/bash
# Executes a command as root of a user namespace that maps 65,536 ids, with namespaces for processes, mounts and control
# groups, in a control group that belongs to it. So a container runtime starts a pod with `hostUsers: false`.
set -euo pipefail
group=/sys/fs/cgroup/delegated
first_id=100000

mkdir $group
chown $first_id:$first_id $group $group/cgroup.{procs,subtree_control,threads}
echo "+memory +pids +cpu" >/sys/fs/cgroup/cgroup.subtree_control

unshare --user sleep infinity &
holder=$!
until [ "$(readlink /proc/$holder/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
for map in uid_map gid_map; do echo "0 $first_id 65536" >/proc/$holder/$map; done

# The first process of the pid namespace joins the group by a descriptor that root of the host opened. Its parent stays
# outside: a worker cannot move processes of another pid namespace.
exec 9>$group/cgroup.procs
umount --lazy /sys/fs/cgroup
exec nsenter --user --target=$holder unshare --pid --mount --fork --kill-child bash -c 'echo 0 >&9
  exec 9>&- unshare --cgroup bash -c "
    mount -t proc proc /proc && mount -t cgroup2 cgroup /sys/fs/cgroup && exec \"\$@\"" - "$@"' - "$@"
