# What a screen on the box shows: where it is found, the fingerprint of its certificate, and the code that proves
# that someone stands before it. The dashboard makes that code, and takes it away once a password is set.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ../lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
in
{
  # In the place of a login: nobody can log in.
  systemd.services."getty@tty1".enable = false;
  systemd.services."autovt@".enable = false;
  systemd.services.poolbox-screen = {
    description = "Poolbox: screen";
    wantedBy = [ "multi-user.target" ];
    unitConfig.ConditionPathExists = "/dev/tty1";
    serviceConfig =
      common.hardening
      // common.restarting
      // {
        ExecStart = lib.concatStringsSep " " [
          "${top.package}/bin/poolbox screen --name ${config.networking.hostName}"
          "--code-file ${common.state}/dashboard/presence.code"
          "--certificate-file ${common.state}/dashboard/https.pem"
        ];
        # The code is for the dashboard's user only.
        User = "poolbox-dashboard";
        Group = "poolbox-dashboard";
        SupplementaryGroups = [
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
