#!/bin/bash
# Runs as root inside the booted appliance (`cargo xtask box`). One line a check: `ok  …` or `FAILED  …`; lines
# `score  UNIT NUMBER` are judged outside.
set -uo pipefail
state=/var/lib/poolbox
services="node template-provider pool mint dashboard"
# Of the kind `ipc`, the pool asks the node itself; all else is looked at with the other kind.
provider=sv2-tp
if ! systemctl --quiet cat poolbox-template-provider >/dev/null 2>&1; then
  provider=ipc services="node pool mint dashboard"
fi
failed=0

check() { # WHAT COMMAND…
  local what=$1
  shift
  if "$@" >/tmp/said 2>&1; then
    echo "ok  $what"
  else
    echo "FAILED  $what: $(tail -n 3 /tmp/said | tr '\n' ' ')"
    failed=1
  fi
}
within() { # SECONDS COMMAND…
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.5
  done
}
not() { ! "$@"; }
as() { runuser -u "$1" -- "${@:2}"; }
cli() {
  bitcoin-cli -noipcconnect -datadir=/tmp -rpccookiefile=/run/poolbox-node/cookie -rpcport=8332 -rpcclienttimeout=0 "$@"
}
api() { curl --silent --fail --max-time 5 --unix-socket "$state/$1/$1.sock" "http://$1$2"; }
json() { python3 -c "import json, sys; it = json.load(sys.stdin); sys.exit(0 if ($1) else 1)"; }
runs() {
  local service
  for service in $services; do systemctl --quiet is-active "poolbox-$service" || return 1; done
}
chain_is() { cli getblockchaininfo | json "it['chain'] == '$1'"; }
pool_says() { api pool /status | json "$1"; }
mint_says() { poolbox --state $state status --json | json "$1"; }
PATH=/opt/box/bin:$PATH

# --- mainnet, as it comes out of the image
check "every service starts" within 60 runs
check "the network is mainnet until another is chosen" within 60 chain_is main
check "the node's RPC does not stop the node" not cli stop
check "settings that name no network are refused" bash -c "
  runuser -u poolbox-dashboard -- sh -c 'echo no network >$state/settings/network' && systemctl restart poolbox-settings &&
  grep -q mainnet /run/poolbox/settings/environment && systemctl start $(printf 'poolbox-%s ' $services)"

keeps() { # WORD PRUNE: what the dashboard writes, and what the node is told
  as poolbox-dashboard sh -c "echo '$1' >$state/settings/node-size" && systemctl reload poolbox-settings &&
    grep -qx -- "NODE_ARGUMENTS=-prune=$2" /run/poolbox/node.env
}
usual=$(sed 's/.*=//' /run/poolbox/node.env)
check "a node that keeps little" keeps small 10000
check "a node that keeps more" keeps medium 50000
check "a node that keeps all blocks" keeps all 0
check "a word that is none counts for nothing" keeps 'all; reboot' "$usual"
blocks=$state/node/mainnet/blocks
mv $blocks/blk00000.dat /tmp/ && touch $blocks/blk00001.dat
check "a node that has removed blocks is not asked for all" keeps all "$([ "$usual" = 0 ] && echo 50000 || echo "$usual")"
rm $blocks/blk00001.dat && mv /tmp/blk00000.dat $blocks/
check "as the disk allows" bash -c "rm $state/settings/node-size && systemctl reload poolbox-settings &&
  grep -qx -- NODE_ARGUMENTS=-prune=$usual /run/poolbox/node.env"

# --- devnet, chosen as the dashboard would
as poolbox-dashboard sh -c "echo devnet >$state/settings/network && echo '$services' >$state/settings/apply"
check "the dashboard's choice of a network is applied" within 60 chain_is signet
check "devnet's first block" within 30 cli generatetodescriptor 1 'raw(51)#8lvh9jxk' 400000000
check "every service runs again" within 60 runs
check "the pool has work from $provider" within 60 pool_says "it['source']['height']"

# --- miners in the home's network, behind the firewall
ip netns add lan
ip link add eth0 type veth peer name peer netns lan
ip addr add 10.77.0.1/24 dev eth0
ip link set eth0 up
ip -n lan addr add 10.77.0.2/24 dev peer
ip -n lan link set peer up
ip -n lan link set lo up
ip route add default via 10.77.0.2
key=$(cat $state/pool/devnet/sv2_authority.pub)
miners=
mine() {
  ip netns exec lan poolbox-miner --url "$1" --user "$2" --threads 1 --max-hashrate 120k >"/tmp/miner-$2" 2>&1 &
  miners="$miners $!"
}
mine_both() {
  mine stratum+tcp://10.77.0.1:3333 garage.one
  mine "stratum2+tcp://10.77.0.1:34254/$key" attic.two
}
mine_both
check "miners of the network are served, Sv1 and Sv2" within 120 pool_says \
  "sum(1 for w in it['workers'] if w['accepted'] > 2) == 2"
check "their shares become ehash" within 60 mint_says "any(e['work'] > 0 for e in it['epochs'])"
check "the box is healthy" systemctl restart poolbox-healthy
poolbox --state $state screen --once --code-file $state/dashboard/presence.code \
  --certificate-file $state/dashboard/https.pem | sed 's/^/screen  /'

# --- the firewall
open_port() { ip netns exec lan timeout 3 bash -c "exec 3<>/dev/tcp/10.77.0.1/$1"; }
here() { timeout 3 bash -c "exec 3<>/dev/tcp/127.0.0.1/$1"; }
for port in 3333 4333 34254 3338 80 443; do
  check "port $port answers the network" open_port $port
done
# Something that would answer, if it were asked.
(cd /tmp && mkdir -p empty && exec python3 -m http.server --bind 0.0.0.0 --directory empty 8000 >/dev/null 2>&1) &
stranger=$!
check "a service nobody named answers here" within 30 here 8000
for port in 8000 22 8332 8442 8333 38333; do
  check "port $port does not answer the network" not open_port $port
done
kill $stranger

# --- who may read what
check "the pool may not read the mint's seed" not as poolbox-pool cat $state/mint/devnet/seed
check "the dashboard may not read the mint's books" not as poolbox-dashboard cat $state/mint/devnet/mint.sqlite
check "the mint reads the journal" as poolbox-mint head -c 16 $state/pool/devnet/journal.sqlite
check "the mint may not write the journal" not as poolbox-mint test -w $state/pool/devnet/journal.sqlite
check "the mint may not read the pool's key" not as poolbox-mint cat $state/pool/devnet/sv2_authority.key
check "the dashboard reads every log" as poolbox-dashboard cat $state/logs/{node,pool,mint}.log
check "a stranger reads no log" not as nobody cat $state/logs/pool.log
check "a stranger does not reach the node" not as nobody cat /run/poolbox-node/cookie
check "the presence code is there" as poolbox-dashboard test -s $state/dashboard/presence.code
check "the presence code is for nobody else" not as poolbox-pool cat $state/dashboard/presence.code
[ $provider = ipc ] || check "the template provider's keys are its own" not as poolbox-pool ls $state/template-provider

# --- killed, and back
returns() { # SERVICE
  local unit=poolbox-$1 pid now
  pid=$(systemctl show --property MainPID --value "$unit")
  [ "$pid" -gt 1 ] && kill -9 "$pid" || return 1
  another() {
    now=$(systemctl show --property MainPID --value "$unit")
    [ "$now" -gt 1 ] && [ "$now" != "$pid" ] && systemctl --quiet is-active "$unit"
  }
  within 60 another
}
for service in $services; do
  [ $service = node ] || check "$service returns after kill -9" returns $service
done
# What the node has not written is lost with it, and here no peer has it.
cli gettxoutsetinfo >/dev/null
check "node returns after kill -9" returns node
on_the_tip() { pool_says "it['source']['connected'] and it['source']['height'] == $(cli getblockcount) + 1"; }
check "the pool has work again" within 90 on_the_tip
shares() { api pool /status | python3 -c "import json, sys; print(json.load(sys.stdin)['journal']['shares'])"; }
before=$(shares)
more() { [ "$(shares)" -gt "$before" ]; }
check "miners go on by themselves" within 120 more
check "the mint goes on by itself" within 60 mint_says "it['mint']['chain']['connected']"
check "the box is healthy again" systemctl restart poolbox-healthy

# --- a clean stop of the pool leaves a journal that the mint can still open
systemctl stop poolbox-pool
check "the mint starts while the pool is stopped" bash -c "systemctl restart poolbox-mint && sleep 3 && systemctl --quiet is-active poolbox-mint"
systemctl start poolbox-pool
check "and finds the journal when it is back" within 60 mint_says "it['mint'] and it['pool']"

# --- settings changed in the browser
page=http://127.0.0.1
jar=/tmp/cookies
browse() { curl --silent --max-time 60 --cookie $jar --cookie-jar $jar "$@"; }
hidden() { grep -o "name=\"$1\" value=\"[^\"]*" | head -n 1 | cut -d '"' -f 4; }
pid_of() { systemctl show --property MainPID --value "poolbox-$1"; }
pids() { local service; for service in $services; do echo "$service $(pid_of "$service")"; done; }
only() { # SERVICE: whether it alone was restarted, and runs
  local now
  now=$(pids | grep -v "^$1 ")
  [ "$now" = "$(grep -v "^$1 " /tmp/pids)" ] && [ "$(pid_of "$1")" -gt 1 ] && ! grep -qx "$1 $(pid_of "$1")" /tmp/pids
}
enter() { # PASSWORD
  browse --data-urlencode code="$(cat $state/dashboard/presence.code)" --data-urlencode "password=$1" --data-urlencode "again=$1" \
    --write-out '%{redirect_url}' --output /dev/null $page/setup | grep -q /start && take_token
}
take_token() { token=$(browse $page/settings | hidden token) && [ -n "$token" ]; }
log_in() { # PASSWORD
  browse --data-urlencode "password=$1" --output /dev/null $page/login && take_token
}
choose() { # WHAT=VALUE…
  local preview
  pids >/tmp/pids
  preview=$(browse --data "token=$token&$1" $page/settings/preview) || return 1
  grep -q "Nothing has been changed yet" <<<"$preview" || { echo "$preview"; return 1; }
  browse --data "token=$token&$1&basis=$(hidden basis <<<"$preview")" --write-out '%{redirect_url}' --output /tmp/said-page \
    $page/settings/apply >/tmp/went
  change=$(sed -n 's/.*id=\([0-9]*\).*/\1/p' /tmp/went)
  [ -n "$change" ] || { cat /tmp/said-page; return 1; }
}
told() { browse "$page/settings/change?id=$change" | grep -q "$1"; }
check "the code on the screen sets the password" enter "a long secret"
check "what the pool and the mint refuse is refused" bash -c "
  curl --silent --cookie $jar --data 'token=$token&onchain=10' $page/settings/preview | grep -q 'must be 1000 or more'"
check "a fee is chosen" choose fee=1
check "the mint alone restarts for it" within 60 only mint
check "and the page says that it is done" within 60 told "Done\."
check "the mint reads it" grep -q 'fee_ppm = 10000' /run/poolbox/settings/mint.toml
pids >/tmp/pids
check "the fee is undone" browse --fail --data "token=$token&id=$change" $page/settings/undo
check "the mint alone restarts for that too" within 60 only mint
check "and the page says so" within 60 told "Undone: "
check "nothing is chosen any more" not test -e "$state/settings/$(sed 's/.*=//' /run/poolbox/settings/environment)/mint.toml"
check "what the node keeps on mainnet is chosen" choose node=small
check "nothing has to restart for it here" within 60 told "Done\."
check "the system has it" grep -qx small /run/poolbox/settings/node-size
check "that is undone" browse --fail --data "token=$token&id=$change" $page/settings/undo
check "and gone" within 60 not test -e /run/poolbox/settings/node-size
reaches_all() { systemctl show --property IPAddressAllow poolbox-pool | grep -q "0\.0\.0\.0/0"; }
check "the pool reaches home networks alone" not reaches_all
check "the miners are to work for another pool" choose "mode=proxy&upstream_url=10.77.0.9:3333&upstream_user=me"
check "the pool alone restarts for that" within 60 only pool
check "it looks for that pool" within 60 pool_says "it['mode'] == 'proxy' and it['upstream']['user'] == 'me' and it['source']['trouble']"
check "it may reach everybody" reaches_all
check "that is undone as well" browse --fail --data "token=$token&id=$change" $page/settings/undo
check "the pool has work of its own" within 90 pool_says "it['mode'] == 'pool' and it['source']['connected']"
check "and reaches home networks alone again" not reaches_all
pids >/tmp/pids
check "the pool is asked to restart" browse --fail --data "token=$token&service=pool" $page/settings/restart
check "the pool alone restarts" within 60 only pool

# --- which versions there are
kernels=/boot/EFI/Linux
kernel=poolbox-$(uname -m)
there_is() { # ENTRY…: on the boot partition, beside the version that runs
  local running entry
  running=$(sed -n 's/^running //p' /run/poolbox/versions)
  rm -rf $kernels && mkdir -p $kernels && touch "$kernels/${kernel}_$running.efi"
  for entry in "$@"; do touch "$kernels/${kernel}_$entry.efi"; done
  systemctl start poolbox-versions
}
shows() { browse "$page$1" | grep -q "$2"; }
check "the system says which version runs" systemctl start poolbox-versions
check "an update is installed" there_is 98.0+3-0
check "the page tells that it waits for the next start" within 30 shows /settings "Update ready"
check "and it is an alert" within 30 shows /alerts "Version 98.0 is installed"
check "the update is given up" there_is 98.0+0-3
check "the page tells that too" within 30 shows /settings "Update failed"
check "and it is an alert as well" within 30 shows /alerts "Version 98.0 did not work"
check "all of it is over" there_is

# --- lost, and back from the backup that was made on the page while it ran
passphrase="four words at random"
secret="--passphrase-file /tmp/passphrase"
echo "$passphrase" >/tmp/passphrase
send() { # PATH DATA…: whether the form was taken; what the page says is in /tmp/said-page
  local path=$1
  shift
  browse --data "token=$token" "$@" --write-out '%{redirect_url}' --output /tmp/said-page "$page$path" >/tmp/went
  [ -s /tmp/went ] || { grep -o 'role="alert">.*' /tmp/said-page; return 1; }
}
write_down() {
  local first second
  browse --data "token=$token" $page/seed/show >/tmp/seed-page
  grep -o '<li class="mono">[a-z]*' /tmp/seed-page | sed 's/.*>//' >/tmp/words
  [ "$(xargs </tmp/words)" = "$(xargs <$state/mint/devnet/seed)" ] || return 1
  first=$(hidden first </tmp/seed-page) second=$(hidden second </tmp/seed-page)
  send /seed/confirm --data "first=$first&first_word=$(sed -n "${first}p" /tmp/words)" \
    --data "second=$second&second_word=$(sed -n "${second}p" /tmp/words)"
}
upload() {
  browse --form "token=$token" --form "file=@/tmp/box.age" --write-out '%{redirect_url}' --output /tmp/said-page \
    $page/backup/upload | grep -q /backup/restore || { grep -o 'role="alert">.*' /tmp/said-page; return 1; }
}
refused_for() { grep -q "$1" /tmp/said-page; }
answers() { grep -q "$2" /run/poolbox/answers/$1; }
still() { [ "$(pids)" = "$(cat /tmp/pids)" ]; }
ask_as_dashboard() { # whatever the pages would say: what the dashboard may do, if somebody took it over
  as poolbox-dashboard cp /tmp/box.age $state/upload/box.age &&
    as poolbox-dashboard sh -c "echo '$passphrase' >/run/poolbox/requests/restore"
}
claims_ehash() { # of the first epoch in which this miner has any: a block may come before its first share
  local epoch
  for epoch in 1 2 3 4 5 6; do poolbox claim garage --ehash $epoch --amount 1 && return; done
  return 1
}
lost_and_back() {
  local own="poolbox-dashboard poolbox-pool poolbox-mint poolbox-mint-init" before
  check "the seed's words are shown and written down" write_down
  check "they are not shown again" bash -c "! grep -q 'class=\"mono\"' <<<\"\$(curl --silent --cookie $jar --data token=$token $page/seed/show)\""
  check "somebody has ecash" within 60 claims_ehash
  check "the audit agrees" poolbox audit
  before=$(shares)
  check "a backup is asked for on the page" send /backup/make --data-urlencode "passphrase=$passphrase" --data-urlencode "again=$passphrase"
  check "it is made while the box works" within 60 shows /backup "Your backup is ready"
  check "it comes to the browser" browse --fail --output /tmp/box.age $page/backup/file
  check "it is what the command line reads" poolbox backup --check /tmp/box.age $secret
  check "the page tells when the last one was made" shows /settings "The last backup was made"
  chmod 0644 /tmp/box.age
  check "the dashboard may not write where it is" not as poolbox-dashboard touch $state/backup/box.age.partial
  check "nobody else may read it" not as poolbox-pool cat $state/backup/box.age
  check "it goes when it is not needed" bash -c "curl --silent --fail --cookie $jar --data token=$token $page/backup/forget"
  check "it is gone" within 30 not test -e $state/backup/box.age
  check "a box that people have something of is not replaced" not upload
  check "and the page says why" refused_for "in use and is not replaced"
  pids >/tmp/pids
  check "nor is it when the dashboard asks for it" ask_as_dashboard
  check "the system itself refuses" within 60 answers restore "in use and is not replaced"
  check "nothing was stopped for it" still
  check "a restore refuses while the box runs" not poolbox restore /tmp/box.age $secret
  # A block that the next box finds would be something that people have of it.
  kill $miners
  systemctl stop $own
  mkdir /tmp/lost
  mv $state/{dashboard,mint,pool} /tmp/lost/
  rm $state/upload/box.age
  systemctl start $own
  check "a machine with nothing makes a box of its own" within 60 runs
  check "which is another one" not cmp $state/pool/devnet/sv2_authority.pub /tmp/lost/pool/devnet/sv2_authority.pub
  check "it is set up" within 30 enter "another long secret"
  check "the backup is uploaded" within 30 upload
  pids >/tmp/pids
  check "a restore is asked for with a wrong passphrase" send /backup/restore --data passphrase=four+other+words
  check "and refused, with the reason" within 60 shows /backup/restore "does not open with this passphrase"
  check "nothing was stopped for that either" still
  check "it is asked for with the right one" send /backup/restore --data-urlencode "passphrase=$passphrase"
  check "the box is restored" within 120 shows /backup/restore "The box is back"
  check "every service runs on what was restored" within 60 runs
  check "the seed is the old one" cmp $state/mint/devnet/seed /tmp/lost/mint/devnet/seed
  check "miners know the pool by its old key" cmp $state/pool/devnet/sv2_authority.pub /tmp/lost/pool/devnet/sv2_authority.pub
  check "the journal is the backup's" within 60 pool_says "it['journal']['shares'] >= $before"
  check "the mint reads it, and signs nothing yet" within 60 mint_says \
    "it['mint']['restored'] and not it['mint']['halted'] and any(e['work'] > 0 for e in it['epochs'])"
  check "the new box's password opens it" within 30 log_in "another long secret"
  check "what was uploaded is gone" not test -e $state/upload/box.age
  check "its owner lets it sign again" within 60 send /backup/accept
  check "and it does" within 60 shows /backup/restore "The mint signs again"
  check "the pool has work" within 60 on_the_tip
  before=$(shares)
  mine_both
  check "miners go on" within 120 more
  check "their work is credited" within 60 mint_says "it['mint']['queue']['waiting'] == 0 and not it['mint']['halted']"
  check "the audit agrees again" poolbox audit
  check "no passphrase is left on the box" not grep --recursive --quiet --binary-files=text "$passphrase" $state /run/poolbox
  check "nor in the journal" not bash -c "journalctl --no-pager | grep --quiet '$passphrase'"
  check "the box is healthy after all that" systemctl restart poolbox-healthy
}
[ $provider = ipc ] || lost_and_back

# --- exposure
for unit in $(systemctl list-units --all --plain --no-legend 'poolbox-*.service' | awk '{ print $1 }'); do
  echo "score  $unit $(systemd-analyze security --no-pager "$unit" | awk '/Overall exposure level/ { print $(NF - 2) }')"
done
systemctl --failed --no-legend --plain | awk '{ print $1 }' >/tmp/failed-units
check "nothing failed" test ! -s /tmp/failed-units
kill $(jobs -p) 2>/dev/null
exit $failed
