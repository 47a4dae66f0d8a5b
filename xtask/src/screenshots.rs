//! `cargo xtask screenshots`: pictures of a running dashboard's open pages, light and dark, phone and desktop,
//! by headless Chromium. For looking at what a change of the style does, and for the docs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, ValueExt};

use crate::failure::{bad_flag, usage};
use crate::packages::{self, Needs};

const HELP: &str = "\
cargo xtask screenshots [--url URL] [--out DIR] [PAGE]…

Pictures of the pages of a dashboard that runs (cargo xtask demo), light and dark, phone and desktop, as
DIR/PAGE-desktop-dark.png and the like. Pages that need the admin show the way to the door.

  --url URL  of the dashboard (http://127.0.0.1:3380)
  --out DIR  where the pictures go (target/screenshots)
";

/// Name and address of each page.
const PAGES: [(&str, &str); 11] = [
    ("overview", "/"),
    ("miners", "/miners"),
    ("miner", "/miner?owner=garage&name=one"),
    ("add", "/add"),
    ("why", "/why"),
    ("earnings", "/earnings"),
    ("owner", "/owner?owner=garage"),
    ("claim", "/claim"),
    ("alerts", "/alerts"),
    ("settings", "/settings"),
    ("login", "/login"),
];

/// Name, width and height.
const WINDOWS: [(&str, &str); 2] = [("desktop", "1280,1000"), ("phone", "390,844")];

/// Name, and Chromium's number for it.
const SCHEMES: [(&str, u8); 2] = [("light", 1), ("dark", 0)];

struct Wish {
    url: String,
    out: PathBuf,
    pages: Vec<(&'static str, &'static str)>,
}

/// Runs the command.
pub fn run(arguments: &[OsString]) -> Result<()> {
    let Some(wish) = parse(arguments)? else {
        print!("{HELP}");
        return Ok(());
    };
    packages::install(Needs { crates: false, node: false, tests: true })?;
    fs::create_dir_all(&wish.out).with_context(|| format!("cannot make {}", wish.out.display()))?;
    let out = fs::canonicalize(&wish.out)?;
    let profile = out.join(".profile");
    for (page, path) in &wish.pages {
        for (window, size) in WINDOWS {
            for (scheme, number) in SCHEMES {
                let file = out.join(format!("{page}-{window}-{scheme}.png"));
                picture(&format!("{}{path}", wish.url), &file, size, number, &profile)?;
                println!("{}", file.display());
            }
        }
    }
    fs::remove_dir_all(&profile).with_context(|| format!("cannot remove {}", profile.display()))
}

fn picture(url: &str, file: &Path, size: &str, scheme: u8, profile: &Path) -> Result<()> {
    if file.exists() {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    let mut command = Command::new("chromium");
    command.args(["--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
    // Its sandbox does not run as root, as in a container; it looks at our own pages only.
    command.arg("--no-sandbox").arg(format!("--user-data-dir={}", profile.display()));
    command.arg(format!("--blink-settings=preferredColorScheme={scheme}"));
    command.arg(format!("--window-size={size}")).arg(format!("--screenshot={}", file.display())).arg(url);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.context("cannot start chromium")?;
    if !file.is_file() {
        bail!("chromium made no picture of {url}; does the dashboard run there?");
    }
    Ok(())
}

fn parse(arguments: &[OsString]) -> Result<Option<Wish>> {
    let bad = |error: lexopt::Error| bad_flag(&error, "screenshots");
    let mut wish =
        Wish { url: "http://127.0.0.1:3380".into(), out: "target/screenshots".into(), pages: Vec::new() };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("url") => {
                let url = parser.value().and_then(ValueExt::string).map_err(bad)?;
                wish.url = url.trim_end_matches('/').to_owned();
            }
            Arg::Long("out") => wish.out = parser.value().map_err(bad)?.into(),
            Arg::Value(name) => {
                let page = PAGES.into_iter().find(|(known, _)| name == *known);
                let names: Vec<_> = PAGES.iter().map(|(name, _)| *name).collect();
                let missing = || usage(format!("no page {}; use {}.", name.display(), names.join(", ")));
                wish.pages.push(page.ok_or_else(missing)?);
            }
            other => return Err(bad(other.unexpected())),
        }
    }
    if wish.pages.is_empty() {
        wish.pages = PAGES.to_vec();
    }
    Ok(Some(wish))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Wish>> {
        parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn every_page_is_taken_unless_some_are_named() {
        assert_eq!(parsed("").unwrap().unwrap().pages.len(), PAGES.len());
        let some = parsed("--url http://127.0.0.1:1/ overview why").unwrap().unwrap();
        assert_eq!(some.pages, [("overview", "/"), ("why", "/why")]);
        assert_eq!(some.url, "http://127.0.0.1:1");
        assert!(parsed("--help").unwrap().is_none());
    }

    #[test]
    fn unknown_pages_and_flags_are_refused() {
        for line in ["overvieww", "--ulr x", "--out"] {
            let error = parsed(line).err().unwrap();
            assert_eq!(crate::failure::exit_code(&error), std::process::ExitCode::from(2), "{line}");
        }
    }
}
