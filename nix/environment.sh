# Makes one environment of Debian archives: a tree with usr, etc and var, complete and configured.
#
# Runs as a build user inside Nix's sandbox: no network, no files but the archives in /archives, busybox and this.
# Given by the derivation: $out, $busybox, $architecture, $archives (a file of lines `name sha256`, each after those
# that it depends on), $files (a folder of small files), $layer (the sha256 of /archives/layer.tar, or nothing), $format
# (see ENVIRONMENT_FORMAT in contents.py: raise that number with each change of what environments hold).
# /bounds says how many KiB may be written.
set -eu

main() {
    mkdir_tools
    mkdir "$out"
    cd "$out"
    read -r bound_kib < /bounds
    ulimit -f "$((bound_kib * 2))" # of a single file, in blocks of 512 bytes
    watch_disk &
    merge_usr
    unpack
    account_files
    configure
    add_layer
    compile_python
    write_files
    remove_what_nobody_needs
    rm -rf format
    echo "$format" > format
    [ ! -e /build/over ] || exit 1
}

# Nothing else bounds what a build writes. The maintainer scripts cannot signal this: it is not in their namespace.
# Whatever ends it ends the build as well, such as that nobody can fork any more.
watch_disk() {
    trap 'echo "the build is not watched any more"; : > /build/over; kill -9 -1' EXIT # all but pid 1
    while sleep 1; do
        used_kib=$(du -skc /build "$out" 2> /dev/null | tail -n 1 | cut -f 1)
        [ "$used_kib" -le "$bound_kib" ] || { echo "the build hit the limit environment_bytes"; break; }
    done
}

# Every command is busybox.
mkdir_tools() {
    "$busybox" mkdir /build/bin
    "$busybox" --install -s /build/bin
    export PATH=/build/bin
}

# Archives bring files below /bin and /usr/bin alike; both are one folder.
merge_usr() {
    mkdir -p usr etc var/lib var/tmp
    for folder in bin sbin lib lib32 lib64 libx32; do
        mkdir "usr/$folder"
        ln -s "usr/$folder" "$folder"
    done
}

# All archives, as many at once as there are cores; their maintainer scripts go to /build/scripts.
unpack() {
    mkdir /build/scripts
    cat > /build/unpack-one << 'END'
set -eu -o pipefail
name=$1
sha256=$2
archive=/archives/$sha256.deb
echo "$sha256  $archive" | sha256sum -c -s || { echo "$name: the archive is damaged"; exit 1; }
extract() {
    member=$(ar t "$archive" | grep "^$1\.tar")
    case $member in
        *.xz) ar p "$archive" "$member" | unxz ;;
        *.gz) ar p "$archive" "$member" | gunzip ;;
        *.tar) ar p "$archive" "$member" ;;
        *) echo "$name: cannot unpack $member"; exit 1 ;;
    esac
}
extract control | tar -x -O ./postinst > "/build/scripts/$name" 2> /dev/null || rm -f "/build/scripts/$name"
extract data | tar -x -o
END
    xargs -n 2 -P "$NIX_BUILD_CORES" sh /build/unpack-one < "$archives"
}

# Users and groups as Debian ships them, and the one that programs run as, so that names resolve.
account_files() {
    for file in passwd group; do
        master=usr/share/base-passwd/$file.master
        [ -e "etc/$file" ] || [ ! -e "$master" ] || cp "$master" "etc/$file"
    done
    echo "box:x:1000:1000::/box:/bin/bash" >> etc/passwd
    echo "box:x:1000:" >> etc/group
    [ -e etc/hosts ] || echo "127.0.0.1 localhost box" > etc/hosts # box: the host name in the sandbox
}

# Runs the maintainer scripts in the finished tree as its root folder. They are root of a user namespace of their own,
# that is, nobody but the build user. One that fails is told in the log: most of them only prepare services.
configure() {
    mkdir -p .configure/bin
    cp -r /build/scripts "$busybox" "$archives" .configure
    write_stand_ins
    write_configure_script
    run_in_tree || { echo "the maintainer scripts could not be run"; exit 1; }
}

# Runs /.configure/run, and removes that folder.
run_in_tree() {
    mkdir -p dev proc tmp
    unshare --user --map-root-user --mount --pid --fork sh -eu << 'END' || return 1
mount -o rbind /dev "$out/dev"
mount -t proc proc "$out/proc"
mount -t tmpfs tmpfs "$out/tmp"
exec chroot "$out" /.configure/busybox sh /.configure/run
END
    rm -rf .configure
    rmdir dev proc tmp
}

# Packages of other registries: plain files for /usr/local, which nothing here executes. In the tree as its root folder,
# so that no link of a package leads out of it.
add_layer() {
    [ -n "$layer" ] || return 0
    echo "$layer  /archives/layer.tar" | sha256sum -c -s || { echo "the layer's archive is damaged"; exit 1; }
    mkdir .configure
    cp "$busybox" .configure
    cat > .configure/run << 'END'
set -eu
b=/.configure/busybox
$b mkdir -p /usr/local
$b tar -x -o -C /usr/local <&3
END
    run_in_tree 3< /archives/layer.tar || { echo "the packages of other registries could not be added"; exit 1; }
}

# Bytecode of all Python modules that can be imported, for each version of Python, also where there is some: Nix sets
# all times to one moment, so what a maintainer script compiled, with the time of its source, is stale.
compile_python() {
    mkdir .configure
    cp "$busybox" .configure
    write_compiler
    cat > .configure/run << 'END'
for folder in /usr/lib/python3.* /usr/lib/pypy3.*; do
    [ ! -x "/usr/bin/${folder##*/}" ] || /.configure/compile-python "/usr/bin/${folder##*/}" \
        "$folder" /usr/lib/python3 "/usr/local/lib/${folder##*/}"
done
END
    run_in_tree || { echo "Python's modules could not be compiled"; exit 1; }
}

# /.configure/compile-python PYTHON FOLDER... compiles the modules in folders and what links in them lead to.
# Python does so without looking at what is installed (-I -S): a .pth file would be executed. Folders `tests` are left
# out: a third of all modules, which nothing but the tests themselves imports. The modules of one process are always
# the same ones, whatever the number of cores, since bytecode may depend on what was compiled before it. A module that
# is no Python (of another version, or a test's example) is not worth a line of the log.
write_compiler() {
    cat > .configure/compile-python << 'END'
#!/.configure/busybox sh
b=/.configure/busybox
python=$1
shift
$b find -L "$@" -name '*.py' -type f ! -path '*/tests/*' -print0 2> /dev/null | $b sort -z |
    $b xargs -0 -r -n 100 -P "$($b nproc)" "$python" -I -S -m compileall -qq -f --invalidation-mode unchecked-hash ||
    true
END
    chmod +x .configure/compile-python
}

# Commands that maintainer scripts call but that have nothing to do, or something else, here.
write_stand_ins() {
    for command in add-shell adduser addgroup chgrp chown deb-systemd-helper deb-systemd-invoke dpkg-divert \
        dpkg-maintscript-helper dpkg-realpath dpkg-statoverride dpkg-trigger fc-cache install-info invoke-rc.d mknod \
        py3clean pycompile remove-shell systemctl ucfr update-menus update-mime-database update-rc.d; do
        stand_in "$command" << 'END'
END
    done

    # py3compile [-p PACKAGE] [FOLDER]...: a package's modules below /usr/lib/python3 are compiled at the end.
    write_compiler
    stand_in py3compile << 'END'
for folder; do
    case $folder in /*) /.configure/compile-python /usr/bin/python3 "$folder" ;; esac
done
END

    stand_in dpkg << END
case \$1 in
    --print-architecture) echo $architecture ;;
    -L | --listfiles) exit 1 ;;
esac
END

    # ucf [options] NEW FILE: installs a configuration file.
    stand_in ucf << 'END'
while [ "${1#-}" != "$1" ]; do shift; done
[ -e "$2" ] || { $b mkdir -p "${2%/*}"; $b cp "$1" "$2"; }
END

    # The highest priority wins; --slave links follow their master.
    stand_in update-alternatives << 'END'
link() { # LINK NAME PATH PRIORITY
    [ -e "$3" ] || return 0
    highest=-1
    [ ! -e "/.configure/alternative.$2" ] || read -r highest < "/.configure/alternative.$2"
    [ "$4" -gt "$highest" ] || return 0
    if [ -L "$1" ] || [ ! -e "$1" ]; then
        $b mkdir -p "${1%/*}"
        $b ln -sfn "$3" "$1"
        echo "$4" > "/.configure/alternative.$2"
    fi
}
while [ $# -gt 0 ]; do
    case $1 in
        --install) priority=$5; link "$2" "$3" "$4" "$priority"; shift 5 ;;
        --slave) link "$2" "$3" "$4" "$priority"; shift 4 ;;
        *) shift ;;
    esac
done
END
    chmod +x .configure/bin/*

    # debconf: every question is answered with nothing.
    if [ ! -e usr/share/debconf/confmodule ]; then
        mkdir -p usr/share/debconf
        for function in beginblock capb clear endblock fget fset get go info input metaget purge register reset set \
            settitle stop subst title unregister version; do
            echo "db_$function() { RET=; }"
        done > usr/share/debconf/confmodule
    fi
}

stand_in() {
    { echo '#!/.configure/busybox sh'; echo 'b=/.configure/busybox'; cat; } > ".configure/bin/$1"
}

# What runs inside: the maintainer scripts in order, then the caches that programs look for at run time.
write_configure_script() {
    cat > .configure/run << 'END'
b=/.configure/busybox
export PATH=/.configure/bin:/usr/sbin:/usr/bin:/.configure/applets HOME=/root TMPDIR=/tmp LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive DPKG_MAINTSCRIPT_ARCH=$architecture DPKG_MAINTSCRIPT_NAME=postinst

# After the packages' own: tools that every Debian system has, such as getopt.
$b mkdir /.configure/applets
$b --install -s /.configure/applets

$b mkdir -p /var/lib/dpkg/info
while read -r name _; do
    case $name in
        # These set up the machine, which is not theirs.
        base-files | base-passwd | libc6 | tzdata) continue ;;
    esac
    [ -s "/.configure/scripts/$name" ] || continue
    script=/var/lib/dpkg/info/$name.postinst # some look at their own name
    $b cp "/.configure/scripts/$name" "$script"
    $b chmod +x "$script"
    DPKG_MAINTSCRIPT_PACKAGE=$name $b timeout 30 "$script" configure '' > /.configure/log 2>&1 < /dev/null ||
        echo "$name: its maintainer script ended with $?: $($b tail -n 1 /.configure/log)"
done < "/.configure/${archives##*/}"
$b rm -rf /var/lib/dpkg

[ ! -x /usr/sbin/ldconfig ] || /usr/sbin/ldconfig -X
$b rm -rf /var/cache/ldconfig # for the next ldconfig; it knows files by their inodes

# By default debconf selects all certificates; here it answers nothing.
if [ -x /usr/sbin/update-ca-certificates ]; then
    (cd /usr/share/ca-certificates && $b find * -name '*.crt' | $b sort) > /etc/ca-certificates.conf
    update-ca-certificates > /dev/null 2>&1 || echo "the bundle of certificates could not be made"
fi
# A trigger of dpkg would do so.
if [ -x /usr/bin/update-mime-database ]; then
    PKGSYSTEM_ENABLE_FSYNC=0 /usr/bin/update-mime-database /usr/share/mime || echo "mime.cache could not be made"
fi

# Fontconfig believes its cache while the folder of the fonts has the time that it had then, which Nix will set to 1.
# Programs see /var/lib, not /var/cache. Fonts that packages of other registries bring are not in the cache, nor is it
# to say that there are none. fc-list makes the cache as well as fc-cache does, which sleeps for 2 s.
if [ -x /usr/bin/fc-list ]; then
    $b sed -i 's|<cachedir>/var/cache/fontconfig<|<cachedir>/var/lib/fontconfig<|' /etc/fonts/fonts.conf
    $b rm -rf /var/cache/fontconfig
    $b mkdir /var/lib/fontconfig
    $b rmdir /usr/local/share/fonts 2> /dev/null
    $b find /usr/share/fonts -type d -exec $b touch -d @1 {} +
    /usr/bin/fc-list > /dev/null || echo "the cache of fonts could not be made"
fi
END
}

# Small files of the expression, after all else: what they say is not run here.
write_files() {
    (cd "$files" && find . -type f) | while read -r file; do
        mkdir -p "usr/${file%/*}"
        case $(realpath "usr/${file%/*}") in
            "$out"/*) ;;
            *) echo "$file: a package has made a link of its folder"; exit 1 ;;
        esac
        rm -f "usr/$file"
        case $file in *.py) rm -f "usr/${file%/*}/__pycache__/$(basename "$file" .py)".*.pyc ;; esac # the package's
        cp -p "$files/$file" "usr/$file"
    done
}

remove_what_nobody_needs() {
    rm -rf usr/share/doc usr/share/info usr/share/lintian usr/share/locale usr/share/man
    find . ! -type f ! -type d ! -type l -exec rm {} + # pipes and sockets, which a store cannot hold
    [ -e usr/bin/sh ] || ln -s dash usr/bin/sh # what the maintainer script of a later dash would do
    for folder in *; do
        # What is mounted from here stays; of the rest only what a package put something into.
        case $folder in usr | etc | var) ;; *) [ -L "$folder" ] || rmdir "$folder" 2> /dev/null || true ;; esac
    done
}

main
