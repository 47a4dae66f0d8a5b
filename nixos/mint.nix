# The mint: quotes, ehash, epochs, settlement. Its folder is its own; its socket is for its group.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ./lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
  cfg = top.mint;
  name = "poolbox-mint";

  settings =
    network:
    lib.recursiveUpdate {
      inherit network;
      data_dir = "${common.state}/mint/${network}";
      api_socket = "${common.state}/mint/mint.sock";
      log_file = "${common.logs}/mint.log";
      listen = "${cfg.address}:${toString cfg.port}";
      public_url = cfg.publicUrl;
      journal = "${common.state}/pool/${network}/journal.sqlite";
      node = {
        rpc_port = top.node.rpcPort;
        cookie_file = common.cookie;
      };
    } cfg.settings;

  unit = common.hardening // {
    User = name;
    Group = name;
    StateDirectory = "poolbox/mint";
    StateDirectoryMode = "0750";
    ReadWritePaths = [ common.logs ];
  };
  run = "${top.package}/bin/poolbox-mint --config ${top.settingsDir}/mint.toml";
in
{
  options.services.poolbox.mint = {
    enable = lib.mkEnableOption "" // {
      default = top.pool.mode != "solo";
      defaultText = lib.literalExpression ''config.services.poolbox.pool.mode != "solo"'';
      description = "Whether the mint runs; in mode `solo` nothing needs it.";
    };

    address = lib.mkOption {
      type = lib.types.str;
      default = "0.0.0.0";
      description = "Address that wallets connect to.";
    };

    port = lib.mkOption {
      type = lib.types.port;
      default = 3338;
      description = "Port of the Cashu API.";
    };

    publicUrl = lib.mkOption {
      type = lib.types.str;
      default = "http://${config.networking.hostName}.local:${toString cfg.port}";
      defaultText = lib.literalExpression ''"http://''${config.networking.hostName}.local:3338"'';
      description = "How wallets reach the mint. Tokens carry it.";
    };

    settings = lib.mkOption {
      inherit (common.toml) type;
      default = { };
      example = {
        fee_ppm = 10000;
      };
      description = "More of mint.toml; see docs/operate.md.";
    };
  };

  config = lib.mkIf (top.enable && cfg.enable) (
    lib.mkMerge [
      (common.user name [
        "poolbox-node"
        "poolbox-pool"
        "poolbox-logs"
      ])
      {
        environment.etc = common.settingsFiles top.settingsNetworks "mint.toml" (network: {
          source = common.toml.generate "mint.toml" (settings network);
        });

        # Makes the seed at the first start, and gives the pool the public half of it. Everything secret is made
        # here, on the machine itself.
        systemd.services.poolbox-mint-init = {
          description = "Poolbox: seed and coinbase descriptor";
          wantedBy = [ "multi-user.target" ];
          serviceConfig = unit // {
            Type = "oneshot";
            RemainAfterExit = true;
            ExecStart = [
              "${run} init"
              "${pkgs.coreutils}/bin/install -m 0644 ${common.state}/mint/\${POOLBOX_NETWORK}/coinbase.descriptor /run/poolbox-mint-init/coinbase.descriptor"
            ];
            EnvironmentFile = "${top.settingsDir}/environment";
            SupplementaryGroups = [ "poolbox-logs" ];
            RuntimeDirectory = "poolbox-mint-init";
            PrivateNetwork = true;
            IPAddressDeny = "any";
          };
        };

        systemd.services.${name} = {
          description = "Poolbox: mint";
          wantedBy = [ "multi-user.target" ];
          wants = [ "poolbox-mint-init.service" ];
          after = [
            "poolbox-mint-init.service"
            "poolbox-node.service"
          ];
          serviceConfig =
            unit
            // common.restarting
            // {
              ExecStart = run;
              SupplementaryGroups = [
                "poolbox-node"
                "poolbox-pool"
                "poolbox-logs"
              ];
              # It stops between two payments.
              TimeoutStopSec = 90;
            };
        };
      }
    ]
  );
}
