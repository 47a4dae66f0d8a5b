# Updates: the next version's store, its hashes and its kernel, each signed for, into the slot that does not run.
# Off until a place to look and the key to trust are set.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.poolbox.updates;
  arch = if pkgs.stdenv.hostPlatform.isx86_64 then "x86-64" else "arm64";
  inherit (import ./names.nix { inherit config pkgs; }) patterns;
  slot = name: type: {
    Transfer = {
      # Never over the version that runs.
      ProtectVersion = "%A";
      Verify = true;
    };
    Source = {
      Type = "url-file";
      Path = cfg.url;
      MatchPattern = patterns.slot name;
    };
    Target = {
      Type = "partition";
      Path = "auto";
      MatchPattern = "${name}_@v";
      MatchPartitionType = type;
      ReadOnly = "1";
    };
  };
  # Unless they were turned off in the browser (./settings.nix).
  allowed = "!/run/poolbox/settings/updates";
  # Noted before it is fetched, so that one that cannot be installed is told as well.
  offered = pkgs.writeShellScript "poolbox-offered" ''
    ${config.systemd.package}/lib/systemd/systemd-sysupdate check-new >/run/poolbox/offered.new || true
    mv /run/poolbox/offered.new /run/poolbox/offered
  '';
in
{
  options.services.poolbox.updates = {
    url = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "https://example.org/poolbox/";
      description = ''
        Where new versions are looked for: a folder with a release's files, its SHA256SUMS, and SHA256SUMS.gpg, the
        detached signature of that. null: nowhere.
      '';
    };
    keyring = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      description = ''
        OpenPGP keyring with the key that SHA256SUMS must be signed with, as `gpg --export` writes it: not armored,
        which systemd does not read.
      '';
    };
  };

  config = lib.mkIf (cfg.url != null) {
    assertions = [
      {
        assertion = cfg.keyring != null;
        message = "services.poolbox.updates.url needs services.poolbox.updates.keyring: an update nobody signed could be anyone's";
      }
    ];
    environment.etc."systemd/import-pubring.gpg".source = cfg.keyring;
    # What verifies the signature.
    systemd.services.systemd-sysupdate = {
      unitConfig.ConditionPathExists = allowed;
      path = [
        pkgs.coreutils
        pkgs.gnupgMinimal
      ];
      serviceConfig.ExecStartPre = "-${offered}";
    };
    systemd.services.systemd-sysupdate-reboot.unitConfig.ConditionPathExists = allowed;
    systemd.sysupdate = {
      enable = true;
      timerConfig = {
        OnCalendar = "daily";
        RandomizedDelaySec = "6h";
      };
      # Restarting interrupts mining for a minute: at night.
      reboot = {
        enable = true;
        timerConfig = {
          OnCalendar = "*-*-* 04:00:00";
          RandomizedDelaySec = "1h";
        };
      };
      transfers = {
        "10-verity" = slot "verity" "usr-${arch}-verity";
        "20-store" = slot "store" "usr-${arch}";
        # Last: with it the version is complete.
        "30-kernel" = {
          Transfer = {
            ProtectVersion = "%A";
            Verify = true;
          };
          Source = {
            Type = "url-file";
            Path = cfg.url;
            MatchPattern = patterns.kernel;
          };
          Target = {
            Type = "regular-file";
            Path = "/EFI/Linux";
            PathRelativeTo = "boot";
            MatchPattern = patterns.kernel;
            Mode = "0444";
            TriesLeft = 3;
            TriesDone = 0;
            InstancesMax = 2;
          };
        };
      };
    };
  };
}
