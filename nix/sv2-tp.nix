# The template provider beside the node: reads the node's mining IPC, serves pools.
{ lib, stdenv, src, boost, capnproto, cmake, pkg-config }:
stdenv.mkDerivation {
  pname = "sv2-tp";
  version = "1.1.0";
  inherit src;
  nativeBuildInputs = [ capnproto cmake pkg-config ];
  buildInputs = [ boost capnproto ];
  cmakeFlags = [
    (lib.cmakeBool "BUILD_TESTS" false)
    (lib.cmakeBool "INSTALL_MAN" false)
    (lib.cmakeBool "WITH_CCACHE" false)
  ];
  enableParallelBuilding = true;
  meta = {
    description = "Stratum V2 template provider for Bitcoin Core";
    homepage = "https://github.com/stratum-mining/sv2-tp";
    license = lib.licenses.mit;
    mainProgram = "sv2-tp";
    platforms = lib.platforms.linux;
  };
}
