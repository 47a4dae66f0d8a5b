# What demo, tests and browser tests need, so that `cargo xtask` finds everything and installs nothing.
{ pkgs, packages }:
pkgs.mkShell {
  packages = with pkgs; [
    cargo
    clippy
    rust-analyzer
    rustc
    rustfmt
    capnproto
    pkg-config
    protobuf
    # Tests against programs of others.
    chromedriver
    chromium
    nodejs
    redis
    # The appliance's own files.
    alejandra
  ];
  BITCOIN_NODE = "${packages.bitcoin-node}/bin/bitcoin-node";
  RUST_SRC_PATH = "${pkgs.rustPlatform.rustLibSrc}";
}
