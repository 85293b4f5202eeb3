#!/bin/bash
# Copies what a system cannot make again: backup.sh DATA_DIR BACKUP, where BACKUP is a folder that is not there yet.
# The system may run. Its brokers are then paused while they are copied, so that the copy is of one moment.
# See docs/operate.md.
set -euo pipefail
data=$1 backup=$2
umask 077
mkdir "$backup"
backup=$(realpath "$backup")
cd "$data"

# Each broker has a lock as long as it runs. Process ids of brokers that were killed may belong to others.
for lock in kafka*/lock; do
  if ! flock --nonblock "$lock" true; then
    brokers=$(cat run/broker-*.pid)
    trap 'kill -CONT $brokers' EXIT
    kill -STOP $brokers
    break
  fi
done

for name in kafka* sealer secrets; do
  if [ -e "$name" ]; then cp --archive --reflink=auto "$name" "$backup/"; fi
done
