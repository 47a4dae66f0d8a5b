# What the services have in common.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.poolbox;
  common = import ./lib.nix { inherit lib pkgs; };
in
{
  options.services.poolbox = {
    enable = lib.mkEnableOption "Poolbox, a home mining pool box: node, pool, mint and dashboard";

    network = lib.mkOption {
      type = lib.types.enum (lib.attrNames common.networks);
      default = "mainnet";
      description = ''
        The network that node, pool and mint are on. Each network has its own state; `devnet` is a private chain
        for trying things out.
      '';
    };

    package = lib.mkOption {
      type = lib.types.package;
      description = "Package with `poolbox-pool`, `poolbox-mint`, `poolbox-dashboard` and `poolbox`.";
    };

    openFirewall = lib.mkEnableOption "" // {
      default = true;
      description = "Whether the ports of pool, mint and dashboard may be reached from other machines.";
    };

    settingsDir = lib.mkOption {
      type = lib.types.str;
      default = "/etc/poolbox/${cfg.network}";
      defaultText = lib.literalExpression ''"/etc/poolbox/''${config.services.poolbox.network}"'';
      internal = true;
      description = "Where the services find their settings files. The appliance chooses it when it starts.";
    };

    settingsNetworks = lib.mkOption {
      type = lib.types.listOf (lib.types.enum (lib.attrNames common.networks));
      default = [ cfg.network ];
      internal = true;
      description = "The networks that settings files are made for: those that may be chosen without a rebuild.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];

    # For units whose command lines need the network.
    environment.etc = common.settingsFiles cfg.settingsNetworks "environment" (network: {
      text = "POOLBOX_NETWORK=${network}\n";
    });

    users.groups.poolbox-logs = { };
    systemd.tmpfiles.settings."10-poolbox" = {
      ${common.state}.d = {
        mode = "0755";
        user = "root";
        group = "root";
      };
      # Every service writes its own file there, and only the dashboard reads them all.
      ${common.logs} = {
        d = {
          mode = "3770";
          user = "root";
          group = "poolbox-logs";
        };
        # Whatever the umask of the service.
        "a+".argument = "default:user::rwx,default:group::r-x,default:other::---";
      };
    };
  };
}
