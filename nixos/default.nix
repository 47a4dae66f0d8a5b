# Poolbox on any NixOS machine: `services.poolbox.enable = true`. One module a service, all in one shape: options,
# then settings file, user and unit; hardening is a default that a service overrides item by item.
# What only the appliance has (image, updates, screen) is in ./appliance.
{
  imports = [
    ./options.nix
    ./node.nix
    ./template-provider.nix
    ./pool.nix
    ./mint.nix
    ./dashboard.nix
    ./firewall.nix
  ];
}
