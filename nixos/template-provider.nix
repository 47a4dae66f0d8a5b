# Where the pool's templates come from, by one option. `sv2-tp` is a process of its own beside Bitcoin Core,
# `branch` is inside the node (see ./node.nix), `ipc` is none: the pool asks Core itself.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ./lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
  cfg = top.templateProvider;
  name = "poolbox-template-provider";

  settings =
    network:
    let
      inherit (common.networks.${network}) chain extra;
    in
    ''
      chain=${chain}
      ipcconnect=unix:${common.ipc}
      debug=sv2
      [${chain}]
      sv2bind=127.0.0.1
      sv2port=${toString cfg.port}
      templateinterval=${toString cfg.intervalSeconds}
      sv2feedelta=${toString cfg.feeDeltaSats}
    ''
    + lib.optionalString (extra ? signetchallenge) "signetchallenge=${extra.signetchallenge}\n";
in
{
  options.services.poolbox.templateProvider = {
    kind = lib.mkOption {
      type = lib.types.enum [
        "sv2-tp"
        "branch"
        "ipc"
      ];
      default = "sv2-tp";
      description = ''
        Where templates come from: `sv2-tp` beside Bitcoin Core, the `branch` of Bitcoin Core with the template
        provider inside, or straight from Bitcoin Core over `ipc`, without a process between.
      '';
    };

    package = lib.mkOption {
      type = lib.types.package;
      description = "Package with `bin/sv2-tp`.";
    };

    port = lib.mkOption {
      type = lib.types.port;
      default = 8442;
      description = "Port of the Template Distribution Protocol, on this machine only.";
    };

    intervalSeconds = lib.mkOption {
      type = lib.types.ints.positive;
      default = 30;
      description = "Seconds between two templates of one block, unless fees rise.";
    };

    feeDeltaSats = lib.mkOption {
      type = lib.types.ints.unsigned;
      default = 1000;
      description = "Satoshis of fees that a new template must bring.";
    };
  };

  config = lib.mkIf (top.enable && cfg.kind == "sv2-tp") (
    lib.mkMerge [
      (common.user name [ "poolbox-node" ])
      {
        environment.etc = common.settingsFiles top.settingsNetworks "sv2-tp.conf" (network: { text = settings network; });

        systemd.services.${name} = {
          description = "Poolbox: template provider";
          wantedBy = [ "multi-user.target" ];
          after = [ "poolbox-node.service" ];
          # It ends when the node does, and comes back until the node is there.
          environment.HOME = "${common.state}/template-provider";
          serviceConfig =
            common.hardening
            // common.restarting
            // {
              # The authority key is made at the first start, in the state folder, for this user only (UMask).
              ExecStart = lib.concatStringsSep " " [
                "${cfg.package}/bin/sv2-tp"
                "-conf=${top.settingsDir}/sv2-tp.conf"
                "-datadir=${common.state}/template-provider"
              ];
              User = name;
              Group = name;
              SupplementaryGroups = [ "poolbox-node" ];
              StateDirectory = "poolbox/template-provider";
              StateDirectoryMode = "0700";
              IPAddressDeny = "any";
              IPAddressAllow = "localhost";
            };
        };
      }
    ]
  );
}
