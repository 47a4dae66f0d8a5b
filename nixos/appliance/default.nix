# The appliance: a machine that is Poolbox and nothing else. Flashed as an image, updated as an image, set up in
# the browser. See docs/appliance.md.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  top = config.services.poolbox;
  # State outlives the system that made it: its owners keep their numbers from one version to the next.
  numbers = {
    poolbox-node = 370;
    poolbox-pool = 372;
  }
  // lib.optionalAttrs (top.templateProvider.kind == "sv2-tp") { poolbox-template-provider = 371; }
  // lib.optionalAttrs top.mint.enable { poolbox-mint = 373; }
  // lib.optionalAttrs top.dashboard.enable { poolbox-dashboard = 374; };
in
{
  imports = [
    "${modulesPath}/profiles/image-based-appliance.nix"
    ./backup.nix
    ./disks.nix
    ./health.nix
    ./image.nix
    ./installer.nix
    ./network.nix
    ./screen.nix
    ./settings.nix
    ./updates.nix
    ./versions.nix
  ];

  services.poolbox.enable = true;

  users.users = lib.mapAttrs (_: uid: { inherit uid; }) numbers;
  users.groups = lib.mapAttrs (_: gid: { inherit gid; }) (numbers // { poolbox-logs = 375; });
  # Nobody logs in: the box is looked after in the browser.
  users.allowNoPasswordLogin = true;

  services.journald.extraConfig = ''
    Storage=persistent
    SystemMaxUse=500M
    SystemKeepFree=2G
    MaxRetentionSec=3month
  '';
  systemd.coredump.enable = false;

  # Firmware of the network cards that mini PCs have.
  hardware.enableRedistributableFirmware = true;
  boot.kernelPackages = lib.mkDefault pkgs.linuxPackages;
  boot.kernelParams = [
    # A box that hangs starts again by itself.
    "panic=10"
    "quiet"
  ];
  systemd.settings.Manager.RuntimeWatchdogSec = "30s";

  time.timeZone = "UTC";
  documentation.enable = false;
  system.stateVersion = "26.05";
  system.image = {
    id = "poolbox";
    version = config.services.poolbox.package.version;
  };
}
