# The pool: miners, jobs, shares, journal. Of the mint it knows the public descriptor only, which systemd hands
# over as a credential: neither may read the other's folder, but for the journal, which the mint reads.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ./lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
  cfg = top.pool;
  name = "poolbox-pool";
  forMint = cfg.mode == "pool";
  proxy = cfg.mode == "proxy";
  ipc = top.templateProvider.kind == "ipc";
  descriptor = "coinbase.descriptor";

  settings =
    network:
    lib.recursiveUpdate (
      {
        inherit network;
        inherit (cfg) mode;
        data_dir = "${common.state}/pool/${network}";
        api_socket = "${common.state}/pool/pool.sock";
        log_file = "${common.logs}/pool.log";
        stale_after_s = cfg.staleAfterSeconds;
        node = {
          rpc_port = top.node.rpcPort;
          cookie_file = common.cookie;
        }
        // lib.optionalAttrs (ipc && !proxy) { ipc_socket = common.ipc; };
        stratum_v1.listen = "${cfg.address}:${toString cfg.ports.stratumV1}";
        stratum_v1_tls.listen = "${cfg.address}:${toString cfg.ports.stratumV1Tls}";
        stratum_v2.listen = "${cfg.address}:${toString cfg.ports.stratumV2}";
      }
      // lib.optionalAttrs forMint {
        coinbase_descriptor_file = "/run/credentials/${name}.service/${descriptor}";
      }
      // lib.optionalAttrs proxy { upstream = { inherit (cfg.upstream) url user password; }; }
      // lib.optionalAttrs (!ipc && !proxy) {
        # On this machine only, so its key need not be known beforehand.
        template_provider.address = "127.0.0.1:${toString top.templateProvider.port}";
      }
    ) cfg.settings;

  # A pool upstream is on the internet. The mode may be chosen while the box runs, so the settings decide.
  reach = pkgs.writeShellScript "poolbox-pool-reach" ''
    set -eu
    allowed="${lib.concatStringsSep " " (lib.optionals (cfg.allowedAddresses != null) cfg.allowedAddresses)}"
    if ${pkgs.gnugrep}/bin/grep -q '^mode = "proxy"' ${top.settingsDir}/pool.toml; then allowed=any; fi
    exec ${pkgs.systemd}/bin/systemctl set-property --runtime ${name}.service IPAddressAllow= IPAddressAllow="$allowed"
  '';
in
{
  options.services.poolbox.pool = {
    mode = lib.mkOption {
      type = lib.types.enum [
        "pool"
        "proxy"
        "solo"
      ];
      default = "pool";
      description = ''
        For whom the miners work: a block pays the mint, for all miners by their work (`pool`), or its miner
        (`solo`); or they work for another pool, whose payments to the mint are shared out (`proxy`).
      '';
    };

    upstream = {
      url = lib.mkOption {
        type = lib.types.str;
        example = "stratum+tcp://mine.ocean.xyz:3334";
        description = "The pool that the miners work for in mode `proxy`.";
      };
      user = lib.mkOption {
        type = lib.types.str;
        description = "The box's user name there; at pools that pay the address in it, the one on the page Earnings.";
      };
      password = lib.mkOption {
        type = lib.types.str;
        default = "x";
        description = "The password there, which most pools do not look at. It is in the store, for everybody to read.";
      };
    };

    address = lib.mkOption {
      type = lib.types.str;
      default = "0.0.0.0";
      description = "Address that miners connect to.";
    };

    ports = {
      stratumV1 = lib.mkOption {
        type = lib.types.port;
        default = 3333;
        description = "Port of Stratum V1.";
      };
      stratumV1Tls = lib.mkOption {
        type = lib.types.port;
        default = 4333;
        description = "Port of Stratum V1 over TLS.";
      };
      stratumV2 = lib.mkOption {
        type = lib.types.port;
        default = 34254;
        description = "Port of Stratum V2.";
      };
    };

    staleAfterSeconds = lib.mkOption {
      type = lib.types.ints.positive;
      default = 120;
      description = "How long miners are kept without templates, before they are sent to their fallback pools.";
    };

    allowedAddresses = lib.mkOption {
      type = lib.types.nullOr (lib.types.listOf lib.types.str);
      default = common.homeAddresses;
      description = ''
        Networks that the pool may speak with (systemd's IPAddressAllow): by default this machine, home networks
        and private tunnels; in mode `proxy` all, as the pool upstream is elsewhere. null allows all, for miners elsewhere.
      '';
    };

    settings = lib.mkOption {
      inherit (common.toml) type;
      default = { };
      example = {
        difficulty.start = 512;
      };
      description = "More of pool.toml; see docs/operate.md.";
    };
  };

  config = lib.mkIf top.enable (
    lib.mkMerge [
      (common.user name [
        "poolbox-node"
        "poolbox-logs"
      ])
      {
        environment.etc = common.settingsFiles top.settingsNetworks "pool.toml" (network: {
          source = common.toml.generate "pool.toml" (settings network);
        });

        systemd.services.${name} = {
          description = "Poolbox: mining pool";
          wantedBy = [ "multi-user.target" ];
          # It waits for work by itself, and mining does not stop for the rest.
          after = [ "poolbox-node.service" ] ++ lib.optional forMint "poolbox-mint-init.service";
          wants = lib.optional forMint "poolbox-mint-init.service";
          serviceConfig =
            common.hardening
            // common.restarting
            // {
              ExecStart = "${top.package}/bin/poolbox-pool --config ${top.settingsDir}/pool.toml";
              User = name;
              Group = name;
              SupplementaryGroups = [
                "poolbox-node"
                "poolbox-logs"
              ];
              LoadCredential = lib.mkIf forMint "${descriptor}:/run/poolbox-mint-init/${descriptor}";
              StateDirectory = "poolbox/pool";
              # Its group reads the journal; keys are for its user alone, whatever this says.
              StateDirectoryMode = "0750";
              UMask = "0027";
              ReadWritePaths = [ common.logs ] ++ lib.optional ipc "${common.doors}/solutions";
              LimitNOFILE = 65536;
            }
            // lib.optionalAttrs (cfg.allowedAddresses != null) {
              IPAddressDeny = "any";
              IPAddressAllow = cfg.allowedAddresses;
              # As root, and never a reason not to mine.
              ExecStartPre = "-+${reach}";
            };
        };
      }
    ]
  );
}
