{
  description = "Poolbox: a home mining pool box";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    # The template provider inside the node: Bitcoin Core with `-sv2`.
    bitcoin-sv2 = {
      url = "github:Sjors/bitcoin/sv2-tp-0.1.19";
      flake = false;
    };
    # The same author's template provider beside the node, over its mining IPC.
    sv2-tp = {
      url = "github:stratum-mining/sv2-tp/v1.1.0";
      flake = false;
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      bitcoin-sv2,
      sv2-tp,
    }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      perSystem = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      boxes = {
        box = "x86_64-linux";
        box-aarch64 = "aarch64-linux";
      };
      boxOf = system: self.nixosConfigurations.${lib.findFirst (n: boxes.${n} == system) "" (lib.attrNames boxes)};
    in
    {
      packages = perSystem (
        pkgs:
        import ./nix/packages.nix { inherit pkgs bitcoin-sv2 sv2-tp; }
        // {
          default = self.packages.${pkgs.stdenv.hostPlatform.system}.poolbox;
          inherit ((boxOf pkgs.stdenv.hostPlatform.system).config.system.build) image release;
        }
      );

      apps = perSystem (
        pkgs:
        import ./nix/apps.nix {
          inherit pkgs;
          packages = self.packages.${pkgs.stdenv.hostPlatform.system};
        }
      );

      devShells = perSystem (pkgs: {
        default = import ./nix/shell.nix {
          inherit pkgs;
          packages = self.packages.${pkgs.stdenv.hostPlatform.system};
        };
      });

      nixosModules.default =
        { lib, pkgs, ... }:
        let
          packages = self.packages.${pkgs.stdenv.hostPlatform.system};
        in
        {
          imports = [ ./nixos ];
          services.poolbox = {
            package = lib.mkDefault packages.poolbox;
            node.packages = {
              core = lib.mkDefault packages.bitcoin-node;
              branch = lib.mkDefault packages.bitcoin-sv2;
            };
            templateProvider.package = lib.mkDefault packages.sv2-tp;
          };
        };

      nixosConfigurations =
        lib.mapAttrs (
          _: system:
          lib.nixosSystem {
            modules = [
              self.nixosModules.default
              ./nixos/appliance
              { nixpkgs.hostPlatform = system; }
            ];
          }
        ) boxes
        // {
          # Without a template provider: the pool asks Bitcoin Core itself.
          box-ipc = self.nixosConfigurations.box.extendModules {
            modules = [ { services.poolbox.templateProvider.kind = "ipc"; } ];
          };
        };

      checks = perSystem (
        pkgs:
        import ./nix/checks.nix {
          inherit pkgs;
          packages = self.packages.${pkgs.stdenv.hostPlatform.system};
          module = self.nixosModules.default;
        }
      );

      formatter = perSystem (pkgs: pkgs.alejandra);
    };
}
