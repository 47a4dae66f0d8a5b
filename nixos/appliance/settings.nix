# What can be changed without a new image. Every settings file is in the image, once for each network;
# poolbox-settings puts the chosen ones into place when the box starts. The choice, and whole files that take
# the place of those in the image (pool.toml, mint.toml), are the dashboard's to write:
#
#   /var/lib/poolbox/settings/network              one word
#   /var/lib/poolbox/settings/node-size            small, medium or all: blocks that the node keeps on mainnet
#   /var/lib/poolbox/settings/updates              off
#   /var/lib/poolbox/settings/<network>/pool.toml  instead of the image's
#   /var/lib/poolbox/settings/<network>/mint.toml
#   /var/lib/poolbox/settings/apply                written last: puts all of it into place, restarts the services
#                                                  named in it (node template-provider pool mint dashboard)
#
# What the node is told stays the image's: its settings may name programs to run.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ../lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
  chosen = "${common.state}/settings";
  place = "/run/poolbox";

  # In the order of their restart.
  services =
    lib.optional (top.templateProvider.kind == "sv2-tp") "template-provider"
    ++ [
      "node"
      "pool"
    ]
    ++ lib.optional top.mint.enable "mint"
    ++ lib.optional top.dashboard.enable "dashboard";

  install = pkgs.writeShellScript "poolbox-settings" ''
    set -eu
    network=${top.network}
    if [ -f ${chosen}/network ]; then
      read -r wanted <${chosen}/network || true
      case " ${lib.concatStringsSep " " top.settingsNetworks} " in
        *" $wanted "*) network=$wanted ;;
        *) echo "${chosen}/network names no network; the box stays on $network" >&2 ;;
      esac
    fi
    new=${place}/settings.new
    rm -rf "$new"
    mkdir -p "$new"
    cp -L /etc/poolbox/"$network"/* "$new"/
    # Not a link: it would let its owner read files of others.
    is_file() { [ -f ${chosen}/"$1" ] && [ ! -L ${chosen}/"$1" ]; }
    for file in pool.toml mint.toml; do
      if is_file "$network/$file"; then cp --no-dereference ${chosen}/"$network/$file" "$new/$file"; fi
    done
    said() { # FILE: its word
      if is_file "$1"; then head -c 20 ${chosen}/"$1" | tr -d '\n'; fi
    }
    wanted=$(said node-size)
    case $wanted in small | medium | all) echo "$wanted" >"$new/node-size" ;; esac
    if [ "$(said updates)" = off ]; then echo off >"$new/updates"; fi
    chmod 0644 "$new"/*
    rm -rf ${place}/settings
    mv "$new" ${place}/settings

    size=$(df --output=size -B1G ${common.state} | tail -n 1 | tr -d ' ')
    newest=$((size > 120 ? 50000 : 10000))
    case $network/$wanted in
      mainnet/small) prune=10000 ;;
      mainnet/medium) prune=50000 ;;
      mainnet/all) prune=0 ;;
      # All blocks where there is room for them and for ten years more, else the latest.
      mainnet/*) prune=$((size >= 1500 ? 0 : newest)) ;;
      *) prune=0 ;;
    esac
    # A node that has removed blocks does not start when it is asked for all of them.
    set -- ${common.state}/node/mainnet/blocks/blk*.dat
    if [ "$prune" = 0 ] && [ "$network" = mainnet ] && [ -e "$1" ] && [ "''${1##*/}" != blk00000.dat ]; then
      echo "the node has removed blocks already and goes on with the newest" >&2
      prune=$newest
    fi
    echo "NODE_ARGUMENTS=-prune=$prune" >${place}/node.env
    echo "network $network, blocks kept: ''${wanted:-by the disk}, -prune=$prune, disk $size GB"
  '';

  apply = pkgs.writeShellScript "poolbox-apply" ''
    set -eu
    [ -f ${chosen}/apply ] || exit 0
    words=$(head -c 200 ${chosen}/apply)
    rm -f ${chosen}/apply
    # Reloaded: a restart would restart whatever requires it, which is everything.
    systemctl reload-or-restart poolbox-settings.service
    ${lib.optionalString top.mint.enable ''
      # The descriptor of the chosen network, before anybody reads it.
      case " $words " in *" mint "*) systemctl restart poolbox-mint-init.service ;; esac
    ''}
    for service in ${lib.concatStringsSep " " services}; do
      case " $words " in *" $service "*) systemctl restart --no-block "poolbox-$service.service" ;; esac
    done
  '';
in
{
  config = {
    services.poolbox = {
      settingsDir = "${place}/settings";
      settingsNetworks = lib.attrNames common.networks;
      node.prune = null;

      dashboard.settings.box = {
        settings_dir = chosen;
        in_force_dir = "${place}/settings";
        image_dir = "/etc/poolbox";
        inherit (top) network;
        networks = top.settingsNetworks;
        inherit services;
        # They know what may be in their files.
        pool_program = "${top.package}/bin/poolbox-pool";
      }
      // lib.optionalAttrs top.mint.enable { mint_program = "${top.package}/bin/poolbox-mint"; }
      // lib.optionalAttrs (top.updates.url != null) { updates_from = top.updates.url; };
    };

    systemd.tmpfiles.settings."10-poolbox" = {
      ${place}.d = {
        mode = "0755";
        user = "root";
        group = "root";
      };
      ${chosen}.d = {
        mode = "0750";
        user = "poolbox-dashboard";
        group = "poolbox-dashboard";
      };
    };

    systemd.services = {
      poolbox-settings = {
        description = "Poolbox: settings of the chosen network";
        wantedBy = [ "multi-user.target" ];
        after = [ "systemd-tmpfiles-setup.service" ];
        path = [ pkgs.coreutils ];
        serviceConfig = common.hardening // {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = install;
          ExecReload = install;
          # Root, to read what the dashboard alone may read, and in no network.
          PrivateUsers = false;
          CapabilityBoundingSet = "CAP_DAC_READ_SEARCH";
          PrivateNetwork = true;
          IPAddressDeny = "any";
          RestrictAddressFamilies = "none";
          ReadWritePaths = [ place ];
          UMask = "0022";
        };
      };
      poolbox-apply = {
        description = "Poolbox: settings changed in the dashboard";
        # Its own words are few, and what it restarts is named in it.
        serviceConfig = common.hardening // {
          Type = "oneshot";
          ExecStart = apply;
          PrivateUsers = false;
          CapabilityBoundingSet = "CAP_DAC_OVERRIDE";
          PrivateNetwork = true;
          IPAddressDeny = "any";
          RestrictAddressFamilies = "AF_UNIX";
          ReadWritePaths = [ chosen ];
        };
        path = [
          pkgs.coreutils
          config.systemd.package
        ];
      };
    }
    // lib.genAttrs (map (service: "poolbox-${service}") (services ++ lib.optional top.mint.enable "mint-init")) (
      name:
      {
        requires = [ "poolbox-settings.service" ];
        after = [ "poolbox-settings.service" ];
      }
      // lib.optionalAttrs (name == "poolbox-dashboard") {
        # What is chosen is its to write.
        serviceConfig.ReadWritePaths = [ chosen ];
      }
    );

    systemd.paths.poolbox-apply = {
      description = "Poolbox: settings changed in the dashboard";
      wantedBy = [ "multi-user.target" ];
      pathConfig.PathExists = "${chosen}/apply";
    };
  };
}
