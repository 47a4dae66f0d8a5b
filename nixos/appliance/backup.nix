# Backup and restore, asked for in the browser. What belongs into a backup is for root to read; the dashboard may ask
# for one, and read the encrypted file that comes of it. In each of these places only one of the two writes:
#
#   /run/poolbox/requests/backup      the passphrase, in memory: makes a backup
#   /run/poolbox/requests/forget      removes it
#   /run/poolbox/requests/restore     the passphrase of the uploaded backup: puts it in the place of this box
#   /run/poolbox/answers/backup, restore   root's: how far it is, when, and what the program said
#   /var/lib/poolbox/backup/box.age   root's: the backup
#   /var/lib/poolbox/upload/box.age   the dashboard's: what was uploaded
#
# A passphrase is read once, its request removed before anything is done with it, and handed on by standard input.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  common = import ../lib.nix { inherit lib pkgs; };
  top = config.services.poolbox;
  inherit (common) state;
  place = "/run/poolbox";
  requests = "${place}/requests";
  answers = "${place}/answers";
  made = "${state}/backup/box.age";
  uploaded = "${state}/upload/box.age";
  poolbox = "${top.package}/bin/poolbox --state ${state}";
  # What holds data of a backup: stopped while they are replaced, in this order, and started in the other.
  stopped = "poolbox-dashboard poolbox-pool poolbox-mint poolbox-mint-init";
  started = "poolbox-mint-init poolbox-mint poolbox-pool poolbox-dashboard";

  words = answer: ''
    set -u
    answer=${answers}/${answer}
    tell() { # WORD, with what was said on standard input
      { echo "$1 $(date +%s)"; cat; } >"$answer.new"
      mv "$answer.new" "$answer"
    }
    # Not a link: it would have root read for the dashboard.
    is_file() { [ -f "$1" ] && [ ! -L "$1" ]; }
    failed() {
      cat /tmp/wrong >&2
      tell failed </tmp/wrong
      exit 0
    }
  '';

  # Whatever ended it, nobody waits for ever.
  cutOff = answer: ''
    ${words answer}
    [ "$SERVICE_RESULT" != success ] || exit 0
    echo "it was cut off ($SERVICE_RESULT); see the journal" | tell failed
  '';

  backup = pkgs.writeShellScript "poolbox-backup" ''
    ${words "backup"}
    if [ -e ${requests}/forget ]; then
      rm -f ${requests}/forget ${made} "$answer"
    fi
    is_file ${requests}/backup || { rm -f ${requests}/backup; exit 0; }
    tell making </dev/null
    exec 3<${requests}/backup
    rm -f ${requests}/backup
    ${poolbox} backup ${made} --replace --json --passphrase-file - <&3 >/tmp/said 2>/tmp/wrong || failed
    # Its folder gives it the dashboard's group.
    chmod 0640 ${made}
    tell done </tmp/said
  '';

  restore = pkgs.writeShellScript "poolbox-restore" ''
    ${words "restore"}
    is_file ${requests}/restore || { rm -f ${requests}/restore; exit 0; }
    tell checking </dev/null
    IFS= read -r passphrase <${requests}/restore
    rm -f ${requests}/restore
    give() { printf '%s\n' "$passphrase"; }
    is_file ${uploaded} || { echo "no backup was uploaded" >/tmp/wrong; failed; }
    give | ${poolbox} restore ${uploaded} --check --passphrase-file - >/dev/null 2>/tmp/wrong || failed
    tell restoring </dev/null
    systemctl stop ${stopped}
    # Whoever restores has just chosen a password here, and may not know the old one.
    cp --archive ${state}/dashboard/password /tmp/password
    give | ${poolbox} restore ${uploaded} --set-aside --passphrase-file - >/tmp/said 2>/tmp/wrong
    restored=$?
    cp --archive --remove-destination /tmp/password ${state}/dashboard/password
    [ $restored = 0 ] || failed
    rm -f ${uploaded}
    tell done </tmp/said
  '';

  unit = common.hardening // {
    Type = "oneshot";
    # Root, to read what each service keeps for itself; in no network.
    PrivateUsers = false;
    PrivateNetwork = true;
    IPAddressDeny = "any";
    ReadWritePaths = [
      state
      answers
      requests
    ];
    SystemCallFilter = common.hardening.SystemCallFilter ++ [ "@chown" ];
    # Answers are for the dashboard's group.
    UMask = "0027";
  };
  folder = user: mode: {
    inherit user mode;
    group = "poolbox-dashboard";
  };
in
{
  config = lib.mkIf (top.mint.enable && top.dashboard.enable) {
    services.poolbox.dashboard.settings.box.backup = {
      requests_dir = requests;
      answers_dir = answers;
      inherit made uploaded;
    };

    systemd.tmpfiles.settings."10-poolbox" = {
      ${requests}.d = folder "poolbox-dashboard" "0700";
      ${answers}.d = folder "root" "2750";
      ${dirOf made}.d = folder "root" "2750";
      ${dirOf uploaded}.d = folder "poolbox-dashboard" "0700";
    };

    systemd.services = {
      poolbox-dashboard.serviceConfig.ReadWritePaths = [
        requests
        (dirOf uploaded)
      ];
      poolbox-backup = {
        description = "Poolbox: a backup asked for in the dashboard";
        startLimitIntervalSec = 0;
        path = [ pkgs.coreutils ];
        serviceConfig = unit // {
          ExecStart = backup;
          ExecStopPost = pkgs.writeShellScript "poolbox-backup-cut-off" (cutOff "backup");
          # SQLite gives what it makes beside a database to the database's owner.
          CapabilityBoundingSet = [
            "CAP_CHOWN"
            "CAP_DAC_OVERRIDE"
          ];
          RestrictAddressFamilies = "none";
        };
      };
      poolbox-restore = {
        description = "Poolbox: a restore asked for in the dashboard";
        startLimitIntervalSec = 0;
        path = [
          pkgs.coreutils
          config.systemd.package
        ];
        serviceConfig = unit // {
          ExecStart = restore;
          ExecStopPost = [
            (pkgs.writeShellScript "poolbox-restore-cut-off" (cutOff "restore"))
            "${config.systemd.package}/bin/systemctl start --no-block ${started}"
          ];
          # Files become the user's that their folder belongs to.
          CapabilityBoundingSet = [
            "CAP_CHOWN"
            "CAP_DAC_OVERRIDE"
            "CAP_FOWNER"
          ];
          # The mint's socket, and systemd's.
          RestrictAddressFamilies = "AF_UNIX";
        };
      };
    };

    systemd.paths = {
      poolbox-backup = {
        description = "Poolbox: a backup asked for in the dashboard";
        wantedBy = [ "multi-user.target" ];
        pathConfig.PathExists = [
          "${requests}/backup"
          "${requests}/forget"
        ];
      };
      poolbox-restore = {
        description = "Poolbox: a restore asked for in the dashboard";
        wantedBy = [ "multi-user.target" ];
        pathConfig.PathExists = "${requests}/restore";
      };
    };
  };
}
