//! A wallet on cashu-ts, run by node: `interop/cashu-ts/wallet.mjs`, told what to do line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

pub struct CashuTs {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl CashuTs {
    pub fn start() -> Self {
        let folder = std::env::var_os("POOLBOX_CASHU_TS")
            .expect("POOLBOX_CASHU_TS is not set; cargo xtask test does it, or set it to what cargo xtask wallets prints");
        let mut command = Command::new("node");
        command.arg("wallet.mjs").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node, which cargo xtask test installs");
        let (orders, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, orders, answers: BufReader::new(answers) }
    }

    /// Does what `order` says; the error in cashu-ts's own words.
    pub fn does(&mut self, what: &str, mut order: Value) -> Result<Value, String> {
        order["do"] = json!(what);
        writeln!(self.orders, "{order}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{what}: answered {line:?}"));
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
            None => Ok(answer),
        }
    }

    /// The same, which has to work.
    #[track_caller]
    pub fn must(&mut self, what: &str, order: Value) -> Value {
        let asked = order.to_string();
        self.does(what, order).unwrap_or_else(|error| panic!("{what} {asked}: {error}"))
    }
}

impl Drop for CashuTs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
