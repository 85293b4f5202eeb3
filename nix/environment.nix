# The only derivation that is ever realised; all of its inputs are ours.
#
# `archives` is a file that lists the Debian archives by their sha256, in the order in which they are configured. They
# are not store paths themselves: Nix would copy, register and later collect each, while the hashes, which the build
# checks, make the result depend on their content all the same. `files` is a folder of small files that go below /usr.
# `layer` is the sha256 of one more archive, with all that goes below /usr/local. `format` is written into the tree.
{ archives, files, architecture, busybox, format, layer ? "", system ? builtins.currentSystem }:
let
  tools = builtins.path {
    name = "busybox";
    path = dirOf busybox;
    # A folder of one file: busybox must be called by its own name.
    filter = path: _: path == busybox;
  };
in
derivation {
  name = "environment";
  inherit architecture format layer system;
  archives = builtins.path { name = "archives"; path = archives; };
  files = builtins.path { name = "files"; path = files; };
  busybox = "${tools}/busybox";
  builder = "${tools}/busybox";
  args = [ "sh" (builtins.path { name = "environment.sh"; path = ./environment.sh; }) ];
  preferLocalBuild = true;
}
