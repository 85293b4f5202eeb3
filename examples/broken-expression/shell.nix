# Does not evaluate: there is no `pythn`.
{ pkgs ? import <pkgs> { } }:
let interpreter = pythn.withPackages (ps: [ ps.numpy ]);
in pkgs.mkShell { packages = [ interpreter ]; }
