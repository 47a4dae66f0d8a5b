# Without a mint: solo, and straight from Bitcoin Core, without a template provider.
{ lib, module, ... }:
let
  common = import ./common.nix { inherit lib module; };
in
{
  name = "poolbox-solo";
  nodes.box = {
    imports = [ common.box ];
    services.poolbox = {
      pool.mode = "solo";
      templateProvider.kind = "ipc";
    };
  };
  testScript =
    { nodes, ... }:
    common.script
    + ''
      SERVICES = ["node", "pool", "dashboard"]
      start_all()
      first_block(box, "${nodes.box.services.poolbox.node.packages.core}")
      box.fail("systemctl cat poolbox-mint.service")
      box.fail("systemctl cat poolbox-template-provider.service")
      box.succeed("poolbox-miner --url stratum+tcp://127.0.0.1:3333 --user tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx.one --threads 1 --max-hashrate 60k >&2 &")
      box.wait_until_succeeds(f"{ask('pool', '/status')} | jq --exit-status '.journal.shares > 3'", timeout=300)
    '';
}
