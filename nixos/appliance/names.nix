# What the files of a release are called. The image is made under these names and updates are looked for under them,
# so that they cannot differ; `.github/workflows/release.yml` uploads them as they are.
{ config, pkgs }:
let
  inherit (config.image) extension;
  # One folder holds the files of both architectures.
  name = "poolbox-${pkgs.stdenv.hostPlatform.parsed.cpu.name}";
in
{
  inherit name;

  # A slot's content, and what systemd-repart is to call it: %U is its partition's UUID.
  split = slot: "${slot}_%U";

  # How systemd-sysupdate finds them: @v is the version, @u the UUID, @l and @d the tries left and done.
  patterns = {
    slot = slot: "${name}_@v.${slot}_@u.${extension}";
    # A kernel on its way has its tries; one that is good has none.
    kernel = [
      "${name}_@v+@l-@d.efi"
      "${name}_@v+@l.efi"
      "${name}_@v.efi"
    ];
  };
}
