//! The services of a box, as `apply` names them.

use serde::{Deserialize, Serialize};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// The Bitcoin node.
    Node,
    /// Templates beside the node.
    TemplateProvider,
    /// Miners, jobs, shares.
    Pool,
    /// Quotes, ecash, payouts.
    Mint,
    /// These pages.
    Dashboard,
}

impl Service {
    const ALL: [Self; 5] = [Self::Node, Self::TemplateProvider, Self::Pool, Self::Mint, Self::Dashboard];

    /// As it is written in files and forms.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::TemplateProvider => "template-provider",
            Self::Pool => "pool",
            Self::Mint => "mint",
            Self::Dashboard => "dashboard",
        }
    }

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::TemplateProvider => "Template provider",
            Self::Pool => "Pool",
            Self::Mint => "Mint",
            Self::Dashboard => "Dashboard",
        }
    }

    /// What its restart means for the house.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Node => {
                "Miners keep their last work while the node is away, for two minutes; then they go to their \
                 fallback pools until it is back. It takes a minute or more."
            }
            Self::TemplateProvider => "Miners keep their last work meanwhile. It takes some seconds.",
            Self::Pool => {
                "Mining stops for some seconds: miners are disconnected and come back by themselves, most within \
                 half a minute."
            }
            Self::Mint => {
                "Mining goes on. Wallets wait until it is back: some seconds, two minutes at most. Work is \
                 credited afterwards."
            }
            Self::Dashboard => "These pages are away for some seconds, and you log in again.",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_files_and_forms() {
        for service in Service::ALL {
            assert_eq!(serde_json::to_value(service).unwrap(), service.name());
            assert_eq!(Service::named(service.name()), Some(service));
        }
        assert_eq!(Service::named("sshd"), None);
    }
}
