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
      inherit (common.networks.${network}) chain;
    in
    ''
      chain=${chain}
      ipcconnect=unix:${common.ipc}
      debug=sv2
      debuglogfile=${common.logs}/template-provider.log
      printtoconsole=0
      [${chain}]
      sv2bind=127.0.0.1
      sv2port=${toString cfg.port}
      templateinterval=${toString cfg.intervalSeconds}
      sv2feedelta=${toString cfg.feeDeltaSats}
    '';

  # It makes no folders itself, and keeps its things in one named by the chain.
  folders =
    network:
    let
      inherit (common.networks.${network}) chain;
      folder = "poolbox/template-provider/${network}";
    in
    [ folder ] ++ lib.optional (chain != "main") "${folder}/${chain}";
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
      (common.user name [
        "poolbox-node"
        "poolbox-logs"
      ])
      {
        environment.etc = common.settingsFiles top.settingsNetworks "sv2-tp.conf" (network: { text = settings network; });

        systemd.services.${name} = {
          description = "Poolbox: template provider";
          # A node that was killed leaves it hanging now and then, alive and without templates: it starts again with
          # the node, and comes back until the node is there.
          wantedBy = [
            "multi-user.target"
            "poolbox-node.service"
          ];
          partOf = [ "poolbox-node.service" ];
          after = [ "poolbox-node.service" ];
          environment.HOME = "${common.state}/template-provider";
          serviceConfig =
            common.hardening
            // common.restarting
            // {
              # The authority key is made at the first start, in the state folder, for this user only (UMask).
              ExecStart = lib.concatStringsSep " " [
                "${cfg.package}/bin/sv2-tp"
                "-conf=${top.settingsDir}/sv2-tp.conf"
                "-datadir=${common.state}/template-provider/\${POOLBOX_NETWORK}"
              ];
              User = name;
              Group = name;
              SupplementaryGroups = [
                "poolbox-node"
                "poolbox-logs"
              ];
              EnvironmentFile = "${top.settingsDir}/environment";
              StateDirectory = [ "poolbox/template-provider" ] ++ lib.concatMap folders top.settingsNetworks;
              StateDirectoryMode = "0700";
              ReadWritePaths = [ common.logs ];
              IPAddressDeny = "any";
              IPAddressAllow = "localhost";
            };
        };
      }
    ]
  );
}
