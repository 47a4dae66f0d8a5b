//! Bytes received and not taken yet.

/// What is read from the network at once.
const READ: usize = 1 << 14;

/// The bytes, and room for more.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// Room to read into; tell [`filled`](Self::filled) how much was read.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && self.bytes.len() - self.end < READ {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() - self.end < READ {
            self.bytes.resize(self.end + READ, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// `count` bytes were read into the room.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// How many bytes wait.
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Takes `count` bytes if so many are there.
    pub fn take(&mut self, count: usize) -> Option<&mut [u8]> {
        let from = self.start;
        let to = from.checked_add(count).filter(|&to| to <= self.end)?;
        self.start = to;
        self.bytes.get_mut(from..to)
    }

    /// Takes a line, its end included, if one is there.
    pub fn take_line(&mut self) -> Option<&mut [u8]> {
        let waiting = self.bytes.get(self.start..self.end)?;
        let length = waiting.iter().position(|&byte| byte == b'\n')? + 1;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(inbox: &mut Inbox, bytes: &[u8]) {
        inbox.room()[..bytes.len()].copy_from_slice(bytes);
        inbox.filled(bytes.len());
    }

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_came_in() {
        let mut inbox = Inbox::default();
        let (mut sent, mut taken) = (0u64, 0u64);
        for round in 0..2000 {
            let count = round * 7 % 300;
            let bytes: Vec<u8> = (sent..sent + count).map(|number| number as u8).collect();
            receive(&mut inbox, &bytes);
            sent += count;
            while let Some(bytes) = inbox.take(113) {
                assert!(bytes.iter().zip(taken..).all(|(&byte, number)| byte == number as u8));
                taken += 113;
            }
            assert_eq!(inbox.len() as u64, sent - taken);
        }
        assert!(inbox.bytes.len() <= 4 * READ, "it grew to {}", inbox.bytes.len());
    }

    #[test]
    fn a_line_is_taken_when_it_is_whole() {
        let mut inbox = Inbox::default();
        receive(&mut inbox, b"first\nsec");
        assert_eq!(inbox.take_line().as_deref(), Some(&b"first\n"[..]));
        assert_eq!(inbox.take_line(), None);
        receive(&mut inbox, b"ond\n");
        assert_eq!(inbox.take_line().as_deref(), Some(&b"second\n"[..]));
        assert_eq!(inbox.take_line(), None);
    }
}
