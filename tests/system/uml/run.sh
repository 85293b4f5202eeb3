#!/bin/bash
# Runs pytest (with the given arguments, and again in a user namespace with those after --user-namespace) on a kernel with
# cgroup version 2, whatever this host has: User-Mode Linux, a kernel that is a program. It sees the host's own files,
# read-only, and ends with everything in it. Correctness only: times in there mean nothing.
set -euo pipefail
cd "$(dirname "$0")/../../.."
seconds=3600

say() { echo "uml: $*"; }

install_kernel() {
  [ "$(id -u)" = 0 ] || { say "run as root once, to install user-mode-linux" >&2; exit 1; }
  say "installing user-mode-linux"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=300 user-mode-linux >/dev/null
}

command -v linux.uml >/dev/null || install_kernel
arguments=()
for argument; do
  if [[ $argument = *" "* ]]; then argument="\"$argument\""; fi # the kernel's command line is split at blanks
  arguments+=("$argument")
done
folder=$(mktemp -d /tmp/envicutor-uml.XXXXXX)
trap 'rm -rf "$folder"' EXIT
gcc -O2 -Wall -Wextra -shared -fPIC -o "$folder/xstate.so" tests/system/uml/xstate.c
say "starting Linux $(linux.uml --version), with cgroup version 2"
# It ends with code 0 whatever came of the tests. Its memory is taken as it is used.
timeout --foreground --kill-after=10 $seconds \
  env LD_PRELOAD="$folder/xstate.so" linux.uml mem=3G loglevel=1 uml_dir="$folder" root=/dev/root rootfstype=hostfs rootflags=/ ro \
  init="$PWD/tests/system/uml/init.sh" console=tty0 con=null con0=null,fd:1 -- "$PWD" "${arguments[@]}" 2>&1 |
  tee "$folder/log" | sed --unbuffered --quiet 's/\r$//; /^uml: Linux/,/^uml: \(passed\|failed\)/ p' || true
if grep --quiet '^uml: passed' "$folder/log"; then exit; fi
grep --quiet '^uml: failed' "$folder/log" || { say "it ended before its time:"; tail -n 30 "$folder/log"; }
exit 1
