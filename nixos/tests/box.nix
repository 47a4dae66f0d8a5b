# A miner elsewhere in the network finds shares that become ehash; only the named ports answer it.
{ lib, module, ... }:
let
  common = import ./common.nix { inherit lib module; };
in
{
  name = "poolbox-box";
  nodes = {
    box = common.box;
    miner =
      { nodes, pkgs, ... }:
      {
        environment.systemPackages = [
          nodes.box.services.poolbox.package
          pkgs.netcat
        ];
      };
  };
  testScript =
    { nodes, ... }:
    common.script
    + ''
      start_all()
      first_block(box, "${nodes.box.services.poolbox.node.packages.core}")
      miner.wait_for_unit("multi-user.target")

      with subtest("shares become ehash"):
          key = box.succeed("cat /var/lib/poolbox/pool/devnet/sv2_authority.pub").strip()
          for url, user in [("stratum+tcp://box:3333", "garage.one"), (f"stratum2+tcp://box:34254/{key}", "attic.two")]:
              miner.succeed(f"poolbox-miner --url {url} --user {user} --threads 1 --max-hashrate 60k >&2 &")
          box.wait_until_succeeds(
              f"{ask('pool', '/status')} | jq --exit-status '[.workers[] | select(.accepted > 2)] | length == 2'",
              timeout=300,
          )
          box.wait_until_succeeds(
              "poolbox status --json | jq --exit-status '[.epochs[].work] | add > 0'", timeout=120
          )

      with subtest("only the named ports answer"):
          for port in [3333, 4333, 34254, 3338, 80, 443]:
              miner.succeed(f"nc -z -w 3 box {port}")
          box.succeed("python3 -m http.server 8000 >/dev/null 2>&1 &")
          box.wait_for_open_port(8000)
          for port in [8000, 22, 8332, 8333, 8442, 38333]:
              miner.fail(f"nc -z -w 3 box {port}")

      with subtest("nobody reads what is not theirs"):
          box.fail("runuser -u poolbox-pool -- cat /var/lib/poolbox/mint/devnet/seed")
          box.fail("runuser -u nobody -- cat /run/poolbox-node/cookie")
    '';
}
