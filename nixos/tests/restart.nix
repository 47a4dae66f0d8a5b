# Each service is killed and returns; what was acknowledged is still there.
{ lib, module, ... }:
let
  common = import ./common.nix { inherit lib module; };
in
{
  name = "poolbox-restart";
  nodes.box = common.box;
  testScript =
    { nodes, ... }:
    common.script
    + ''
      start_all()
      node = "${nodes.box.services.poolbox.node.packages.core}"
      first_block(box, node)
      box.succeed("poolbox-miner --url stratum+tcp://127.0.0.1:3333 --user garage.one --threads 1 --max-hashrate 60k >&2 &")
      shares = f"{ask('pool', '/status')} | jq .journal.shares"
      box.wait_until_succeeds(f"test $({shares}) -gt 3", timeout=300)

      for service in SERVICES:
          with subtest(f"{service} returns after kill -9"):
              before = int(box.succeed(shares))
              if service == "node":
                  # What the node has not written is lost with it, and here no peer has it.
                  box.succeed(f"{node}/bin/{CLI} gettxoutsetinfo")
              old = box.succeed(f"systemctl show --property MainPID --value poolbox-{service}").strip()
              box.succeed(f"kill -9 {old}")
              box.wait_until_succeeds(
                  f"systemctl is-active poolbox-{service} && test $(systemctl show --property MainPID --value poolbox-{service}) != {old}",
                  timeout=120,
              )
              box.wait_until_succeeds(f"test $({shares}) -ge {before}", timeout=120)

      with subtest("a restart of the whole box keeps everything"):
          before = int(box.succeed(shares))
          box.shutdown()
          box.start()
          box.wait_for_unit("poolbox-pool.service")
          box.wait_until_succeeds(f"test $({shares}) -ge {before}", timeout=120)
    '';
}
