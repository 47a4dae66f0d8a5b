//! What the system says of something it was asked for: a word and a time, and below them what the program said.

use serde::Deserialize;

/// What the dashboard asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A backup.
    Backup,
    /// The backup that was made is not needed any more.
    Forget,
    /// The uploaded backup is to take the place of this box.
    Restore,
}

impl Errand {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Backup, Self::Forget, Self::Restore];

    /// Name of its file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Forget => "forget",
            Self::Restore => "restore",
        }
    }
}

/// How far an errand is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It was not asked for since the box started.
    Idle,
    /// It is asked for, and not taken up yet.
    Asked,
    /// Nobody took it up; it is not asked for any more.
    Ignored,
    /// Under way.
    Running {
        /// What is done now.
        step: Step,
        /// Since when, Unix seconds.
        since: u64,
    },
    /// Done.
    Done {
        /// When, Unix seconds.
        at: u64,
        /// What the program said.
        said: String,
    },
    /// Not done.
    Failed {
        /// When, Unix seconds.
        at: u64,
        /// Why, as the program said it.
        said: String,
    },
}

/// What is done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Copying, encrypting, reading back.
    Making,
    /// Reading the uploaded file, with the box running.
    Checking,
    /// The box is stopped, and its files are replaced.
    Restoring,
}

impl Progress {
    /// As it stands in an answer.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, said) = text.split_once('\n')?;
        let (word, at) = head.split_once(' ')?;
        let at = at.trim().parse().ok()?;
        let said = said.trim_end().to_owned();
        let running = |step| Self::Running { step, since: at };
        Some(match word {
            "making" => running(Step::Making),
            "checking" => running(Step::Checking),
            "restoring" => running(Step::Restoring),
            "done" => Self::Done { at, said },
            "failed" => Self::Failed { at, said },
            _ => return None,
        })
    }

    /// Whether something is still to come.
    pub const fn is_under_way(&self) -> bool {
        matches!(self, Self::Asked | Self::Running { .. })
    }
}

/// What a backup says about itself, as far as it is shown here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// When it was made, Unix seconds.
    pub made_at: u64,
    /// Of the box.
    pub network: String,
    /// What is not in it.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
}

/// Something that is not in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LeftOut {
    /// In a sentence.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_word_a_time_and_what_was_said() {
        let said = Progress::parse("failed 1795564800\npoolbox: no\nroom\n");
        assert_eq!(said, Some(Progress::Failed { at: 1_795_564_800, said: "poolbox: no\nroom".to_owned() }));
        let running = Progress::parse("restoring 7\n").unwrap();
        assert!(running.is_under_way());
        assert_eq!(running, Progress::Running { step: Step::Restoring, since: 7 });
        for broken in ["", "done", "done 7", "done x\n", "gone 7\n", " 7\n"] {
            assert_eq!(Progress::parse(broken), None, "{broken}");
        }
    }
}
