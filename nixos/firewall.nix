# The ports that other machines may reach: those that people and miners use, and no others.
{
  config,
  lib,
  ...
}:
let
  top = config.services.poolbox;
in
{
  config = lib.mkIf (top.enable && top.openFirewall) {
    networking.firewall.allowedTCPPorts = [
      top.pool.ports.stratumV1
      top.pool.ports.stratumV1Tls
      top.pool.ports.stratumV2
    ]
    ++ lib.optional top.mint.enable top.mint.port
    ++ lib.optionals top.dashboard.enable (
      [ top.dashboard.port ] ++ lib.optional (top.dashboard.tlsPort != null) top.dashboard.tlsPort
    );
  };
}
