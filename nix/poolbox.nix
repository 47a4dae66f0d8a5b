# Our programs. `bin` has all of them; which one a box runs is its modules' choice.
{
  lib,
  rustPlatform,
  capnproto,
  pkg-config,
  protobuf,
}:
let
  inherit (lib.importTOML ../.cargo/config.toml) build;
  inherit ((lib.importTOML ../Cargo.toml).workspace.package) version;
in
rustPlatform.buildRustPackage {
  pname = "poolbox";
  inherit version;
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions (
      [
        ../Cargo.toml
        ../Cargo.lock
        ../crates
        ../xtask
      ]
      # Templates and pictures of the dashboard, compiled in.
      ++ lib.optional (lib.pathExists ../web) ../web
    );
  };
  cargoLock.lockFile = ../Cargo.lock;
  # What .cargo/config.toml asks for: a variable of the environment would hide it silently.
  env.RUSTFLAGS = lib.concatStringsSep " " build.rustflags;
  nativeBuildInputs = [
    capnproto
    pkg-config
    protobuf
  ];
  cargoBuildFlags = [
    "--workspace"
    "--exclude"
    "xtask"
    "--bins"
  ];
  # The tests want a node and more: see the flake's check `tests`.
  doCheck = false;
  meta = {
    description = "Pool, mint, dashboard and command line of a Poolbox";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "poolbox";
    platforms = lib.platforms.linux;
  };
}
