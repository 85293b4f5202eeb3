# One output for each archive: what it holds, unpacked. `archives` is a text of lines `name sha256`.
{ archives, architecture, busybox }:
let
  lines = builtins.filter (line: builtins.isString line && line != "") (builtins.split "\n" archives);
  # Names of variables do not begin with a digit.
  outputs = map (line: "a" + builtins.elemAt (builtins.split " " line) 2) lines;
  trees = derivation (import ./common.nix { inherit busybox architecture; script = "unpack.sh"; } // {
    name = "tree";
    inherit archives outputs;
    passAsFile = [ "archives" ];
  });
in
map (output: trees.${output}) outputs
