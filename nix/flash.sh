# Writes an image of Poolbox to a disk: poolbox-flash IMAGE DISK. Asks before it erases anything.
fail() {
  echo "poolbox-flash: $1" >&2
  exit 2
}

[ $# -eq 2 ] || fail "usage: poolbox-flash IMAGE DISK, as in: poolbox-flash poolbox-x86_64_0.1.0.raw.xz /dev/sdX"
image=$1 disk=$2
[ -f "$image" ] || fail "there is no image $image"
[ -b "$disk" ] || fail "$disk is no disk; lsblk lists them"
[ "$(lsblk -dno TYPE "$disk")" = disk ] || fail "$disk is a part of a disk; name the whole disk"
[ -w "$disk" ] || fail "$disk may not be written by this user; run it with sudo"
if lsblk -nro MOUNTPOINTS "$disk" | grep -q .; then
  fail "$disk is in use (mounted); unmount it, or name another disk"
fi
sums=$(dirname "$image")/SHA256SUMS
if [ -f "$sums" ]; then
  wanted=$(awk -v name="$(basename "$image")" '$2 == name { print $1 }' "$sums")
  [ -n "$wanted" ] || fail "$sums does not list $image; take both from the same release"
  sha256sum <"$image" | grep -q "^$wanted " ||
    fail "$image is damaged: its checksum is not the one in $sums; download it again"
  echo "checksum: as in $sums"
else
  echo "checksum: not compared, there is no $sums"
fi

echo "This erases everything on:"
lsblk -do NAME,SIZE,MODEL,SERIAL "$disk"
read -r -p "Type the disk's name ($disk) to go on: " answer
[ "$answer" = "$disk" ] || fail "nothing was written"
case $image in
*.xz) xz -dc "$image" ;;
*.zst) zstd -dc "$image" ;;
*) cat "$image" ;;
esac | dd of="$disk" bs=4M conv=fsync status=progress
sync
echo "Done. Put the disk into the mini PC and switch it on; the screen shows the address."
