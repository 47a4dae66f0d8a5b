//! Whether boxes find a release: the names of its files, as the image is made under them, against the patterns that
//! systemd-sysupdate looks for. All of it as evaluated.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::evaluator::Evaluator;

/// A UUID as systemd-repart writes it into a file's name.
const UUID: &str = "0123456789abcdef0123456789abcdef";

/// What is evaluated of an appliance that updates itself.
const QUESTION: &str = r#"
box:
let
  updates = { url = "https://example.org/"; keyring = "/dev/null"; };
  inherit (box.extendModules { modules = [ { services.poolbox = { inherit updates; }; } ]; }) config;
  list = value: if builtins.isList value then value else [ value ];
in {
  inherit (config.system.image) version;
  inherit (config.image) baseName extension;
  kernel = config.system.boot.loader.ukiFile;
  partitions = builtins.mapAttrs (_: partition: {
    split = partition.repartConfig.SplitName or "%t";
    label = partition.repartConfig.Label or "";
  }) config.image.repart.partitions;
  transfers = builtins.mapAttrs (_: transfer: {
    source = list transfer.Source.MatchPattern;
    target = list transfer.Target.MatchPattern;
  }) config.systemd.sysupdate.transfers;
}
"#;

#[derive(Debug)]
struct Release {
    version: String,
    base_name: String,
    extension: String,
    kernel: String,
    partitions: BTreeMap<String, Partition>,
    transfers: BTreeMap<String, Transfer>,
}

#[derive(Debug)]
struct Partition {
    split: String,
    label: String,
}

#[derive(Debug)]
struct Transfer {
    source: Vec<String>,
    target: Vec<String>,
}

/// Compares them for the appliance `name` of the flake; gives each transfer with its file.
pub fn check(evaluator: &Evaluator, name: &str) -> Result<Value> {
    let evaluated: Value = serde_json::from_str(&evaluator.apply(name, QUESTION)?)?;
    Release::read(&evaluated)
        .and_then(|release| release.transfers())
        .with_context(|| format!("the releases of {name}"))
}

impl Release {
    fn read(evaluated: &Value) -> Result<Self> {
        let mut release = Self {
            version: text(evaluated, "version")?,
            base_name: text(evaluated, "baseName")?,
            extension: text(evaluated, "extension")?,
            kernel: text(evaluated, "kernel")?,
            partitions: BTreeMap::new(),
            transfers: BTreeMap::new(),
        };
        for (name, it) in evaluated["partitions"].as_object().into_iter().flatten() {
            let partition = Partition { split: text(it, "split")?, label: text(it, "label")? };
            release.partitions.insert(name.clone(), partition);
        }
        for (name, it) in evaluated["transfers"].as_object().into_iter().flatten() {
            let transfer = Transfer { source: texts(it, "source"), target: texts(it, "target") };
            release.transfers.insert(name.clone(), transfer);
        }
        Ok(release)
    }

    /// The files that are uploaded.
    fn files(&self) -> Vec<String> {
        let Self { base_name, extension, .. } = self;
        let splits = self.partitions.values().filter(|partition| partition.split != "-");
        let mut files: Vec<String> =
            splits.map(|it| format!("{base_name}.{}.{extension}", it.split.replace("%U", UUID))).collect();
        files.extend([format!("{base_name}.{extension}"), self.kernel.clone()]);
        files
    }

    fn transfers(&self) -> Result<Value> {
        let (files, version) = (self.files(), self.version.as_str());
        let mut found = BTreeMap::new();
        for (name, transfer) in &self.transfers {
            let [file] = matching(&transfer.source, &files)[..] else {
                let (patterns, files) = (transfer.source.join(" "), files.join(", "));
                anyhow::bail!("{name} looks for {patterns}, which is not one of {files}");
            };
            found.insert(name.as_str(), file.0);
            ensure!(file.1 == version, "{name} takes {} for version {}, not {version}", file.0, file.1);
            // What is installed must be found by the next update, or it is never replaced.
            let labels = self.partitions.values().map(|partition| partition.label.clone());
            let installed: Vec<String> = labels.chain([self.kernel.clone()]).collect();
            let own = matching(&transfer.target, &installed);
            ensure!(
                matches!(own[..], [(_, found)] if found == version),
                "{name} does not see that {version} is installed as one of {}",
                installed.join(", ")
            );
        }
        ensure!(
            found.len() == 3,
            "a box takes {} files of a release, not store, hashes and kernel",
            found.len()
        );
        Ok(json!(found))
    }
}

fn text(value: &Value, key: &str) -> Result<String> {
    let text = value[key].as_str().with_context(|| format!("the evaluation has no text {key}"))?;
    Ok(text.to_owned())
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    value[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The names that one of `patterns` matches, each with its version.
fn matching<'a>(patterns: &[String], names: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let version = |name: &'a String| patterns.iter().find_map(|pattern| version_in(pattern, name));
    names.iter().filter_map(|name| Some((name.as_str(), version(name)?))).collect()
}

/// The version in `name` by a pattern of systemd-sysupdate, such as `box_@v+@l.efi`: a field goes up to the text that
/// follows it. None when it does not match.
fn version_in<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let mut parts = pattern.split('@');
    let mut rest = name.strip_prefix(parts.next()?)?;
    let mut version = None;
    for part in parts {
        let (field, text) = part.split_at_checked(1)?;
        let value = if text.is_empty() { rest } else { rest.split_once(text)?.0 };
        let fits = match field {
            "v" => value.chars().all(|c| c.is_ascii_alphanumeric() || "-._+~^".contains(c)),
            "u" => {
                value.replace('-', "").len() == UUID.len()
                    && value.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
            }
            "l" | "d" => value.chars().all(|c| c.is_ascii_digit()),
            _ => return None,
        };
        if !fits || value.is_empty() {
            return None;
        }
        version = version.or((field == "v").then_some(value));
        rest = &rest[value.len() + text.len()..];
    }
    version.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        let text = json!({
            "version": "1.2.0", "baseName": "box-x_1.2.0", "extension": "raw.xz", "kernel": "box-x_1.2.0+3.efi",
            "partitions": {
                "esp": { "split": "-", "label": "" },
                "store": { "split": "store_%U", "label": "store_1.2.0" },
                "verity": { "split": "verity_%U", "label": "verity_1.2.0" },
            },
            "transfers": {
                "store": { "source": ["box-x_@v.store_@u.raw.xz"], "target": ["store_@v"] },
                "verity": { "source": ["box-x_@v.verity_@u.raw.xz"], "target": ["verity_@v"] },
                "kernel": {
                    "source": ["box-x_@v+@l-@d.efi", "box-x_@v+@l.efi", "box-x_@v.efi"],
                    "target": ["box-x_@v+@l-@d.efi", "box-x_@v+@l.efi", "box-x_@v.efi"],
                },
            },
        });
        Release::read(&text).unwrap()
    }

    #[test]
    fn a_release_is_found_by_the_patterns_that_fit_it() {
        let found = release().transfers().unwrap();
        assert_eq!(found["kernel"], "box-x_1.2.0+3.efi");
        assert_eq!(found["store"], format!("box-x_1.2.0.store_{UUID}.raw.xz"));
    }

    #[test]
    fn another_name_another_packing_and_a_label_that_says_nothing_are_noticed() {
        let refused = |change: fn(&mut Release)| {
            let mut release = release();
            change(&mut release);
            release.transfers().unwrap_err().to_string()
        };
        assert!(refused(|it| it.base_name = "box-y_1.2.0".into()).contains("looks for"));
        assert!(refused(|it| it.extension = "raw.zst".into()).contains("looks for"));
        assert!(refused(|it| it.kernel = "box_1.2.0.efi".into()).contains("kernel looks for"));
        let unlabelled = refused(|it| it.partitions.get_mut("store").unwrap().label = "store".into());
        assert!(unlabelled.contains("does not see"), "{unlabelled}");
    }

    #[test]
    fn fields_end_where_the_next_text_begins() {
        assert_eq!(version_in("a_@v+@l-@d.efi", "a_1.2+3-0.efi"), Some("1.2"));
        assert_eq!(version_in("a_@v+@l.efi", "a_1.2.efi"), None);
        assert_eq!(version_in("a_@v", "a_1.2"), Some("1.2"));
        assert_eq!(version_in("a_@v.efi", "a_1.2.efi.old"), None);
    }
}
