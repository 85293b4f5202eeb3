#!/bin/bash
# Installs the Debian packages and adds the system users that Envicutor needs. Skips those that exist already.
# Needs root only if something is missing. Arguments are additional packages.
set -euo pipefail

packages=(
  libseccomp2                       # the sandbox
  bubblewrap                        # tests of environments, and a comparison in benchmarks
  gcc libc6-dev                     # compile the sandbox's launcher
  nix-bin busybox-static            # the cache of dependencies
  openjdk-17-jre-headless maven     # Kafka
  python3 python3-venv
  util-linux iproute2               # setpriv, unshare, ip
  kcat                              # a producer of another project, for an example
  "$@"
)
# npm builds the page, and resolves packages in the sandbox, which sees only npm below these folders. Debian's npm would
# conflict with one that is installed there already.
PATH=/usr/local/bin:/usr/bin:/bin command -v npm >/dev/null || packages+=(nodejs npm)
cache=/var/cache/envicutor # the default of the setting `cache_dir`
build_users=16 # each build of Nix needs one, so this bounds the simultaneous builds of this host

say() { echo "system: $*"; }

require_root() {
  [ "$(id -u)" = 0 ] || { say "run as root once, to $*" >&2; exit 1; }
}

# Runs a command, and prints its output only if it fails.
quietly() {
  local output
  output=$("$@" 2>&1) || { echo "$output" >&2; exit 1; }
}

missing_packages() {
  local installed
  installed=$(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | sed -n 's/ installed$//p' || true)
  comm -23 <(printf '%s\n' "${packages[@]}" | sort) <(sort -u <<<"$installed")
}

# The package set of the cache is made from these lists, so they must exist even if no package is missing.
have_package_lists() {
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  if [ ${#missing[@]} = 0 ] && have_package_lists; then return; fi
  require_root "install Debian packages: ${missing[*]:-package lists}"
  say "downloading Debian's package lists"
  quietly apt-get update -qq
  if [ ${#missing[@]} = 0 ]; then return; fi
  say "installing ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive quietly apt-get install -qq --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}"
}

add_system_user() {
  local name=$1 group=$2
  useradd --system --gid "$group" --groups "$group" --no-create-home --home-dir /nonexistent \
    --shell /usr/sbin/nologin "$name"
}

add_group_of_users() {
  local group=$1; shift
  local missing=()
  mapfile -t missing < <(comm -23 <(printf '%s\n' "$@" | sort) <(getent passwd "$@" | cut -d: -f1 | sort))
  if [ ${#missing[@]} = 0 ]; then return; fi
  require_root "add system users: ${missing[*]}"
  say "adding system users: ${missing[*]}"
  getent group "$group" >/dev/null || groupadd --system "$group"
  local name
  for name in "${missing[@]}"; do add_system_user "$name" "$group"; done
}

# Roles without privileges must be able to read the folder, whatever root's umask is.
make_cache_folder() {
  if [ -d $cache ]; then return; fi
  require_root "make $cache"
  install --directory --mode=755 $cache
}

command -v apt-get >/dev/null || { say "this is not Debian; install by hand: ${packages[*]}" >&2; exit 1; }
exec 9<"$0" && flock 9 # one set-up at a time
install_packages
make_cache_folder
add_group_of_users envicutor envicutor                       # runs every role that does not need root
add_group_of_users nixbld $(seq --format 'nixbld%g' $build_users) # Nix requires that the group lists them as members
