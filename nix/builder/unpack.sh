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
        mkdir -p "$folder"
        echo tree > "$folder/mark"
    done
    # shellcheck disable=SC2086 # a list of folders without spaces
    bound_disk $folders
    export outputs
    write_unpack_one
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
extract() {
    member=$(ar t "$archive" | grep "^$1\.tar")
    case $member in
        *.xz) ar p "$archive" "$member" | unxz ;;
        *.gz) ar p "$archive" "$member" | gunzip ;;
        *.tar) ar p "$archive" "$member" ;;
        *) echo "$name: cannot unpack $member"; exit 1 ;;
    esac
}

# Archives bring files below /bin and /usr/bin alike; both are one folder.
mkdir -p "$tree/files/usr" "$tree/files/etc" "$tree/files/var/lib"
cd "$tree/files"
for folder in bin sbin lib lib32 lib64 libx32; do
    mkdir "usr/$folder"
    ln -s "usr/$folder" "$folder"
done
extract data | tar -x -o
for folder in bin sbin lib lib32 lib64 libx32; do
    [ ! -L "$folder" ] || rm "$folder"
    [ -L "usr/$folder" ] || rmdir "usr/$folder" 2> /dev/null || true
done
chmod -R u+rwX .
rm -rf usr/share/doc usr/share/info usr/share/lintian usr/share/locale usr/share/man
find . ! -type f ! -type d ! -type l -exec rm {} + # devices and pipes, which a store cannot hold

extract control | tar -x -O ./postinst > "$tree/postinst" 2> /dev/null || true
[ -s "$tree/postinst" ] || rm -f "$tree/postinst"
END
}

main
