# Unpacks archives, each into an output of its own, as many at once as there are cores:
#
#   files/    what belongs below the root folder of an environment, without manuals, documentation and translations
#   postinst  the maintainer script, if the archive has one
#   mark      a file that builds link which need the tree
#
# Given by the derivation: $busybox, $common, $archivesPath (a file of lines `name sha256`), and an output for each
# archive. The archives are mounted in /archives; the digest of each was checked before.
set -eu

main() {
    . "$common"
    mkdir_tools
    folders=""
    for output in $outputs; do
        eval "folder=\$$output"
        folders="$folders $folder"
        mkdir -p "$folder/files"
        echo tree > "$folder/mark"
    done
    # shellcheck disable=SC2086 # a list of folders without spaces
    bound_disk $folders
    export outputs
    write_unpack_one
    mkdir /build/roots
    unshare --user --map-root-user --mount --pid --fork \
        xargs -n 2 -P "$NIX_BUILD_CORES" sh /build/unpack-one < "$archivesPath"
    end_within_bounds
}

write_unpack_one() {
    cat > /build/unpack-one << 'END'
set -eu -o pipefail
. "$common"
name=$1
archive=/archives/$2.deb
tree=$(output_of "$2")
cd "$tree/files"

control='' data=''
for member in $(ar t "$archive"); do
    case $member in
        control.tar*) control=$member ;;
        data.tar*) data=$member ;;
    esac
done
extract() {
    case $1 in
        *.xz) ar p "$archive" "$1" | unxz ;;
        *.gz) ar p "$archive" "$1" | gunzip ;;
        *.tar) ar p "$archive" "$1" ;;
        *) echo "$name: cannot unpack $1"; exit 1 ;;
    esac
}

# In a root folder without anything else: tar makes links as the archive has them, and then files through these links.
root=/build/roots/$2
mkdir -p "$root/files"
: > "$root/busybox"
mount -o bind "$busybox" "$root/busybox"
mount -o bind "$tree/files" "$root/files"
extract "$data" | chroot "$root" /busybox tar -x -o --no-same-permissions -C /files
rm -rf usr/share/doc usr/share/info usr/share/lintian usr/share/locale usr/share/man
find . ! -type f ! -type d ! -type l -exec rm {} + # devices and pipes, which a store cannot hold

extract "$control" | tar -x -O ./postinst > "$tree/postinst" 2> /dev/null || true
[ -s "$tree/postinst" ] || rm -f "$tree/postinst"
END
}

main
