# Functions of all builders, which run as a build user inside Nix's sandbox: no network, no files but those that are
# mounted for them, busybox, and the scripts. /bounds has the number of KiB that may be written.

# Exit code of a builder if the host is at fault, which no package decides.
HOST_FAULT=75

# Every command is busybox.
mkdir_tools() {
    "$busybox" mkdir /build/bin
    "$busybox" --install -s /build/bin
    export PATH=/build/bin
}

# bound_disk FOLDER...: nothing else bounds what a build writes, into these folders and /build. Programs of packages
# cannot signal the watch: it is not in their namespace. Whatever ends it ends the build as well, such as that no
# process can be forked any more.
bound_disk() {
    read -r bound_kib < /bounds
    ulimit -f "$((bound_kib * 2))" # of a single file, in blocks of 512 bytes
    watch_disk "$@" &
}

watch_disk() {
    trap 'echo "the build is not watched any more"; : > /build/over; kill -9 -1' EXIT # all but pid 1
    while sleep 1; do
        used_kib=$(du -skc /build "$@" 2> /dev/null | tail -n 1 | cut -f 1)
        [ "$used_kib" -le "$bound_kib" ] || { echo "the build hit the limit environment_bytes"; break; }
    done
}

# The last command of a build.
end_within_bounds() {
    [ ! -e /build/over ] || exit 1
}

# The output of an archive's digest.
output_of() {
    eval "echo \"\$a$1\""
}
