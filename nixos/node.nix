# The Bitcoin node: Bitcoin Core 31 or later with its mining IPC, or Sjors' branch with the template provider
# inside. Its RPC cookie and its IPC socket are in a folder for its group only.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ./lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
  cfg = top.node;
  branch = top.templateProvider.kind == "branch";
  name = "poolbox-node";

  settings =
    network:
    let
      inherit (common.networks.${network}) chain extra;
      listen = if cfg.listen then "1" else "0";
      section = {
        server = "1";
        inherit listen;
        rpcbind = "127.0.0.1";
        rpcallowip = "127.0.0.1";
        rpcport = toString cfg.rpcPort;
        rpccookiefile = common.cookie;
        rpccookieperms = "group";
      }
      // lib.optionalAttrs (!branch) { ipcbind = "unix:${common.ipc}"; }
      // lib.optionalAttrs (network != "devnet" && cfg.rpcMethods != [ ]) {
        rpcwhitelist = "__cookie__:${lib.concatStringsSep "," cfg.rpcMethods}";
      }
      // extra
      // cfg.settings;
      lines = lib.mapAttrsToList (key: value: "${key}=${value}");
    in
    lib.concatStringsSep "\n" (
      [
        "chain=${chain}"
        "printtoconsole=0"
        "logtimemicros=1"
        "debuglogfile=${common.logs}/node.log"
        "dbcache=${toString cfg.cacheMiB}"
      ]
      ++ lib.optional (cfg.prune != null) "prune=${toString cfg.prune}"
      ++ [ "[${chain}]" ]
      ++ lines section
    )
    + "\n";
in
{
  options.services.poolbox.node = {
    packages = {
      core = lib.mkOption {
        type = lib.types.package;
        description = "Package with `bin/bitcoin-node` of Bitcoin Core 31 or later, and `bin/bitcoin-cli`.";
      };
      branch = lib.mkOption {
        type = lib.types.package;
        description = "Package with `bin/bitcoind` of Sjors' branch, for `templateProvider.kind = \"branch\"`.";
      };
    };

    rpcPort = lib.mkOption {
      type = lib.types.port;
      default = 8332;
      description = "Port of the node's RPC, on this machine only, whatever the network.";
    };

    cacheMiB = lib.mkOption {
      type = lib.types.ints.between 4 16384;
      default = 450;
      description = "Memory for the node's database cache, in MiB. More makes the first synchronisation faster.";
    };

    prune = lib.mkOption {
      type = lib.types.nullOr (lib.types.addCheck lib.types.ints.unsigned (n: n == 0 || n >= 550));
      default = 20000;
      description = ''
        MiB of blocks that the node keeps; 0 keeps all of them (800 GB and growing). null leaves the choice to
        {file}`/run/poolbox/node.env`, which the appliance writes when it starts.
      '';
    };

    listen = lib.mkEnableOption "" // {
      description = "Whether the node takes connections of other nodes. The firewall is not opened by this.";
    };

    rpcMethods = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      # What pool and mint (with BDK's and LDK's chain sources) ask, and what is useful to look at.
      default = [
        "estimatesmartfee"
        "getbestblockhash"
        "getblock"
        "getblockchaininfo"
        "getblockcount"
        "getblockfilter"
        "getblockhash"
        "getblockheader"
        "getblockstats"
        "getblocktemplate"
        "getchaintips"
        "getdifficulty"
        "getmempoolentry"
        "getmempoolinfo"
        "getmininginfo"
        "getnetworkhashps"
        "getnetworkinfo"
        "getpeerinfo"
        "getrawmempool"
        "getrawtransaction"
        "gettxout"
        "gettxspendingprevout"
        "scantxoutset"
        "sendrawtransaction"
        "submitblock"
        "submitheader"
        "submitpackage"
        "testmempoolaccept"
        "uptime"
      ];
      description = ''
        What may be asked of the node's RPC; an empty list allows everything. Nothing in the default can stop or
        rewind the node. On devnet everything is allowed.
      '';
    };

    settings = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      example = {
        proxy = "127.0.0.1:9050";
      };
      description = "More lines of bitcoin.conf, in the network's section.";
    };
  };

  config = lib.mkIf top.enable (
    lib.mkMerge [
      (common.user name [ "poolbox-logs" ])
      {
        assertions = [
          {
            assertion = !branch -> lib.versionAtLeast (cfg.packages.core.version or "31") "31";
            message = "services.poolbox.node.packages.core is Bitcoin Core ${cfg.packages.core.version or "?"}; the mining interface needs 31 or later";
          }
        ];

        environment.etc = common.settingsFiles top.settingsNetworks "bitcoin.conf" (network: { text = settings network; });

        # Not systemd's RuntimeDirectory, which goes when the node does: others have parts of it mounted.
        systemd.tmpfiles.settings."10-poolbox" = {
          ${common.doors}.d = {
            mode = "0750";
            user = name;
            group = name;
          };
          # Where whoever mines over the IPC keeps the blocks it found, beside the socket.
          "${common.doors}/solutions".d = {
            mode = "0770";
            user = name;
            group = name;
          };
        };

        systemd.services.${name} = {
          description = "Poolbox: Bitcoin node";
          wantedBy = [ "multi-user.target" ];
          wants = [ "network-online.target" ];
          after = [ "network-online.target" ];
          environment.HOME = "${common.state}/node";
          serviceConfig =
            common.hardening
            // common.restarting
            // {
              # The node tells when it is ready, and opens its socket to its group: it makes it for its user alone.
              Type = "notify";
              NotifyAccess = "all";
              ExecStart = lib.concatStringsSep " " (
                [
                  (
                    if branch then
                      "${cfg.packages.branch}/bin/bitcoind"
                    else
                      "${cfg.packages.core}/bin/bitcoin-node"
                  )
                  "-conf=${top.settingsDir}/bitcoin.conf"
                  "-datadir=${common.state}/node/\${POOLBOX_NETWORK}"
                  (
                    if branch then
                      "-startupnotify='${pkgs.systemd}/bin/systemd-notify --ready'"
                    else
                      "-startupnotify='${pkgs.coreutils}/bin/chmod 0660 ${common.ipc} && ${pkgs.systemd}/bin/systemd-notify --ready'"
                  )
                ]
                ++ lib.optionals branch [
                  "-sv2"
                  "-sv2bind=127.0.0.1"
                  "-sv2port=${toString top.templateProvider.port}"
                  "-sv2interval=${toString top.templateProvider.intervalSeconds}"
                  "-sv2feedelta=${toString top.templateProvider.feeDeltaSats}"
                ]
                ++ lib.optional (cfg.prune == null) "$NODE_ARGUMENTS"
              );
              EnvironmentFile = [
                "${top.settingsDir}/environment"
              ]
              ++ lib.optional (cfg.prune == null) "/run/poolbox/node.env";
              User = name;
              Group = name;
              SupplementaryGroups = [ "poolbox-logs" ];
              # One folder a network: signet and devnet are both Core's signet.
              StateDirectory = [ "poolbox/node" ] ++ map (network: "poolbox/node/${network}") top.settingsNetworks;
              StateDirectoryMode = "0700";
              ReadWritePaths = [
                common.doors
                common.logs
              ];
              # Peers' addresses and interfaces.
              RestrictAddressFamilies = common.hardening.RestrictAddressFamilies ++ [ "AF_NETLINK" ];
              # Reading the chain at the start, and writing it at the end, take as long as they take.
              TimeoutStartSec = "infinity";
              TimeoutStopSec = "10min";
            };
        };
      }
    ]
  );
}
