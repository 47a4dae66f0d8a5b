//! Whether pool and mint would take a settings file: asked of themselves, before anything is changed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use super::choice::{Field, Mistake};

/// Exit status of a program whose settings a person has to change.
const MISCONFIGURED: i32 = 2;
/// A program that has not answered by then hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `program` whether it would start with `text`, written to `file` in `dir` for that.
///
/// # Errors
/// [`Mistake`] with the program's sentence, or that it cannot be asked.
pub async fn check(program: &Path, dir: &Path, file: &str, text: &str) -> Result<(), Mistake> {
    match ask(program, dir, file, text).await {
        Ok(None) => Ok(()),
        Ok(Some(sentence)) => Err(Mistake { field: Field::of_key(&sentence), sentence }),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "settings cannot be checked");
            Err(Mistake::of_box(
                "The new settings could not be checked, so nothing was changed; see the log.",
            ))
        }
    }
}

async fn ask(program: &Path, dir: &Path, file: &str, text: &str) -> anyhow::Result<Option<String>> {
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let path = dir.join(file);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&path).arg("check").stdin(Stdio::null()).kill_on_drop(true);
    let shown = program.display();
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let ended = ended.with_context(|| format!("{shown} does not end"))?;
    let ended = ended.with_context(|| format!("start {shown}"))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    match ended.status.code() {
        Some(0) => Ok(None),
        Some(MISCONFIGURED) => {
            let line = said.lines().next().unwrap_or_default();
            Ok(Some(line.split_once(": ").map_or(line, |(_, sentence)| sentence).to_owned()))
        }
        _ => anyhow::bail!("{shown} ended with {}: {}", ended.status, said.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::FAKE_CHECK;
    use super::*;

    #[tokio::test]
    async fn a_programs_own_sentence_comes_back_with_its_field() {
        let dir = tempfile::tempdir().unwrap();
        let fake = Path::new(FAKE_CHECK);
        check(fake, dir.path(), "pool.toml", "network = 'devnet'").await.unwrap();
        let mistake = check(fake, dir.path(), "pool.toml", "refused = true").await.unwrap_err();
        assert_eq!(mistake.field, Some(Field::Onchain));
        assert_eq!(mistake.sentence, "payouts.onchain_threshold_sat = 10 must be 1000 or more");
    }

    #[tokio::test]
    async fn a_program_that_breaks_or_is_not_there_is_no_consent() {
        let dir = tempfile::tempdir().unwrap();
        for program in ["/bin/false", "/nowhere/poolbox-pool"] {
            let mistake = check(Path::new(program), dir.path(), "pool.toml", "").await.unwrap_err();
            assert!(mistake.sentence.contains("nothing was changed"), "{}", mistake.sentence);
        }
    }
}
