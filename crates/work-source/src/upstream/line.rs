//! Reading lines of bounded length.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::outage::Outage;

/// The longest line: a job whose coinbase pays many, twice its size in hex.
const MAX_LINE_BYTES: usize = 256 << 10;

/// The lines of a stream.
pub struct Lines<R> {
    stream: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer in which there is no newline.
    searched: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::new(), searched: 0 }
    }

    /// The next line, without its newline. Cancel safe.
    pub async fn next(&mut self) -> Result<Vec<u8>, Outage> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=self.searched + end).collect();
                line.pop();
                self.searched = 0;
                return Ok(line);
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE_BYTES {
                return Err(Outage::UpstreamGarbled("a line without end".into()));
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Outage::UpstreamClosed),
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_none_is_endless() {
        let mut lines = Lines::new(&b"one\n\ntwo\r\nthree"[..]);
        for expected in [&b"one"[..], b"", b"two\r"] {
            assert_eq!(lines.next().await.unwrap(), expected);
        }
        assert_eq!(lines.next().await, Err(Outage::UpstreamClosed));
        let long = [vec![b'x'; MAX_LINE_BYTES], b"\n".to_vec()].concat();
        assert_eq!(Lines::new(&long[..]).next().await.unwrap().len(), MAX_LINE_BYTES);
        let endless = tokio::io::repeat(b'x');
        assert!(matches!(Lines::new(endless).next().await, Err(Outage::UpstreamGarbled(_))));
    }
}
