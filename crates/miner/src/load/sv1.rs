//! Stratum V1 under load: shares and their answers take a short way, all else the miner's session.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::inbox::Inbox;
use crate::load::mine::Share;
use crate::load::options::LoadOptions;
use crate::load::talker::{self, Heard};
use crate::protocol::Action;
use crate::sv1::{Credentials, Session, reason};
use crate::work::Job;

/// Longest line that is taken.
const MAX_LINE: usize = 1 << 20;
/// The request id of share 0; the session's own are below.
const FIRST_SHARE: u64 = 1000;

/// One connection's protocol.
pub struct Talker {
    session: Session,
    greeting: Vec<Action<String>>,
    user: String,
    job: Option<Prepared>,
}

/// A job, as its shares name it.
struct Prepared {
    /// The line from after the id to extranonce2.
    before: Vec<u8>,
    /// Bits of the version that shares name, where they have to.
    version_mask: u32,
}

impl Talker {
    /// Connection `number`'s.
    pub fn new(options: &LoadOptions, number: usize) -> Self {
        let user = options.user_of(number);
        let credentials = Credentials {
            user: user.clone(),
            password: options.password.clone(),
            user_agent: concat!("poolbox-miner/", env!("CARGO_PKG_VERSION")).into(),
        };
        let (session, greeting) = Session::open(credentials);
        Self { session, greeting, user, job: None }
    }

    fn prepare(&mut self, job: &Job) {
        // JSON strings, quotes included.
        let (user, id) = (Value::from(self.user.as_str()), Value::from(job.id.as_str()));
        let before = format!(r#","method":"mining.submit","params":[{user},{id},""#).into_bytes();
        self.job = Some(Prepared { before, version_mask: job.version_mask });
    }

    fn act(
        &mut self,
        actions: Vec<Action<String>>,
        out: &mut Vec<u8>,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> anyhow::Result<()> {
        for action in actions {
            match action {
                Action::Send(line) => {
                    out.extend_from_slice(line.as_bytes());
                    out.push(b'\n');
                }
                Action::Hash(job) => {
                    self.prepare(&job);
                    hear(Heard::Job(Arc::clone(&job)));
                }
                Action::Reconnect => anyhow::bail!("the pool asked to connect again"),
                _ => {}
            }
        }
        Ok(())
    }
}

impl talker::Talker for Talker {
    fn greet(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let greeting = std::mem::take(&mut self.greeting);
        self.act(greeting, out, &mut |_| {})
    }

    fn receive(
        &mut self,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> anyhow::Result<()> {
        while let Some(line) = inbox.take_line() {
            let line = std::str::from_utf8(line).context("a line that is no text")?;
            match answered_share(line) {
                Some((number, true)) => hear(Heard::Accepted(number)),
                Some((number, false)) => {
                    let answer: Value = serde_json::from_str(line).context("an answer that is no JSON")?;
                    hear(Heard::Rejected(number, &reason(&answer["error"])));
                }
                None => {
                    let actions = self.session.receive(line)?;
                    self.act(actions, out, hear)?;
                }
            }
        }
        ensure!(inbox.len() < MAX_LINE, "a line of more than {MAX_LINE} bytes");
        Ok(())
    }

    fn submit(&mut self, share: Share<'_>, number: u32, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let job = self.job.as_ref().context("a share before its job")?;
        write!(out, r#"{{"id":{}"#, FIRST_SHARE + u64::from(number))?;
        out.extend_from_slice(&job.before);
        push_hex(share.extranonce2, out);
        for word in [share.time, share.nonce] {
            out.extend_from_slice(br#"",""#);
            push_hex(&word.to_be_bytes(), out);
        }
        if job.version_mask != 0 {
            out.extend_from_slice(br#"",""#);
            push_hex(&(share.version & job.version_mask).to_be_bytes(), out);
        }
        out.extend_from_slice(b"\"]}\n");
        Ok(())
    }
}

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// The number of the share that this line answers, and whether it is accepted.
fn answered_share(line: &str) -> Option<(u32, bool)> {
    let after = |name: &str| {
        let rest = &line[line.find(name)? + name.len()..];
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    };
    let id = after("\"id\"")?;
    let digits = id.bytes().take_while(u8::is_ascii_digit).count();
    let number = id[..digits].parse::<u64>().ok()?.checked_sub(FIRST_SHARE)?;
    // A request of the pool's own has a method and no result.
    let accepted = after("\"result\"")?.starts_with("true");
    Some((u32::try_from(number).ok()?, accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_shares_are_told_from_everything_else() {
        assert_eq!(answered_share(r#"{"id":1007,"result":true,"error":null}"#), Some((7, true)));
        assert_eq!(answered_share(r#"{"error": null, "result" : true, "id" : 1000}"#), Some((0, true)));
        let refused = r#"{"id":1001,"result":null,"error":[21,"Stale",null]}"#;
        assert_eq!(answered_share(refused), Some((1, false)));
        for other in [
            r#"{"id":3,"result":true,"error":null}"#,
            r#"{"id":null,"method":"mining.notify","params":["1001"]}"#,
            r#"{"id":1001,"method":"mining.ping","params":[]}"#,
            "{}",
            "",
        ] {
            assert_eq!(answered_share(other), None, "{other}");
        }
    }
}
