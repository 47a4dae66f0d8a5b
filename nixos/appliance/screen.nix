# What a screen on the box shows: where it is found, and the code that proves that someone stands before it.
# The code is new at every start and is in memory only.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ../lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
  code = "/run/poolbox/presence-code";
  make = pkgs.writeShellScript "poolbox-presence" ''
    set -eu
    number=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    umask 0137
    printf '%04d-%04d\n' $((number / 10000 % 10000)) $((number % 10000)) >${code}.new
    chgrp poolbox-dashboard ${code}.new
    mv ${code}.new ${code}
  '';
in
{
  systemd.services.poolbox-presence = {
    description = "Poolbox: presence code";
    wantedBy = [ "multi-user.target" ];
    before = [ "poolbox-dashboard.service" ];
    path = [ pkgs.coreutils ];
    serviceConfig = common.hardening // {
      Type = "oneshot";
      RemainAfterExit = true;
      ExecStart = make;
      PrivateUsers = false;
      CapabilityBoundingSet = "CAP_CHOWN";
      SystemCallFilter = [ "@system-service" ];
      PrivateNetwork = true;
      IPAddressDeny = "any";
      RestrictAddressFamilies = "none";
      ReadWritePaths = [ "/run/poolbox" ];
    };
  };

  # In the place of a login: nobody can log in.
  systemd.services."getty@tty1".enable = false;
  systemd.services."autovt@".enable = false;
  systemd.services.poolbox-screen = {
    description = "Poolbox: screen";
    wantedBy = [ "multi-user.target" ];
    after = [ "poolbox-presence.service" ];
    unitConfig.ConditionPathExists = "/dev/tty1";
    serviceConfig =
      common.hardening
      // common.restarting
      // {
        ExecStart = "${top.package}/bin/poolbox screen --name ${config.networking.hostName} --code-file ${code}";
        DynamicUser = true;
        SupplementaryGroups = [
          "poolbox-dashboard"
          "poolbox-mint"
          "poolbox-pool"
          "tty"
        ];
        Environment = "POOLBOX_STATE=${common.state}";
        StandardInput = "tty";
        StandardOutput = "tty";
        StandardError = "journal";
        TTYPath = "/dev/tty1";
        TTYReset = true;
        TTYVHangup = true;
        PrivateDevices = false;
        DeviceAllow = "char-tty";
      };
  };
}
