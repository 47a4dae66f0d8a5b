# A new version has three starts to become healthy. Healthy means: every service of ours runs and answers. Then its
# entry is good for ever; else the box starts again, and after the third time the boot loader takes the
# version before.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ../lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
  units = map (service: "poolbox-${service}.service") (
    [
      "node"
      "pool"
    ]
    ++ lib.optional (top.templateProvider.kind == "sv2-tp") "template-provider"
    ++ lib.optional top.mint.enable "mint"
    ++ lib.optional top.dashboard.enable "dashboard"
  );
  # Twice in a row, ten seconds apart: one that falls over at once is not healthy.
  check = pkgs.writeShellScript "poolbox-healthy" ''
    set -u
    answers() {
      systemctl --quiet is-active ${lib.concatStringsSep " " (map lib.escapeShellArg units)} || return 1
      curl --silent --fail --output /dev/null --max-time 5 --unix-socket ${common.state}/pool/pool.sock http://pool/status || return 1
      ${lib.optionalString top.mint.enable ''
        curl --silent --fail --output /dev/null --max-time 5 http://127.0.0.1:${toString top.mint.port}/v1/info || return 1
      ''}
      ${lib.optionalString top.dashboard.enable ''
        curl --silent --output /dev/null --max-time 5 http://127.0.0.1:${toString top.dashboard.port}/ || return 1
      ''}
    }
    good=0
    while [ $SECONDS -lt ''${POOLBOX_PATIENCE:-600} ]; do
      if answers; then good=$((good + 1)); else good=0; fi
      [ $good -lt 2 ] || { echo "every service runs and answers"; exit 0; }
      sleep 10
    done
    systemctl --no-pager --lines 0 status ${lib.concatStringsSep " " units} || true
    echo "not healthy after $SECONDS s" >&2
    exit 1
  '';
in
{
  # What a boot must reach before systemd-bless-boot calls it good.
  systemd.targets.boot-complete.requires = [ "poolbox-healthy.service" ];
  systemd.services.poolbox-healthy = {
    description = "Poolbox: every service runs and answers";
    before = [ "boot-complete.target" ];
    requiredBy = [ "boot-complete.target" ];
    path = [
      config.systemd.package
      pkgs.coreutils
      pkgs.curl
    ];
    unitConfig.OnFailure = "poolbox-fall-back.service";
    serviceConfig = common.hardening // {
      Type = "oneshot";
      RemainAfterExit = true;
      ExecStart = check;
      User = "poolbox-pool";
      Group = "poolbox-pool";
      TimeoutStartSec = "15min";
      IPAddressDeny = "any";
      IPAddressAllow = "localhost";
    };
  };
  # Only a version that is still on trial is started again: an old one would do so for ever.
  systemd.services.poolbox-fall-back = {
    description = "Poolbox: start again, for the boot loader to choose";
    unitConfig.ConditionPathExists = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    serviceConfig = common.hardening // {
      Type = "oneshot";
      ExecStart = "${config.systemd.package}/bin/systemctl --no-block reboot";
      # Root, whom systemd obeys over its socket.
      PrivateUsers = false;
      PrivateNetwork = true;
      IPAddressDeny = "any";
      RestrictAddressFamilies = "AF_UNIX";
    };
  };
  systemd.additionalUpstreamSystemUnits = [ "boot-complete.target" ];
}
