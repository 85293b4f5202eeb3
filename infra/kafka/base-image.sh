#!/bin/bash
# Makes a base image $1 for the Dockerfile beside this script from this machine's Java and busybox, if none can be pulled.
set -euo pipefail
image=$1
root=$(mktemp -d -t envicutor-base.XXXXXX)
trap 'rm -rf "$root"' EXIT

java_home=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.home = //p')
mkdir -p "$root"/{bin,etc,opt/java,proc,sys,dev,usr/bin,var/lib}
mkdir -m 1777 "$root/tmp"

# Debian keeps parts of Java in /etc, so tar follows links. Certificates and sources are not needed.
tar -C "$java_home" --dereference --exclude=cacerts --exclude=src.zip --exclude=ct.sym -c bin/java conf lib release |
  tar -C "$root/opt/java" -x
ln -s /opt/java/bin/java "$root/usr/bin/java"
find "$java_home/bin/java" "$java_home/lib" -name java -o -name '*.so' | xargs ldd 2>/dev/null |
  grep -oE '(=> |^\s)/[^ ]+' | grep -oE '/.*' | grep -vF "$java_home" | sort -u |
  xargs cp --parents --dereference --target-directory="$root"

cp "$(command -v busybox)" "$root/bin/busybox"
for applet in cat chown cut env head hostname mkdir sed sh sleep tr; do ln -s busybox "$root/bin/$applet"; done
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

tar -C "$root" -c . | docker import - "$image" >/dev/null
