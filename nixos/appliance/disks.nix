# The first start: the slots are made and grown on the disk that the box started from, and the data partition on
# the largest suitable disk. Later starts find everything and only grow what has room to grow.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  arch = if pkgs.stdenv.hostPlatform.isx86_64 then "x86-64" else "arm64";
  inherit (import ./partitions.nix { inherit lib arch; }) all files;
  # One disk for everything, or a disk for the system and one for the data.
  definitions =
    folder:
    files "${folder}/one-disk.d" all
    // files "${folder}/system-disk.d" (removeAttrs all [ "60-data" ])
    // files "${folder}/data-disk.d" { inherit (all) "60-data"; };
  systemd = config.boot.initrd.systemd.package;
in
{
  boot.initrd = {
    supportedFilesystems = {
      ext4 = true;
      vfat = true;
    };
    availableKernelModules = [
      "ahci"
      "mmc_block"
      "nvme"
      "sd_mod"
      "sdhci_acpi"
      "sdhci_pci"
      "uas"
      "usb_storage"
      "usbhid"
      "virtio_blk"
      "virtio_pci"
      "xhci_pci"
    ];
    systemd = {
      storePaths = [
        "${systemd}/bin/systemd-repart"
        "${pkgs.util-linux}/bin/lsblk"
        "${pkgs.util-linux}/bin/blkid"
      ];
      contents = definitions "/etc/poolbox";
      initrdBin = [ pkgs.e2fsprogs ];
      services.poolbox-disks = {
        description = "Poolbox: slots and data partition";
        unitConfig.DefaultDependencies = false;
        requiredBy = [ "sysroot-var.mount" ];
        before = [
          "initrd-root-fs.target"
          "sysroot-var.mount"
          "systemd-fsck@dev-disk-by\\x2dpartlabel-poolbox\\x2ddata.service"
        ];
        # The store is open by then: its partition tells which disk we are on.
        after = [
          "systemd-udev-settle.service"
          "sysroot-usr.mount"
          "systemd-veritysetup@usr.service"
        ];
        wants = [ "systemd-udev-settle.service" ];
        path = [
          pkgs.coreutils
          pkgs.util-linux
          systemd
        ];
        environment.TMPDIR = "/tmp";
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
        };
        script = lib.readFile ./disks.sh;
      };
    };
  };

  # Kept outside initrd as well: `cargo xtask box` runs systemd-repart on exactly these.
  environment.etc = definitions "poolbox";

  fileSystems."/var" = {
    device = "/dev/disk/by-partlabel/poolbox-data";
    fsType = "ext4";
    neededForBoot = true;
    # The filesystem follows when its partition has grown.
    autoResize = true;
    options = [
      "noatime"
      "nosuid"
      "nodev"
      "noexec"
    ];
  };
}
