#!/bin/bash
# Runs a command with a Docker daemon: the one that answers already, or else a temporary one. The temporary daemon and the
# command share new namespaces (mounts, processes, network) and a temporary folder. Nothing is left behind, and no firewall
# rule changes. Only the loopback of the new network namespace can be reached, so the daemon cannot pull images.
# Exit code: 69 if no daemon can be started, with the reason in the last line; else that of the command.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
unavailable=69

say() { echo "docker: $*"; }

cannot() {
  say "no Docker daemon can be started here: $*"
  exit $unavailable
}

answers() { docker version >/dev/null 2>&1; }

install_docker() {
  say "installing docker.io"
  {
    apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=300 docker.io
  } >"$folder/install.log" 2>&1 || cannot "$(tail -n 1 "$folder/install.log")"
}

clean_up() {
  find /sys/fs/cgroup -depth -type d -path "*/${folder##*/}*" -exec rmdir {} \;
  rm -rf "$folder"
}

run_in_namespaces() {
  local path
  for path in /run /etc/docker; do
    if [ -d $path ]; then mount -t tmpfs none $path; fi
  done
  ip link set lo up
  dockerd --data-root "$folder/data" --exec-root "$folder/exec" --host "$DOCKER_HOST" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/${folder##*/}" \
    --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false >"$folder/dockerd.log" 2>&1 </dev/null &
  local daemon=$! tenths
  for tenths in {1..300}; do
    if answers; then
      "$@"
      exit
    fi
    kill -0 $daemon 2>/dev/null || break
    sleep 0.1
  done
  cannot "$(tail -n 1 "$folder/dockerd.log")"
}

if [ "${1:-}" = --in-namespaces ]; then
  folder=$2
  shift 2
  run_in_namespaces "$@"
fi

if answers; then exec "$@"; fi
folder=$(mktemp -d /tmp/envicutor-docker.XXXXXX) # a short path, since it contains a socket
trap clean_up EXIT
[ "$(id -u)" = 0 ] || cannot "a daemon needs root"
command -v dockerd >/dev/null || install_docker
export DOCKER_HOST=unix://$folder/socket
setpriv --pdeathsig=KILL unshare --mount --net --pid --fork --kill-child --mount-proc "$0" --in-namespaces "$folder" "$@"
