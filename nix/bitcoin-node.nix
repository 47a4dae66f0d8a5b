# Bitcoin Core's multiprocess node with its command line beside it, where our programs look for it. nixpkgs
# builds it with `bitcoind` and keeps it in `libexec`.
{ lib, bitcoind, runCommand }:
assert lib.assertMsg (lib.versionAtLeast bitcoind.version "31")
  "Poolbox speaks the mining interface of Bitcoin Core 31; nixpkgs has ${bitcoind.version}";
runCommand "bitcoin-node-${bitcoind.version}"
  {
    inherit (bitcoind) version;
    meta = bitcoind.meta // { mainProgram = "bitcoin-node"; };
  }
  ''
    mkdir -p $out/bin
    test -x ${bitcoind}/libexec/bitcoin-node
    ln -s ${bitcoind}/libexec/bitcoin-node ${bitcoind}/bin/bitcoin-cli $out/bin/
  ''
