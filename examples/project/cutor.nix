# The older convention: dependencies, compile and run are files of the submission.
{ pkgs ? import <pkgs> { } }:
pkgs.mkShell {
  packages = with pkgs; [ gcc gnumake ];
  GREETING = "Hello";
}
