# What one environment has beside the files of its unpacked archives: the result of maintainer scripts, caches over all
# packages, packages of other registries, small files.
#
# `archives` is the path of a text that lists the Debian archives by their sha256, in the order in which they are
# configured; the result depends on the text alone. Their files are not store paths of this store: they are mounted as
# one folder, while the hashes make the result depend on their content all the same. `files` is a folder of small files
# that go below /usr. `layer` is the sha256 of one more archive, with all that goes below /usr/local. `format` is written
# into the tree.
{ archives, files, architecture, busybox, format, layer }:
derivation (import ./common.nix { inherit busybox architecture; script = "environment.sh"; } // {
  name = "changes";
  inherit format layer;
  archives = builtins.readFile archives;
  files = builtins.path { name = "files"; path = files; };
  passAsFile = [ "archives" ];
})
