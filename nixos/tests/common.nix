# A box on devnet, and what the tests ask of it. devnet blocks need no signature and have real difficulty.
{ lib, module }:
{
  box =
    { pkgs, ... }:
    {
      imports = [ module ];
      virtualisation = {
        cores = 2;
        memorySize = 2048;
        diskSize = 4096;
      };
      networking.nftables.enable = true;
      environment.systemPackages = [
        pkgs.curl
        pkgs.jq
        pkgs.python3
      ];
      services.poolbox = {
        enable = true;
        network = "devnet";
      };
    };

  script = ''
    CLI = "bitcoin-cli -noipcconnect -datadir=/tmp -rpccookiefile=/run/poolbox-node/cookie -rpcport=8332 -rpcclienttimeout=0"
    SERVICES = ["node", "template-provider", "pool", "mint", "dashboard"]

    def first_block(box, node):
        for service in SERVICES:
            box.wait_for_unit(f"poolbox-{service}.service")
        box.succeed(f"{node}/bin/{CLI} generatetodescriptor 1 'raw(51)#8lvh9jxk' 400000000")
        box.wait_until_succeeds(f"{ask('pool', '/status')} | jq --exit-status .source.height", timeout=120)

    def ask(service, path):
        return f"curl --silent --fail --unix-socket /var/lib/poolbox/{service}/{service}.sock http://{service}{path}"
  '';
}
