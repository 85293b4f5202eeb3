# Compiles the Python modules of archives, each archive into an output of its own: files/usr/lib/…/__pycache__/….pyc.
# Builds that need the tree link the file `mark` beside.
#
# Given by the derivation: $busybox, $common, $python (such as python3.11), $program (compile_modules.py),
# $archivesPath (the digests of the archives), and an output for each archive. Mounted are /interpreter, the files of
# that Python; /trees/DIGEST, the files of each archive; /modules/DIGEST, the paths of its modules.
#
# Bytecode depends on the archive and the interpreter alone. The root folder holds the interpreter, and an archive's files
# are at a place that no program looks at, so that nothing of an archive is executed or read as anything but source text.
# The modules of one process are always the same ones, whatever the number of cores, since bytecode may depend on what
# was compiled before it.
set -eu

main() {
    . "$common"
    mkdir_tools
    mkdir /build/lists
    folders=""
    while read -r digest; do
        folder=$(output_of "$digest")
        folders="$folders $folder"
        mkdir -p "$folder/files"
        echo tree > "$folder/mark"
        # 100 modules each
        awk -v "list=/build/lists/$digest" '{ print > (list "." int((NR - 1) / 100)) }' "/modules/$digest"
    done < "$archivesPath"
    # shellcheck disable=SC2086 # a list of folders without spaces
    bound_disk $folders
    write_compile_script
    unshare --user --map-root-user --mount --pid --fork sh -eu /build/compile
    end_within_bounds
}

write_compile_script() {
    cat > /build/compile << 'END'
. "$common"
cd /build
mkdir root
mount -t overlay overlay -o "lowerdir=/interpreter,upperdir=$PWD/upper,workdir=$PWD/work,userxattr" root || exit "$HOST_FAULT"
mount -o rbind /dev root/dev
while read -r digest; do
    mkdir -p "root/mnt/$digest/source" "root/mnt/$digest/bytecode"
    mount -o bind "/trees/$digest" "root/mnt/$digest/source"
    mount -o bind "$(output_of "$digest")/files" "root/mnt/$digest/bytecode"
done < "$archivesPath"
export text="$(cat "$program")"
ls -S lists | xargs -r -n 1 -P "$NIX_BUILD_CORES" sh -c '
    chroot root "/usr/bin/$python" -I -S -c "$text" "/mnt/${0%.*}" < "lists/$0"'
END
    mkdir /build/upper /build/upper/dev /build/upper/mnt /build/work
}

main
