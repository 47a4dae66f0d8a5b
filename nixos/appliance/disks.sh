# Makes the slots on the disk of the running system, and the data partition on the largest suitable disk: the one
# that has it already, else the system's own or an internal one that is blank. A disk with anything on it is left
# alone, and so is one that is removable.
set -eu

system=$(lsblk -nso PATH,TYPE /dev/mapper/usr | while read -r path type; do
  [ "$type" = disk ] && echo "$path"
done | head -n 1)
[ -n "$system" ] || { echo "the disk of the running system is not found" >&2; exit 1; }

blank() { # no table, no filesystem, nothing that blkid knows
  ! blkid -p "$1" >/dev/null 2>&1
}

data=$system
if [ -e /dev/disk/by-partlabel/poolbox-data ]; then
  data=/dev/$(lsblk -ndo PKNAME /dev/disk/by-partlabel/poolbox-data)
else
  largest=$(lsblk -bdno SIZE "$system")
  for candidate in $(lsblk -dnpo NAME,TYPE,RM,RO | while read -r path type removable readonly; do
    [ "$type $removable $readonly" = "disk 0 0" ] && echo "$path"
  done); do
    size=$(lsblk -bdno SIZE "$candidate")
    if [ "$size" -gt "$largest" ] && blank "$candidate"; then
      data=$candidate largest=$size
    fi
  done
fi
echo "system on $system, data on $data"
repart() {
  systemd-repart --definitions=/etc/poolbox/"$1".d --dry-run=no --empty="$2" "$3"
}
# In one go where it is one disk: the slots must lie before the data, which grows.
if [ "$data" = "$system" ]; then
  repart one-disk refuse "$system"
else
  repart system-disk refuse "$system"
  repart data-disk allow "$data"
fi
udevadm settle --timeout=30
