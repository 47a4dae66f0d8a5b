# The dashboard: the box's face. It asks pool and mint over their sockets and reads the logs; it holds no money.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ./lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
  cfg = top.dashboard;
  name = "poolbox-dashboard";
  descriptor = "coinbase.descriptor";
  groups = [
    "poolbox-logs"
    "poolbox-node"
    "poolbox-pool"
  ]
  ++ lib.optional top.mint.enable "poolbox-mint";

  settings =
    _network:
    lib.recursiveUpdate (
      {
        # Password and history are of the box, whatever the network.
        data_dir = "${common.state}/dashboard";
        listen = "${cfg.address}:${toString cfg.port}";
        log_file = "${common.logs}/dashboard.log";
        log_dir = common.logs;
        pool_socket = "${common.state}/pool/pool.sock";
        host_names = [
          config.networking.hostName
          "${config.networking.hostName}.local"
        ];
        node = {
          rpc_port = top.node.rpcPort;
          cookie_file = common.cookie;
        };
      }
      // lib.optionalAttrs (cfg.tlsPort != null) {
        listen_tls = "${cfg.address}:${toString cfg.tlsPort}";
      }
      // lib.optionalAttrs top.mint.enable {
        mint_socket = "${common.state}/mint/mint.sock";
        coinbase_descriptor_file = "/run/credentials/${name}.service/${descriptor}";
      }
    ) cfg.settings;
in
{
  options.services.poolbox.dashboard = {
    enable = lib.mkEnableOption "" // {
      default = true;
      description = "Whether the dashboard runs.";
    };

    address = lib.mkOption {
      type = lib.types.str;
      default = "0.0.0.0";
      description = "Address that browsers connect to.";
    };

    port = lib.mkOption {
      type = lib.types.port;
      default = 80;
      description = "Port that browsers connect to.";
    };

    tlsPort = lib.mkOption {
      type = lib.types.nullOr lib.types.port;
      default = 443;
      description = "Port that browsers connect to encrypted, or null for none.";
    };

    settings = lib.mkOption {
      inherit (common.toml) type;
      default = { };
      description = "More of dashboard.toml; see docs/operate.md.";
    };
  };

  config = lib.mkIf (top.enable && cfg.enable) (
    lib.mkMerge [
      (common.user name groups)
      {
        environment.etc = common.settingsFiles top.settingsNetworks "dashboard.toml" (network: {
          source = common.toml.generate "dashboard.toml" (settings network);
        });

        systemd.services.${name} = {
          description = "Poolbox: dashboard";
          wantedBy = [ "multi-user.target" ];
          after = lib.optional top.mint.enable "poolbox-mint-init.service";
          wants = lib.optional top.mint.enable "poolbox-mint-init.service";
          serviceConfig =
            common.hardening
            // common.restarting
            // {
              ExecStart = "${top.package}/bin/poolbox-dashboard --config ${top.settingsDir}/dashboard.toml";
              User = name;
              Group = name;
              SupplementaryGroups = groups;
              LoadCredential = lib.mkIf top.mint.enable "${descriptor}:/run/poolbox-mint-init/${descriptor}";
              StateDirectory = "poolbox/dashboard";
              StateDirectoryMode = "0700";
              ReadWritePaths = [ common.logs ];
            }
            # A port below 1024 takes this capability, which has no meaning in a user namespace.
            // lib.optionalAttrs (cfg.port < 1024 || (cfg.tlsPort != null && cfg.tlsPort < 1024)) {
              AmbientCapabilities = "CAP_NET_BIND_SERVICE";
              CapabilityBoundingSet = "CAP_NET_BIND_SERVICE";
              PrivateUsers = false;
            };
        };
      }
    ]
  );
}
