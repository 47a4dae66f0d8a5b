# The box in its home's network: an address by DHCP, `poolbox.local` by mDNS, the time, a firewall. No SSH.
{ lib, ... }:
{
  networking = {
    hostName = lib.mkDefault "poolbox";
    useDHCP = lib.mkDefault true;
    useNetworkd = true;
    nftables.enable = true;
    firewall = {
      enable = true;
      # Silence towards scanners, a refusal towards the home is of no use to it.
      rejectPackets = false;
      logRefusedConnections = false;
    };
  };
  # One cable is enough to be online.
  systemd.network.wait-online.anyInterface = true;

  services.avahi = {
    enable = true;
    openFirewall = true;
    nssmdns4 = true;
    publish = {
      enable = true;
      addresses = true;
    };
    # Found by browsers of the network, and by whoever looks for a pool.
    extraServiceFiles.poolbox = ''
      <?xml version="1.0" standalone='no'?>
      <!DOCTYPE service-group SYSTEM "avahi-service.dtd">
      <service-group>
        <name replace-wildcards="yes">Poolbox on %h</name>
        <service><type>_http._tcp</type><port>80</port></service>
        <service><type>_stratum._tcp</type><port>3333</port></service>
      </service-group>
    '';
  };
  # Avahi answers for the name; two answerers quarrel.
  services.resolved = {
    enable = true;
    settings.Resolve = {
      MulticastDNS = false;
      LLMNR = false;
    };
  };
  services.timesyncd.enable = lib.mkDefault true;
  services.openssh.enable = false;
}
