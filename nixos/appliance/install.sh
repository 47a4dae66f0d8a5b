# Offers to copy the running system to an internal disk: on a box that was started from a removable one.
set -eu
running=$(lsblk -nso PATH,TYPE /dev/mapper/usr | while read -r path type; do
  if [ "$type" = disk ]; then echo "$path"; fi
done | head -n 1)
if [ -z "$running" ] || [ "$(lsblk -dno RM "$running")" != 1 ]; then
  exit 0 # already at home
fi
mapfile -t disks < <(lsblk -dnpo NAME,TYPE,RM,RO | while read -r path type removable readonly; do
  if [ "$type $removable $readonly" = "disk 0 0" ]; then echo "$path"; fi
done)
[ ${#disks[@]} -gt 0 ] || exit 0

chvt 2 2>/dev/null || true
while true; do
  printf '\nPoolbox runs from a stick. It can be installed on a disk inside this machine:\n\n'
  lsblk -do NAME,SIZE,MODEL "${disks[@]}"
  printf '\nThis ERASES that disk. Type its name to go on (as in %s), or press Enter to run from the stick: ' "$(basename "${disks[0]}")"
  read -r name || exit 0
  if [ -z "$name" ]; then
    chvt 1 2>/dev/null || true
    exit 0
  fi
  disk=/dev/${name#/dev/}
  for candidate in "${disks[@]}"; do
    if [ "$candidate" = "$disk" ]; then
      systemd-repart --definitions=/etc/poolbox/install.d --dry-run=no --empty=force "$disk"
      sync
      printf '\nDone. Switch the machine off, pull the stick out, and switch it on again. (Enter: off)\n'
      read -r _ || true
      systemctl poweroff
      exit 0
    fi
  done
  echo "There is no disk $name to install on."
done
