# A box is lost, and comes back on another machine from the backup that was made while it ran.
{ lib, module, ... }:
let
  common = import ./common.nix { inherit lib module; };
in
{
  name = "poolbox-backup";
  nodes = {
    box = common.box;
    # As it comes: with services that have made a box of their own at their first start.
    empty = common.box;
  };
  testScript =
    { nodes, ... }:
    common.script
    + ''
      OWN = "poolbox-dashboard poolbox-pool poolbox-mint poolbox-mint-init"
      SECRET = "--passphrase-file /root/passphrase"
      node = "${nodes.box.services.poolbox.node.packages.core}"
      shares = f"{ask('pool', '/status')} | jq .journal.shares"

      def says(machine, question):
          machine.wait_until_succeeds(f"poolbox status --json | jq --exit-status '{question}'", timeout=120)

      def read(machine, file):
          return machine.succeed(f"cat /var/lib/poolbox/{file}").strip()

      start_all()
      first_block(box, node)
      box.succeed("poolbox-miner --url stratum+tcp://127.0.0.1:3333 --user garage.one --threads 1 --max-hashrate 60k >&2 &")
      says(box, "[.epochs[].work] | add > 0")
      for machine in [box, empty]:
          machine.succeed("echo four words at random >/root/passphrase")

      with subtest("a backup is made while the box works"):
          before = int(box.succeed(shares))
          box.succeed(f"poolbox backup /root/box.age {SECRET}")
          box.succeed(f"poolbox backup --check /root/box.age {SECRET}")
          box.succeed("cp /root/box.age /tmp/shared/box.age")
          seed, key = read(box, "mint/devnet/seed"), read(box, "pool/devnet/sv2_authority.pub")
          # The old box never runs again. Its chain is what the network would give to any node.
          box.succeed("systemctl stop poolbox-dashboard poolbox-pool poolbox-mint")
          height = int(box.succeed(f"{node}/bin/{CLI} getblockcount"))
          blocks = [
              box.succeed(f"{node}/bin/{CLI} getblock $({node}/bin/{CLI} getblockhash {n}) 0").strip()
              for n in range(1, height + 1)
          ]
          box.crash()

      with subtest("it is restored where nothing was mined yet"):
          for service in SERVICES:
              empty.wait_for_unit(f"poolbox-{service}.service")
          assert read(empty, "mint/devnet/seed") != seed
          for block in blocks:
              empty.succeed(f"{node}/bin/{CLI} submitblock {block}")
          empty.fail(f"poolbox restore /tmp/shared/box.age {SECRET}")
          empty.succeed(f"systemctl stop {OWN}")
          empty.fail(f"poolbox restore /tmp/shared/box.age {SECRET}")
          empty.succeed(f"poolbox restore /tmp/shared/box.age {SECRET} --set-aside")
          empty.succeed(f"systemctl start {OWN}")
          assert read(empty, "mint/devnet/seed") == seed
          assert read(empty, "pool/devnet/sv2_authority.pub") == key
          says(empty, f".pool.journal.shares >= {before} and ([.epochs[].work] | add > 0)")

      with subtest("the mint signs when its owner says so, and the pool goes on"):
          says(empty, ".mint.restored.accepted_at == null and .mint.halted == null")
          empty.succeed("poolbox restore --accept")
          empty.succeed("poolbox-miner --url stratum+tcp://127.0.0.1:3333 --user garage.one --threads 1 --max-hashrate 60k >&2 &")
          empty.wait_until_succeeds(f"test $({shares}) -gt {before}", timeout=300)
          says(empty, ".mint.queue.waiting == 0 and .mint.halted == null")
          empty.succeed("poolbox audit")
    '';
}
