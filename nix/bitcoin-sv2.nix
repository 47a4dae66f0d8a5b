# Bitcoin Core with the template provider inside (`bitcoind -sv2`), from its author's branch.
{ lib, stdenv, src, boost, cmake, libevent, pkg-config, sqlite }:
stdenv.mkDerivation {
  pname = "bitcoin-sv2";
  version = "0.1.19";
  inherit src;
  nativeBuildInputs = [ cmake pkg-config ];
  buildInputs = [ boost libevent sqlite ];
  cmakeFlags = [
    (lib.cmakeBool "WITH_SV2" true)
    (lib.cmakeBool "ENABLE_WALLET" false)
    (lib.cmakeBool "BUILD_TESTS" false)
    (lib.cmakeBool "BUILD_BENCH" false)
    (lib.cmakeBool "BUILD_TX" false)
    (lib.cmakeBool "BUILD_UTIL" false)
    (lib.cmakeBool "INSTALL_MAN" false)
  ];
  enableParallelBuilding = true;
  meta = {
    description = "Bitcoin Core with a Stratum V2 template provider";
    homepage = "https://github.com/Sjors/bitcoin";
    license = lib.licenses.mit;
    mainProgram = "bitcoind";
    platforms = lib.platforms.linux;
  };
}
