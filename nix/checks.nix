# What `nix flake check` builds: the crates' tests, and whole boxes in virtual machines.
{
  pkgs,
  packages,
  module,
}:
let
  inherit (pkgs) lib;
  vm = file: pkgs.testers.runNixOSTest (import file { inherit lib module pkgs; });
in
{
  # Every test of the workspace that needs no network of its own, with a real node.
  tests = packages.poolbox.overrideAttrs (old: {
    pname = "poolbox-tests";
    doCheck = true;
    nativeCheckInputs = with pkgs; [
      chromedriver
      chromium
      nodejs
      redis
    ];
    checkPhase = ''
      runHook preCheck
      export HOME=$TMPDIR BITCOIN_NODE=${packages.bitcoin-node}/bin/bitcoin-node
      cargo build --offline --workspace --bins --tests
      POOLBOX_BIN_DIR=$PWD/target/debug cargo test --offline --workspace --exclude xtask
      runHook postCheck
    '';
    meta = old.meta // { description = "The workspace's tests"; };
  });

  vm-backup = vm ../nixos/tests/backup.nix;
  vm-box = vm ../nixos/tests/box.nix;
  vm-restart = vm ../nixos/tests/restart.nix;
  vm-solo = vm ../nixos/tests/solo.nix;
  vm-update = vm ../nixos/tests/update.nix;
}
