# One output for each archive: bytecode of its Python modules. `interpreter` is a text that lists the archives of the
# Python that compiles them, `archives` one of the digests of the archives with modules.
{ archives, interpreter, python, architecture, busybox }:
let
  digests = builtins.filter (line: builtins.isString line && line != "") (builtins.split "\n" archives);
  outputs = map (digest: "a" + digest) digests;
  trees = derivation (import ./common.nix { inherit busybox architecture; script = "bytecode.sh"; } // {
    name = "bytecode";
    inherit archives interpreter outputs python;
    program = builtins.path { name = "compile_modules.py"; path = ./compile_modules.py; };
    passAsFile = [ "archives" "interpreter" ];
  });
in
map (output: trees.${output}) outputs
