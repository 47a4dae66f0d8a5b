# The table of a box's disk, in order. Two slots for the system: one runs, the other takes the next version. What
# people and money left behind is on `data` and no update touches it.
{ lib, arch }:
let
  usr = "usr-${arch}";
  # What a system of this version may take at most, ten years of growth included.
  verity = {
    SizeMinBytes = "64M";
    SizeMaxBytes = "64M";
  };
  store = {
    SizeMinBytes = "4G";
    SizeMaxBytes = "4G";
  };
  empty.Label = "_empty";

  # Definitions as files of text in `folder`, for systemd-repart.
  files =
    folder: partitions:
    lib.mapAttrs' (
      name: Partition: lib.nameValuePair "${folder}/${name}.conf" { text = lib.generators.toINI { } { inherit Partition; }; }
    ) partitions;

  all = {
    # Two kernels of about 100 MB, and one on the way.
    "10-esp" = {
      Type = "esp";
      Format = "vfat";
      SizeMinBytes = "512M";
      SizeMaxBytes = "512M";
    };
    "20-verity-a" = verity // { Type = "${usr}-verity"; };
    "30-store-a" = store // { Type = usr; };
    "40-verity-b" = verity // empty // { Type = "${usr}-verity"; };
    "50-store-b" = store // empty // { Type = usr; };
    "60-data" = {
      Type = "linux-generic";
      Label = "poolbox-data";
      Format = "ext4";
      # Enough to install from a small stick; see docs/appliance.md for what a chain needs.
      SizeMinBytes = "4G";
    };
  };
in
{
  inherit all files;
}
