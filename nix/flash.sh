# Writes an image of Poolbox to a disk: poolbox-flash IMAGE DISK. Asks before it erases anything.
fail() {
  echo "poolbox-flash: $1" >&2
  exit 2
}

[ $# -eq 2 ] || fail "usage: poolbox-flash IMAGE DISK, as in: poolbox-flash poolbox_0.1.0.raw.zst /dev/sdX"
image=$1 disk=$2
[ -f "$image" ] || fail "there is no image $image"
[ -b "$disk" ] || fail "$disk is no disk; lsblk lists them"
[ "$(lsblk -dno TYPE "$disk")" = disk ] || fail "$disk is a part of a disk; name the whole disk"
[ -w "$disk" ] || fail "$disk may not be written by this user; run it with sudo"
if lsblk -nro MOUNTPOINTS "$disk" | grep -q .; then
  fail "$disk is in use (mounted); unmount it, or name another disk"
fi
if [ -f "$image.sha256" ]; then
  (cd "$(dirname "$image")" && sha256sum --check --status "$(basename "$image").sha256") ||
    fail "$image is damaged: its checksum is not the one in $image.sha256; download it again"
  echo "checksum: as in $image.sha256"
else
  echo "checksum: not compared, there is no $image.sha256"
fi

echo "This erases everything on:"
lsblk -do NAME,SIZE,MODEL,SERIAL "$disk"
read -r -p "Type the disk's name ($disk) to go on: " answer
[ "$answer" = "$disk" ] || fail "nothing was written"
case $image in
*.zst) zstd -dc "$image" ;;
*) cat "$image" ;;
esac | dd of="$disk" bs=4M conv=fsync status=progress
sync
echo "Done. Put the disk into the mini PC and switch it on; the screen shows the address."
