# The image: boot partition, and a compressed store that dm-verity checks at every read. The root is in memory;
# slots, data partition and growth come at the first start (./disks.nix).
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  inherit (pkgs.stdenv.hostPlatform) efiArch;
  inherit (config.system.image) version;
  arch = if pkgs.stdenv.hostPlatform.isx86_64 then "x86-64" else "arm64";
  partitions = (import ./partitions.nix { inherit lib arch; }).all;
  names = import ./names.nix { inherit config pkgs; };
in
{
  imports = [ "${modulesPath}/image/repart.nix" ];

  fileSystems."/" = {
    fsType = "tmpfs";
    options = [
      "mode=0755"
      "size=25%"
    ];
  };

  boot = {
    loader.grub.enable = false;
    initrd.systemd.enable = true;
    uki = {
      inherit (names) name;
      # Counted at each start until the box is healthy (./health.nix).
      tries = 3;
    };
  };
  # No /usr/bin/env: /usr is the store.
  system.activationScripts.usrbinenv = lib.mkForce "";

  image.repart = {
    inherit (names) name;
    verityStore = {
      enable = true;
      partitionIds = {
        esp = "10-esp";
        store-verity = "20-verity-a";
        store = "30-store-a";
      };
    };
    # Each slot's content also comes as a file of its own, named by its partition's UUID: an update.
    split = true;
    compression = {
      enable = true;
      # What every systemd-sysupdate unpacks, and every tool that writes images.
      algorithm = "xz";
      level = 6;
    };
    partitions = {
      "10-esp" = {
        contents = {
          "/EFI/BOOT/BOOT${lib.toUpper efiArch}.EFI".source =
            "${pkgs.systemd}/lib/systemd/boot/efi/systemd-boot${efiArch}.efi";
          "/loader/loader.conf".source = pkgs.writeText "loader.conf" ''
            timeout 2
            editor no
          '';
        };
        # Not a part of an update, which brings a kernel only.
        repartConfig = partitions."10-esp" // {
          SplitName = "-";
        };
      };
      "20-verity-a".repartConfig = partitions."20-verity-a" // {
        Label = "verity_${version}";
        Minimize = "off";
        SplitName = names.split "verity";
      };
      # As small as it gets; it grows to its slot at the first start.
      "30-store-a".repartConfig = {
        Label = "store_${version}";
        SplitName = names.split "store";
      };
    };
  };

  # The files of a release: the image to flash, and what an update takes of it.
  system.build.release = pkgs.runCommand "poolbox-release-${version}" { } ''
    mkdir $out
    ln -s ${config.system.build.image}/${config.image.baseName}.* $out/
    ln -s ${config.system.build.uki}/${config.system.boot.loader.ukiFile} $out/
  '';
}
