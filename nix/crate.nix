# A program from crates.io: its source by hash, its dependencies by a copy of the Cargo.lock that lies in the
# crate itself (reading that one would mean to fetch during evaluation).
{ lib, rustPlatform, fetchCrate, pkg-config }:
{
  pname,
  version,
  hash,
  description,
  nativeBuildInputs ? [ ],
}:
rustPlatform.buildRustPackage {
  inherit pname version;
  src = fetchCrate { inherit pname version hash; };
  cargoLock.lockFile = ./locks + "/${pname}.lock";
  nativeBuildInputs = [ pkg-config ] ++ nativeBuildInputs;
  # They want a node, or the network.
  doCheck = false;
  meta = {
    inherit description;
    homepage = "https://crates.io/crates/${pname}";
    mainProgram = pname;
    platforms = lib.platforms.linux;
  };
}
