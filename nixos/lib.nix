# What the modules share: networks, places, hardening. Plain values, no options.
{ lib, pkgs }:
rec {
  # Where every service keeps its state, one folder each, and below it one for each network: a process refuses
  # the data of another network.
  state = "/var/lib/poolbox";
  logs = "${state}/logs";
  # The node's doors, for its group only. They are in one place whatever the network.
  doors = "/run/poolbox-node";
  cookie = "${doors}/cookie";
  ipc = "${doors}/node.sock";

  # What Bitcoin Core calls our networks, and the section of bitcoin.conf that belongs to each.
  networks = {
    mainnet = {
      chain = "main";
      extra = { };
    };
    testnet4 = {
      chain = "testnet4";
      extra = { };
    };
    signet = {
      chain = "signet";
      extra = { };
    };
    regtest = {
      chain = "regtest";
      extra = { };
    };
    # A private signet whose blocks need no signature. Its chain may have slept for days.
    devnet = {
      chain = "signet";
      extra = {
        signetchallenge = "51";
        connect = "0";
        maxtipage = "3153600000";
      };
    };
  };

  toml = pkgs.formats.toml { };

  # /etc/poolbox/<network>/<file> for each of `networks`, made by `entry`.
  settingsFiles =
    networks: file: entry:
    lib.listToAttrs (map (network: lib.nameValuePair "poolbox/${network}/${file}" (entry network)) networks);

  # As tight as all of our services bear. `systemd-analyze security` must stay at 1.5 or below.
  hardening = {
    NoNewPrivileges = true;
    CapabilityBoundingSet = "";
    AmbientCapabilities = "";
    DevicePolicy = "closed";
    KeyringMode = "private";
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NotifyAccess = "none";
    PrivateDevices = true;
    PrivateMounts = true;
    PrivateTmp = true;
    PrivateUsers = true;
    ProcSubset = "pid";
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    RestrictAddressFamilies = [
      "AF_INET"
      "AF_INET6"
      "AF_UNIX"
    ];
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    SystemCallFilter = [
      "@system-service"
      "~@privileged"
      "~@resources"
    ];
    UMask = "0077";
  };

  # Addresses that only a home network has, and this machine.
  homeAddresses = [
    "localhost"
    "link-local"
    "multicast"
    "10.0.0.0/8"
    "100.64.0.0/10"
    "172.16.0.0/12"
    "192.168.0.0/16"
    "fc00::/7"
  ];

  # Comes back after any end; at most every other second, and for ever: a box has nobody to restart it.
  restarting = {
    Restart = "always";
    RestartSec = 2;
  };

  user = name: extraGroups: {
    users.users.${name} = {
      isSystemUser = true;
      group = name;
      inherit extraGroups;
      description = "Poolbox, ${lib.removePrefix "poolbox-" name}";
    };
    users.groups.${name} = { };
  };
}
