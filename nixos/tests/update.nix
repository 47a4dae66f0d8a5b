# The image itself: its first start, an update into the other slot, one that nobody signed for, and one that does not
# become healthy and gives way to the version before it.
{
  lib,
  module,
  pkgs,
}:
let
  keyring = import "${pkgs.path}/nixos/tests/common/gpg-keyring.nix" { inherit pkgs; };
  # Its public half, not armored.
  pubring = pkgs.runCommand "pubring.gpg" { nativeBuildInputs = [ pkgs.gnupg ]; } ''
    export GNUPGHOME=$TMPDIR/keys
    mkdir --mode=0700 $GNUPGHOME
    gpg --dearmor <${keyring}/pubkey.gpg >$out
  '';

  box =
    version:
    { pkgs, ... }:
    {
      imports = [
        module
        ../appliance
      ];
      virtualisation = {
        cores = 2;
        memorySize = 3072;
        # From its own image and with its own disks, as a mini PC starts.
        directBoot.enable = false;
        mountHostNixStore = false;
        useEFIBoot = true;
        fileSystems = lib.mkVMOverride { };
      };
      services.poolbox = {
        network = "devnet";
        updates = {
          url = "http://server/";
          keyring = "${pubring}";
        };
      };
      networking.hostName = "poolbox";
      system.image.version = lib.mkForce version;
    };

  # A release as it is uploaded.
  uploaded =
    machine:
    pkgs.runCommand "uploaded" { nativeBuildInputs = [ pkgs.gnupg ]; } ''
      mkdir $out
      cd $out
      ln -s ${machine.system.build.release}/* .
      sha256sum -- * >$TMPDIR/SHA256SUMS
      cp $TMPDIR/SHA256SUMS .
      export GNUPGHOME=$TMPDIR/keys
      cp --recursive --no-preserve=mode ${keyring} $GNUPGHOME
      chmod 0700 $GNUPGHOME
      gpg --batch --output SHA256SUMS.gpg --detach-sign SHA256SUMS
    '';
  # The same, with a list that somebody changed after it was signed.
  changed =
    machine:
    pkgs.runCommand "changed" { } ''
      mkdir $out
      ln -s ${uploaded machine}/* $out/
      rm $out/SHA256SUMS
      { cat ${uploaded machine}/SHA256SUMS; echo; } >$out/SHA256SUMS
    '';
in
{
  name = "poolbox-update";
  nodes = {
    box = box "1";
    # Never started as machines of their own: they are what the box becomes.
    good = box "2";
    broken = {
      imports = [ (box "3") ];
      systemd.services.poolbox-pool.serviceConfig.ExecStart = lib.mkForce "${pkgs.coreutils}/bin/false";
      systemd.services.poolbox-healthy.environment.POOLBOX_PATIENCE = "30";
    };
    server = {
      networking.firewall.allowedTCPPorts = [ 80 ];
      services.nginx = {
        enable = true;
        virtualHosts.server.root = "/srv/release";
      };
    };
  };
  testScript =
    { nodes, ... }:
    let
      inherit (nodes.box.boot.uki) name;
      inherit (nodes.box.virtualisation.qemu) package;
      image = "${nodes.box.system.build.image}/${nodes.box.image.filePath}";
    in
    ''
      import os
      import subprocess

      def version():
          return box.succeed(". /etc/os-release; echo $IMAGE_VERSION").strip()

      def kernels():
          return sorted(box.succeed("ls /boot/EFI/Linux").split())

      def labels():
          return box.succeed("lsblk --noheadings --output PARTLABEL /dev/vda").split()

      def told(line):
          box.succeed("systemctl start poolbox-versions.service")
          box.succeed(f"grep --line-regexp '{line}' /run/poolbox/versions")

      def authority():
          return box.succeed("cat /var/lib/poolbox/pool/devnet/sv2_authority.pub")

      def offer(release):
          server.succeed(f"ln -sfn {release} /srv/release")

      def restarted():
          # Each restart is on the console once: none may be left for the next to find.
          box.wait_for_console_text("reboot: Restarting system")
          box.connected = False

      # Before the variable that names the box's disk is set.
      server.start()
      server.wait_for_unit("nginx.service")

      # Flashed to a disk of 24 GB.
      flashed = os.path.join(os.environ["TMPDIR"], "flashed.raw")
      disk = os.path.join(os.environ["TMPDIR"], "disk.qcow2")
      subprocess.run(["${pkgs.xz}/bin/xz --decompress --stdout ${image} >" + flashed], shell=True, check=True)
      subprocess.run(
          ["${package}/bin/qemu-img", "create", "-f", "qcow2", "-b", flashed, "-F", "raw", disk, "24G"], check=True
      )
      os.environ["NIX_DISK_IMAGE"] = disk
      box.start(allow_reboot=True)

      with subtest("the first start makes slots and data, and the box becomes healthy"):
          box.wait_for_unit("systemd-bless-boot.service")
          assert version() == "1", version()
          assert kernels() == ["${name}_1.efi"], kernels()
          for label in ["store_1", "verity_1", "_empty", "poolbox-data"]:
              assert label in labels(), labels()
          key = authority()

      with subtest("updates that were turned off are not looked for"):
          offer("${uploaded nodes.good}")
          box.succeed("echo off >/var/lib/poolbox/settings/updates; systemctl reload poolbox-settings.service")
          box.succeed("systemctl start systemd-sysupdate.service")
          assert kernels() == ["${name}_1.efi"], kernels()
          box.succeed("rm /var/lib/poolbox/settings/updates; systemctl reload poolbox-settings.service")

      with subtest("an update goes into the other slot and becomes good"):
          box.succeed("systemctl start systemd-sysupdate.service")
          assert kernels() == ["${name}_1.efi", "${name}_2+3-0.efi"], kernels()
          for label in ["store_1", "verity_1", "store_2", "verity_2"]:
              assert label in labels(), labels()
          for line in ["running 1", "entry 2+3-0", "offered 2"]:
              told(line)
          box.reboot()
          restarted()
          box.wait_for_unit("systemd-bless-boot.service")
          assert version() == "2", version()
          assert kernels() == ["${name}_1.efi", "${name}_2.efi"], kernels()
          assert authority() == key, "the data are not what they were"

      with subtest("an update that nobody signed for is not taken"):
          offer("${changed nodes.broken}")
          box.fail("systemctl start systemd-sysupdate.service")
          assert "store_3" not in labels(), labels()

      with subtest("a version that does not become healthy gives way to the one before"):
          offer("${uploaded nodes.broken}")
          box.succeed("systemctl start systemd-sysupdate.service")
          assert kernels() == ["${name}_2.efi", "${name}_3+3-0.efi"], kernels()
          box.reboot()
          for left, done in [(2, 1), (1, 2), (0, 3)]:
              restarted()
              box.wait_for_unit("multi-user.target")
              assert version() == "3", version()
              assert f"${name}_3+{left}-{done}.efi" in kernels(), kernels()
          restarted()
          box.wait_for_unit("poolbox-healthy.service")
          assert version() == "2", version()
          assert "${name}_3+0-3.efi" in kernels(), kernels()
          for line in ["running 2", "entry 3+0-3"]:
              told(line)
          assert authority() == key, "the data are not what they were"
    '';
}
