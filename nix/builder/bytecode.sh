# Compiles the Python modules of archives, each archive into an output of its own: files/usr/lib/…/__pycache__/….pyc.
# Builds that need the tree link the file `mark` beside.
#
# Given by the derivation: $busybox, $common, $python (such as python3.11), $program (compile_modules.py),
# $archivesPath (the digests of the archives), and an output for each archive. Mounted are /interpreter, an environment
# with that Python, and /trees/DIGEST, the files of each archive.
#
# Bytecode depends on the archive and the interpreter alone: each archive is compiled in a root folder of these two, in
# which the interpreter's files come first. A module that has a file of the interpreter before it is not of use.
# The modules of one process are always the same ones, whatever the number of cores, since bytecode may depend on what
# was compiled before it. Folders `tests` are left out: a third of all modules, which only tests import.
set -eu

main() {
    . "$common"
    mkdir_tools
    mkdir /build/lists /build/roots
    folders=""
    while read -r digest; do
        folder=$(output_of "$digest")
        folders="$folders $folder"
        mkdir -p "$folder/files"
        echo tree > "$folder/mark"
        list_modules "$digest"
    done < "$archivesPath"
    # shellcheck disable=SC2086 # a list of folders without spaces
    bound_disk $folders
    write_compile_script
    unshare --user --map-root-user --mount --pid --fork sh -eu /build/compile
    end_within_bounds
}

# Files /build/lists/DIGEST.0, … of 100 modules each.
list_modules() {
    cd "/trees/$1"
    for folder in usr/lib/python3 "usr/lib/$python"; do
        [ ! -d "$folder" ] || find "$folder" -name '*.py' ! -type d ! -path '*/tests/*'
    done | sort | awk -v "list=/build/lists/$1" '{ print > (list "." int((NR - 1) / 100)) }'
}

write_compile_script() {
    cat > /build/compile << 'END'
. "$common"
while read -r digest; do
    root=/build/roots/$digest
    mkdir "$root"
    mount -t overlay overlay -o "lowerdir=/interpreter:/trees/$digest" "$root"
    mount -o rbind /dev "$root/dev"
    mount -o bind "$(output_of "$digest")/files" "$root/mnt"
done < "$archivesPath"
export text="$(cat "$program")"
ls -S /build/lists | xargs -r -n 1 -P "$NIX_BUILD_CORES" sh -c '
    chroot "/build/roots/${0%.*}" "/usr/bin/$python" -I -S -c "$text" /mnt < "/build/lists/$0"' || true
END
}

main
