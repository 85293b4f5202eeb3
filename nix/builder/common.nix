# What the derivations of this folder share: busybox as the only program, and a script of this folder as the builder.
{ busybox, script, architecture, system ? builtins.currentSystem }:
let
  tools = builtins.path {
    name = "busybox";
    path = dirOf busybox;
    # A folder of one file: busybox must be called by its own name.
    filter = path: _: path == busybox;
  };
  file = name: builtins.path { inherit name; path = ./. + "/${name}"; };
in
{
  inherit architecture system;
  busybox = "${tools}/busybox";
  builder = "${tools}/busybox";
  common = file "common.sh";
  args = [ "sh" (file script) ];
  preferLocalBuild = true;
  # A store path in an output ends the build: what is built is used without the store.
  allowedReferences = [ ];
}
