# The only derivation that is ever realised; all of its inputs are ours.
#
# `archives` names the Debian archives by their sha256, in the order in which they are to be configured. They are not
# store paths: copying thousands of them in and out of the store costs more than unpacking them, and their hashes,
# which the build checks, make the store path depend on their content all the same.
{ archives, architecture, system, busybox }:
let
  folder = dirOf busybox;
  tools = builtins.path {
    name = "busybox";
    path = folder;
    # A folder of one file: busybox must be called by its own name.
    filter = path: _: path == busybox;
  };
in
derivation {
  name = "environment";
  inherit archives architecture system;
  busybox = "${tools}/busybox";
  builder = "${tools}/busybox";
  args = [ "sh" (builtins.path { name = "environment.sh"; path = ./environment.sh; }) ];
  preferLocalBuild = true;
}
