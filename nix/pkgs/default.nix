# The package set as expressions see it: `import <pkgs> { }`.
#
# Every value is data. A package is the list of its Debian packages, an environment is packages and variables;
# evaluating an expression yields these, and never anything that Nix could build or fetch.
{ ... }:
let
  inherit (builtins) attrNames concatLists concatMap filter functionArgs intersectAttrs isAttrs isFunction isList isString
    listToAttrs mapAttrs removeAttrs toString typeOf;

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

  packagesOf = value:
    if isList value then concatMap packagesOf value
    else if isAttrs value && value ? debianPackages then value.debianPackages
    else throw "expected a package, got ${describe value}";
  describe = value:
    if isString value then "the string \"${value}\""
    else if isAttrs value && value ? name then "'${toString value.name}'"
    else "a ${typeOf value}";

  environment = packages: variables: {
    debianPackages = packagesOf packages;
    environmentVariables = mapAttrs (_: toString) variables;
    name = "environment";
    outPath = "/usr";
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
      "callPackage" "fetchFromGitHub" "fetchFromGitLab" "fetchgit" "fetchurl" "fetchzip" "lib" "runCommand" "stdenv"
      "writeScript" "writeScriptBin" "writeShellScript" "writeShellScriptBin" "writeText" "writeTextFile"
    ]);

  # What an expression may give, made into an environment.
  toEnvironment = value:
    if isFunction value then
      toEnvironment (if functionArgs value == { } then value pkgs
      else value (intersectAttrs (functionArgs value) (pkgs // { inherit pkgs; })))
    else if isAttrs value && value ? environmentVariables then value
    else if isList value || isAttrs value && value ? debianPackages then environment value { }
    else throw "expected a list of packages, pkgs.mkShell or pkgs.buildEnv, got ${describe value}";

  pkgs = debian // unsupported // aliases // sets // withSets // {
    inherit mkShell buildEnv;
    mkShellNoCC = mkShell;
    symlinkJoin = buildEnv;
    evaluate = value:
      let result = toEnvironment value; in
      { packages = result.debianPackages; variables = result.environmentVariables; };
  };
in
pkgs
