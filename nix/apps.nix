# `nix run` is the demo, `nix run .#flash` writes an image to a disk.
{ pkgs, packages }:
let
  inherit (pkgs) lib;
  app = description: program: {
    type = "app";
    program = lib.getExe program;
    meta = { inherit description; };
  };
  demo = pkgs.writeShellApplication {
    name = "poolbox-demo";
    text = ''
      exec ${lib.getExe packages.poolbox} demo --node ${packages.bitcoin-node}/bin/bitcoin-node "$@"
    '';
  };
  flash = pkgs.writeShellApplication {
    name = "poolbox-flash";
    runtimeInputs = with pkgs; [
      coreutils
      gawk
      gnugrep
      util-linux
      xz
      zstd
    ];
    text = lib.readFile ./flash.sh;
  };
in
{
  default = app "The whole box on a private chain with real difficulty" demo;
  demo = app "The whole box on a private chain with real difficulty" demo;
  flash = app "Writes an image of Poolbox to a disk" flash;
}
