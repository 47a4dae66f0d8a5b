# Which versions are there, for the dashboard to tell: the one that runs, those on the boot partition with the tries
# they have left, and the one on offer (./updates.nix). Only root reads the boot partition.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ../lib.nix { inherit lib pkgs; };
  inherit (import ./names.nix { inherit config pkgs; }) name;
  place = "/run/poolbox";
  show = pkgs.writeShellScript "poolbox-versions" ''
    set -eu
    {
      echo "running ${config.system.image.version}"
      for entry in /boot/EFI/Linux/${name}_*.efi; do
        [ -e "$entry" ] || continue
        entry=''${entry##*/${name}_}
        echo "entry ''${entry%.efi}"
      done
      if [ -s ${place}/offered ]; then echo "offered $(head -c 100 ${place}/offered)"; fi
    } >${place}/versions.new
    mv ${place}/versions.new ${place}/versions
  '';
in
{
  services.poolbox.dashboard.settings.box.versions_file = "${place}/versions";

  systemd.services.poolbox-versions = {
    description = "Poolbox: which versions are there";
    unitConfig.WantsMountsFor = "/boot";
    path = [ pkgs.coreutils ];
    serviceConfig = common.hardening // {
      Type = "oneshot";
      ExecStart = show;
      # Root, whose the boot partition is, without any of its rights.
      PrivateUsers = false;
      PrivateNetwork = true;
      IPAddressDeny = "any";
      RestrictAddressFamilies = "none";
      ReadWritePaths = [ place ];
      UMask = "0022";
    };
  };
  # A start that becomes good, an update that is installed: each renames or adds a file there.
  systemd.timers.poolbox-versions = {
    description = "Poolbox: which versions are there";
    wantedBy = [ "timers.target" ];
    timerConfig = {
      OnBootSec = "1min";
      OnUnitActiveSec = "5min";
    };
  };
}
