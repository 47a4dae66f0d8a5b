# Every program of a box, for one architecture. Nothing here imports from a derivation, so all of it
# evaluates without building.
{
  pkgs,
  bitcoin-sv2,
  sv2-tp,
}:
let
  inherit (pkgs) lib;
  crate = pkgs.callPackage ./crate.nix { };
  wanted = (lib.importTOML ../rust-toolchain.toml).toolchain.channel;
in
# The compiler comes with nixpkgs: both pins move together.
assert lib.assertMsg (pkgs.rustc.version == wanted)
  "rust-toolchain.toml asks for Rust ${wanted}, but nixpkgs has ${pkgs.rustc.version}: move both together";
{
  poolbox = pkgs.callPackage ./poolbox.nix { };
  bitcoin-node = pkgs.callPackage ./bitcoin-node.nix { };
  bitcoin-sv2 = pkgs.callPackage ./bitcoin-sv2.nix { src = bitcoin-sv2; };
  sv2-tp = pkgs.callPackage ./sv2-tp.nix { src = sv2-tp; };

  pool-sv2 = crate {
    pname = "pool_sv2";
    version = "0.7.0";
    hash = "sha256-KhQaOatqozm1Xyf6bqoKdDkdEby/brtAoBsrExlFQ/c=";
    nativeBuildInputs = [ pkgs.capnproto ];
    description = "Stratum V2 reference pool";
  };
  translator-sv2 = crate {
    pname = "translator_sv2";
    version = "0.6.0";
    hash = "sha256-fcnfZYEHO2Sws41lkbSxZfOwEDYhfDl49T3nCVNX7Mg=";
    nativeBuildInputs = [ pkgs.capnproto ];
    description = "Stratum V1 miners for Stratum V2 pools";
  };
  cdk-cli = crate {
    pname = "cdk-cli";
    version = "0.18.3";
    hash = "sha256-4RyXOeOElQHHJZAUpUmSdeIwOnDLi/7FcXxGQbtlZK8=";
    nativeBuildInputs = [ pkgs.protobuf ];
    description = "Cashu wallet for the command line";
  };
}
