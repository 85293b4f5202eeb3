# Makes what an environment has beside the files of its archives: $out/written is a tree to be put over them, and
# $out/left lists the paths that the whole tree has then, each ended by a NUL.
#
# Runs as a build user inside Nix's sandbox: no network, no files but those mounted, busybox, and the scripts. Mounted
# are /lower, the files of all archives in one tree; /scripts/SHA256, their maintainer scripts; /compiled, a list of the
# Python modules whose bytecode is in /lower; /layer.tar, if $layer is not empty. Given by the derivation: $out, $busybox,
# $common, $architecture, $archivesPath (a file of lines `name sha256`, each after those that it depends on), $files (a
# folder of small files), $layer (the sha256 of /layer.tar), $format (see ENVIRONMENT_FORMAT in contents.py: raise that
# number with each change of what environments hold).
#
# All work is done in /build/root, an overlay of $out/written over /lower. The files in /lower belong to another user, so
# that the kernel cannot copy them up: what is below /etc and /var is copied before, and each folder exists in both. A
# maintainer script can so add, replace and remove files anywhere, and can change in place those below /etc and /var.
set -eu

main() {
    . "$common"
    mkdir_tools
    mkdir -p "$out/written" "$out/work" /build/root
    bound_disk "$out"
    export mount_failed=$HOST_FAULT
    cd "$out/written"
    copy_up
    configure
    add_layer
    compile_python
    add_files
    # Pipes and sockets, which a store cannot hold, and what the overlay notes of removed files.
    find . ! -type f ! -type d ! -type l -exec rm {} +
    rm -r "$out/work"
    end_within_bounds
}

# Each folder of /lower exists in the tree that is written, and a copy of each file below /etc and /var.
copy_up() {
    (cd /lower && find . -type d -print0) | xargs -0 mkdir -p
    cp -dR /lower/etc /lower/var .
    chmod -R u+w .
}

# Runs the maintainer scripts in the finished tree as its root folder. They are root of a user namespace of their own,
# that is, the build user alone. One that fails is named in the log: most of them only prepare services.
configure() {
    mkdir -p .configure/bin
    cp -r /scripts "$busybox" .configure
    cp "$archivesPath" .configure/archives
    write_stand_ins
    write_configure_script
    run_in_tree || fail "the maintainer scripts could not be run"
}

# Runs /.configure/run in the overlay, and removes that folder.
run_in_tree() {
    mkdir -p dev proc tmp
    unshare --user --map-root-user --mount --pid --fork sh -eu << 'END' || return
. "$common"
root=/build/root
# The present folder is $out/written, whatever a maintainer script has put in its place since.
mount -t overlay overlay -o "lowerdir=/lower,upperdir=.,workdir=$out/work,userxattr" "$root" || exit "$mount_failed"
mount -o rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
# Without the variables of the build, which name the store.
chroot "$root" /.configure/busybox env -i architecture="$architecture" /.configure/busybox sh -eu /.configure/run ||
    exit 1
END
    export mount_failed=1 # packages have had their turn
    rm -rf .configure
    rmdir dev proc tmp
    chmod -R u+rwX "$out/work" # the kernel's own folder in it is closed
}

# fail MESSAGE: ends the build after a failed run_in_tree.
fail() {
    status=$?
    echo "$1"
    exit "$status"
}

# Packages of other registries: plain files for /usr/local, which nothing here executes. In the tree as its root folder,
# so that no link of a package leads out of it.
add_layer() {
    [ -n "$layer" ] || return 0
    echo "$layer  /layer.tar" | sha256sum -c -s || { echo "the layer's archive is damaged"; exit 1; }
    mkdir .configure
    cp "$busybox" .configure
    cat > .configure/run << 'END'
b=/.configure/busybox
$b mkdir -p /usr/local
$b tar -x -o -C /usr/local <&3
END
    run_in_tree 3< /layer.tar || fail "the packages of other registries could not be added"
}

# Bytecode of the Python modules that can be imported and have none of their archive's: those of other registries, those
# that links lead to, and those that maintainer scripts wrote. What maintainer scripts compiled is compiled again: Nix
# sets all times to one moment, so that bytecode with the time of its source is stale.
compile_python() {
    mkdir .configure
    cp "$busybox" .configure
    cp -r /compiled .configure/compiled
    find usr -name '*.py' ! -type d > .configure/written
    write_compiler
    cat > .configure/run << 'END'
b=/.configure/busybox
for folder in /usr/lib/python3.* /usr/lib/pypy3.*; do
    python=${folder##*/}
    [ -x "/usr/bin/$python" ] || continue
    $b touch "/.configure/compiled/$python"
    $b find -L "$folder" /usr/lib/python3 "/usr/local/lib/$python" -name '*.py' -type f ! -path '*/tests/*' 2> /dev/null |
        $b sed 's|^/||' | $b sort > /.configure/modules || true
    {
        $b awk 'NR == FNR { compiled[$0]; next } !($0 in compiled)' "/.configure/compiled/$python" /.configure/modules
        $b awk 'NR == FNR { written[$0]; next } $0 in written' /.configure/written /.configure/modules
    } | $b sort -u | $b sed 's|^|/|' | /.configure/compile-python "/usr/bin/$python"
done
END
    run_in_tree || fail "Python's modules could not be compiled"
}

# /.configure/compile-python PYTHON compiles the modules whose paths are lines of its input. Python does so without
# looking at what is installed (-I -S): a .pth file would be executed. Folders `tests` are left out: a third of all
# modules, which only tests import. The modules of one process are always the same ones, whatever the number of cores,
# since bytecode may depend on what was compiled before it. A module that is no Python (of another version, or a test's
# example) is not worth a line of the log.
write_compiler() {
    cat > .configure/compile-python << 'END'
#!/.configure/busybox sh
b=/.configure/busybox
$b tr '\n' '\0' | $b xargs -0 -r -n 100 -P "$($b nproc)" \
    "$1" -I -S -m compileall -qq -f --invalidation-mode unchecked-hash || true
END
    chmod +x .configure/compile-python
}

# Commands that maintainer scripts call but that have nothing to do, or something else, here.
write_stand_ins() {
    for command in add-shell adduser addgroup chgrp chown deb-systemd-helper deb-systemd-invoke dpkg-divert \
        dpkg-maintscript-helper dpkg-realpath dpkg-statoverride dpkg-trigger fc-cache install-info invoke-rc.d mknod \
        py3clean pycompile remove-shell systemctl ucfr update-menus update-mime-database update-rc.d; do
        echo '#!/.configure/busybox true' > ".configure/bin/$command"
    done

    # py3compile [-p PACKAGE] [FOLDER]...: a package's modules below /usr/lib/python3 are compiled at the end.
    write_compiler
    stand_in py3compile << 'END'
for folder; do
    case $folder in
        /*) $b find -L "$folder" -name '*.py' -type f ! -path '*/tests/*' | $b sort |
            /.configure/compile-python /usr/bin/python3 ;;
    esac
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

    # cp: files of packages belong to another user than here, which cannot be preserved.
    stand_in cp << 'END'
preserve=
for argument; do
    shift
    case $argument in
        -p | --preserve) preserve=mode,timestamps; continue ;;
        -a | --archive) preserve=mode,timestamps,links; argument=-dR ;;
        --*) ;;
        -*p*) preserve=mode,timestamps; argument=$(echo "$argument" | $b tr -d p) ;;
        -*a*) preserve=mode,timestamps,links; argument=$(echo "$argument" | $b sed s/a/dR/) ;;
    esac
    set -- "$@" "$argument"
done
[ -x /usr/bin/cp ] || exec $b cp "$@"
exec /usr/bin/cp ${preserve:+"--preserve=$preserve"} "$@"
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
set +eu

# Users and groups as Debian ships them, and the one that programs run as, so that names resolve.
for file in passwd group; do
    master=/usr/share/base-passwd/$file.master
    [ -e "/etc/$file" ] || [ ! -e "$master" ] || $b cp "$master" "/etc/$file"
done
echo "box:x:1000:1000::/box:/bin/bash" >> /etc/passwd
echo "box:x:1000:" >> /etc/group
[ -e /etc/hosts ] || echo "127.0.0.1 localhost box" > /etc/hosts # box: the host name in the sandbox

export PATH=/.configure/bin:/usr/sbin:/usr/bin:/.configure/applets HOME=/root TMPDIR=/tmp LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive DPKG_MAINTSCRIPT_ARCH=$architecture DPKG_MAINTSCRIPT_NAME=postinst

# After the packages' own: tools that every Debian system has, such as getopt.
$b mkdir /.configure/applets
$b --install -s /.configure/applets

$b mkdir -p /var/lib/dpkg/info
while read -r name sha256; do
    case $name in
        # These set up the machine, which is not theirs.
        base-files | base-passwd | libc6 | tzdata) continue ;;
    esac
    [ -s "/.configure/scripts/$sha256" ] || continue
    script=/var/lib/dpkg/info/$name.postinst # some look at their own name
    $b cp "/.configure/scripts/$sha256" "$script"
    $b chmod +x "$script"
    DPKG_MAINTSCRIPT_PACKAGE=$name $b timeout 30 "$script" configure '' > /.configure/log 2>&1 < /dev/null ||
        echo "$name: its maintainer script ended with $?: $($b tail -n 1 /.configure/log)"
done < /.configure/archives
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
# Programs see /var/lib, not /var/cache. Fonts that packages of other registries bring are not in the cache, and it must
# not claim that there are none. fc-list makes the cache as well as fc-cache does, which sleeps for 2 s.
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

# Small files of the expression, after all else: none of them is run here. Then what only installation needed goes,
# and the paths that are left are listed.
add_files() {
    mkdir .configure
    cp "$busybox" .configure
    cp -r "$files" .configure/files
    echo "$format" > .configure/format
    cat > .configure/run << 'END'
b=/.configure/busybox
cd /.configure/files
$b find . -type f | while read -r file; do
    file=${file#./}
    folder=/usr/$($b dirname "$file")
    $b mkdir -p "$folder"
    case $($b realpath "$folder") in
        /usr | /usr/*) ;;
        *) echo "$file: a package has made a link of its folder"; exit 1 ;;
    esac
    $b rm -f "/usr/$file"
    case $file in *.py) $b rm -f "$folder/__pycache__/$($b basename "$file" .py)".*.pyc ;; esac # the package's
    $b cp -p "$file" "/usr/$file"
done

cd /
$b rm -rf usr/share/doc usr/share/info usr/share/lintian usr/share/locale usr/share/man format
$b cp .configure/format format
[ -e usr/bin/sh ] || $b ln -s dash usr/bin/sh 2> /dev/null || true # what the maintainer script of a later dash would do
for folder in *; do
    # What is mounted from here stays; of the rest only what a package put something into.
    case $folder in usr | etc | var) ;; *) [ -L "$folder" ] || $b rmdir "$folder" 2> /dev/null || true ;; esac
done
$b find . \( -path ./.configure -o -path ./dev -o -path ./proc -o -path ./tmp \) -prune -o -print0 >&3
END
    run_in_tree 3> "$out/left" || fail "the files of the expression could not be added"
}

main
