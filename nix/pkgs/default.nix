# The package set as expressions see it: `import <pkgs> { }`.
#
# Every value is data. A package is the list of its Debian packages, a small file its text; an environment is packages,
# variables and files. Evaluating an expression yields these, and never anything that Nix could build or fetch.
{ ... }:
let
  inherit (builtins) attrNames attrValues concatMap concatStringsSep filter functionArgs hashString intersectAttrs isAttrs
    isFunction isList isString listToAttrs mapAttrs removeAttrs substring toJSON toString typeOf;

  names = builtins.fromJSON (builtins.readFile ./names.json);

  # Whatever is installed is found below /usr, so "${pkgs.python3}/bin/python3" means what it says.
  package = name: debianPackages: { inherit name debianPackages; outPath = "/usr"; };

  debian = listToAttrs (map (name: { inherit name; value = package name [ name ]; }) names.packages);
  aliases = mapAttrs package names.aliases;
  sets = mapAttrs (_: set: mapAttrs (name: debianName: package name [ debianName ]) set.members) names.sets;

  # python3.withPackages (ps: [ ps.numpy ]), python3.pkgs.numpy; the same for the other sets.
  withSets = listToAttrs (map
    (setName:
      let name = names.sets.${setName}.package; set = sets.${setName}; in {
        inherit name;
        value = debian.${name} // {
          pkgs = set;
          withPackages = choose: environment ([ debian.${name} ] ++ choose set) { };
        };
      })
    (attrNames names.sets));

  # What is installed, as a flat list of packages, files and environments.
  partsOf = value:
    if isList value then concatMap partsOf value
    else if isAttrs value && value ? debianPackages then [ value ]
    else throw "expected a package, got ${describe value}";
  # What a variable's value is made of belongs to the environment too; what is only mentioned within a text does not.
  partsIn = value:
    if isList value then concatMap partsIn value
    else if isAttrs value && value ? debianPackages then [ value ]
    else [ ];
  describe = value:
    if isString value then "the string \"${value}\""
    else if isAttrs value && value ? name then "'${toString value.name}'"
    else "a ${typeOf value}";

  environment = packages: variables:
    let parts = partsOf packages ++ partsIn (attrValues variables); in {
      debianPackages = concatMap (part: part.debianPackages) parts;
      files = concatMap (part: part.files or [ ]) parts;
      environmentVariables = mapAttrs (_: toString) variables;
      name = "environment";
      outPath = "/usr";
    };

  # A small file; one without a place of its own is found by the name that it has in texts.
  writeTextFile = { name, text, executable ? false, destination ? "" }:
    let
      relative = if substring 0 1 destination == "/" then substring 1 (-1) destination else destination;
      alone = "share/envicutor/${substring 0 32 (hashString "sha256" (toJSON [ executable text ]))}-${name}";
      path = if destination == "" then alone else relative;
    in {
      inherit name;
      debianPackages = [ ];
      files = [ { name = path; value = { inherit text executable; }; } ];
      outPath = if destination == "" then "/usr/${alone}" else "/usr";
    };
  script = name: text: { inherit name text; executable = true; };
  program = name: text: script name text // { destination = "/bin/${name}"; };
  bash = text: "#!/bin/bash\n${text}\n";
  writers = {
    inherit writeTextFile;
    writeText = name: text: writeTextFile { inherit name text; };
    writeTextDir = path: text: writeTextFile { name = baseNameOf path; inherit text; destination = "/${path}"; };
    writeScript = name: text: writeTextFile (script name text);
    writeScriptBin = name: text: writeTextFile (program name text);
    writeShellScript = name: text: writeTextFile (script name (bash text));
    writeShellScriptBin = name: text: writeTextFile (program name (bash text));
    writeShellApplication = { name, text, runtimeInputs ? [ ] }:
      let tool = writeTextFile (program name (bash "set -o errexit -o nounset -o pipefail\n\n${text}")); in
      environment [ tool runtimeInputs ] { } // { inherit name; };
    runtimeShell = "/bin/bash";
  };

  lib = builtins // {
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalString = condition: text: if condition then text else "";
    optionalAttrs = condition: attributes: if condition then attributes else { };
    concatStrings = concatStringsSep "";
    concatMapStringsSep = separator: function: values: concatStringsSep separator (map function values);
    makeBinPath = _: "/usr/bin";
    makeLibraryPath = _: "/usr/lib";
  };

  packageLists = [ "packages" "buildInputs" "nativeBuildInputs" "propagatedBuildInputs" "inputsFrom" ];

  mkShell = args:
    if args ? shellHook then throw "mkShell: shellHook is not supported; put its commands into the run script"
    else environment
      (map (list: args.${list}) (filter (list: args ? ${list}) packageLists))
      (removeAttrs args (packageLists ++ [ "name" "pname" "version" "env" ]) // (args.env or { }));

  buildEnv = { paths, name ? "", pathsToLink ? [ ], extraOutputsToInstall ? [ ], ignoreCollisions ? false }:
    environment paths { };

  unsupported = listToAttrs (map
    (name: { inherit name; value = throw "'${name}' is not supported: expressions name packages, they build and fetch nothing"; })
    [
      "buildFHSEnv" "buildFHSUserEnv" "callPackage" "fetchFromGitHub" "fetchFromGitLab" "fetchgit" "fetchurl" "fetchzip"
      "runCommand" "stdenv" "stdenvNoCC"
    ]);

  # What an expression may give, made into an environment.
  toEnvironment = value:
    if isFunction value then
      toEnvironment (if functionArgs value == { } then value pkgs
      else value (intersectAttrs (functionArgs value) (pkgs // { inherit pkgs; })))
    else if isAttrs value && value ? environmentVariables then value
    else if isList value || isAttrs value && value ? debianPackages then environment value { }
    else throw "expected a list of packages, pkgs.mkShell or pkgs.buildEnv, got ${describe value}";

  pkgs = debian // unsupported // aliases // sets // withSets // writers // {
    inherit lib mkShell buildEnv;
    mkShellNoCC = mkShell;
    symlinkJoin = buildEnv;
    evaluate = value:
      let result = toEnvironment value; in
      {
        packages = result.debianPackages;
        variables = result.environmentVariables;
        files = listToAttrs (result.files or [ ]);
      };
  };
in
pkgs
