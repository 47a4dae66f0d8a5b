# A stick that installs: a box that was started from a removable disk, with an internal disk beside it, offers on
# its screen to copy itself there. The copy is made of the running system's own partitions.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ../lib.nix { inherit lib pkgs; };
  arch = if pkgs.stdenv.hostPlatform.isx86_64 then "x86-64" else "arm64";
  inherit (import ./partitions.nix { inherit lib arch; }) all files;
  # Boot partition and running slot are copied block for block; the rest is made empty.
  copied = lib.mapAttrs (
    name: partition:
    removeAttrs partition (lib.optional (name == "10-esp") "Format")
    // lib.optionalAttrs (lib.elem name [ "10-esp" "20-verity-a" "30-store-a" ]) { CopyBlocks = "auto"; }
  ) all;
  install = pkgs.writeShellScript "poolbox-install" (lib.readFile ./install.sh);
in
{
  environment.etc = files "poolbox/install.d" copied;

  # On the second screen (Alt-F2), so that the first always shows the box.
  systemd.services.poolbox-install = {
    description = "Poolbox: install on the internal disk";
    wantedBy = [ "multi-user.target" ];
    unitConfig.ConditionPathExists = [
      "/dev/mapper/usr"
      "/dev/tty2"
    ];
    path = [
      config.systemd.package
      pkgs.coreutils
      pkgs.e2fsprogs
      pkgs.kbd
      pkgs.util-linux
    ];
    # It writes partition tables: root with devices, and nothing else.
    serviceConfig = common.hardening // {
      ExecStart = install;
      StandardInput = "tty-force";
      StandardOutput = "tty";
      StandardError = "tty";
      TTYPath = "/dev/tty2";
      TTYReset = true;
      Restart = "no";
      CapabilityBoundingSet = "CAP_SYS_ADMIN";
      PrivateUsers = false;
      PrivateDevices = false;
      DeviceAllow = [
        "block-* rw"
        "char-tty rw"
        "/dev/loop-control rw"
      ];
      PrivateNetwork = true;
      IPAddressDeny = "any";
      RestrictAddressFamilies = [
        "AF_UNIX"
        "AF_NETLINK"
      ];
      SystemCallFilter = [
        "@system-service"
        "~@resources"
        "@mount"
      ];
    };
  };
}
