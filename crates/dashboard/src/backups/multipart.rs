//! Forms with a file (`multipart/form-data`), read as they come: a file of gigabytes goes through in small pieces.

use futures::{Stream, StreamExt};

/// Longest head of a part.
const MAX_HEAD: usize = 8192;
/// Longest boundary that the standard allows.
const MAX_BOUNDARY: usize = 70;

/// Why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It ends in the middle: the connection broke off.
    #[error("the upload broke off")]
    Short,
    /// It is not such a form.
    #[error("the upload is not what a browser sends")]
    Malformed,
}

/// A form that is being read.
pub struct Multipart<S> {
    body: S,
    /// What was received and not given on.
    buffer: Vec<u8>,
    /// What ends a part.
    delimiter: Vec<u8>,
    /// Whether a part is not read to its end.
    inside: bool,
}

/// The boundary that a `Content-Type` names.
pub fn boundary(content_type: &str) -> Option<&str> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut pairs = rest.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    let value = value.trim_matches('"');
    (1..=MAX_BOUNDARY).contains(&value.len()).then_some(value)
}

impl<S, B, E> Multipart<S>
where
    S: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
{
    /// A form whose parts `boundary` divides.
    pub fn new(body: S, boundary: &str) -> Self {
        // As if a line came before the first part, as one does before each other.
        Self {
            body,
            buffer: b"\r\n".to_vec(),
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            inside: true,
        }
    }

    /// Goes to the next part and gives its name; none at the end of the form.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn next(&mut self) -> Result<Option<String>, Broken> {
        while self.piece().await?.is_some() {}
        self.fill(2).await?;
        if self.buffer.starts_with(b"--") {
            return Ok(None);
        }
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(Broken::Malformed);
            }
            self.read().await?;
        };
        let head =
            String::from_utf8(self.buffer.drain(..end + 4).collect()).map_err(|_| Broken::Malformed)?;
        self.inside = true;
        name(&head).map(Some).ok_or(Broken::Malformed)
    }

    /// The next piece of the present part; none at its end.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        while self.inside {
            let found = find(&self.buffer, &self.delimiter);
            // What could be the beginning of the end is kept back.
            let whole = found.unwrap_or_else(|| self.buffer.len().saturating_sub(self.delimiter.len() - 1));
            if whole > 0 {
                return Ok(Some(self.buffer.drain(..whole).collect()));
            }
            if found.is_some() {
                self.buffer.drain(..self.delimiter.len());
                self.inside = false;
            } else {
                self.read().await?;
            }
        }
        Ok(None)
    }

    /// A part that is a short text.
    ///
    /// # Errors
    /// [`Broken`], also when it is longer than `most` bytes.
    pub async fn text(&mut self, most: usize) -> Result<String, Broken> {
        let mut text = Vec::new();
        while let Some(piece) = self.piece().await? {
            text.extend(piece);
            if text.len() > most {
                return Err(Broken::Malformed);
            }
        }
        String::from_utf8(text).map_err(|_| Broken::Malformed)
    }

    async fn fill(&mut self, least: usize) -> Result<(), Broken> {
        while self.buffer.len() < least {
            self.read().await?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Broken> {
        match self.body.next().await {
            Some(Ok(bytes)) => self.buffer.extend_from_slice(bytes.as_ref()),
            Some(Err(_)) | None => return Err(Broken::Short),
        }
        Ok(())
    }
}

fn find(buffer: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = buffer.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + at;
        if buffer[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The name that a part's head gives it.
fn name(head: &str) -> Option<String> {
    let line = head.lines().find(|line| {
        line.get(..20).is_some_and(|start| start.eq_ignore_ascii_case("content-disposition:"))
    })?;
    let mut pairs = line.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("name"))?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    type Part = (String, Vec<u8>);

    /// All parts of a form that arrives in pieces of `size`.
    fn read(form: &[u8], size: usize) -> Result<Vec<Part>, Broken> {
        let pieces = form.chunks(size).map(|piece| Ok::<_, Infallible>(piece.to_vec()));
        let mut form = Multipart::new(futures::stream::iter(pieces.collect::<Vec<_>>()), "b0undary");
        futures::executor::block_on(async {
            let mut parts = Vec::new();
            while let Some(name) = form.next().await? {
                let mut content = Vec::new();
                while let Some(piece) = form.piece().await? {
                    content.extend(piece);
                }
                parts.push((name, content));
            }
            Ok(parts)
        })
    }

    fn written(parts: &[Part]) -> Vec<u8> {
        let mut form = Vec::new();
        for (name, content) in parts {
            form.extend(format!("--b0undary\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"x\"\r\nContent-Type: application/octet-stream\r\n\r\n").bytes());
            form.extend(content);
            form.extend(b"\r\n");
        }
        form.extend(b"--b0undary--\r\n");
        form
    }

    #[test]
    fn a_boundary_is_found_and_other_forms_are_none() {
        assert_eq!(boundary("multipart/form-data; boundary=----X7"), Some("----X7"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), Some("a b"));
        for other in
            ["application/x-www-form-urlencoded", "multipart/mixed; boundary=x", "multipart/form-data"]
        {
            assert_eq!(boundary(other), None, "{other}");
        }
        assert_eq!(boundary("multipart/form-data; boundary="), None);
    }

    #[test]
    fn a_form_that_breaks_off_or_is_none_is_no_form() {
        let whole = written(&[("token".to_owned(), b"abc".to_vec())]);
        for end in 0..whole.len() - 4 {
            assert_eq!(read(&whole[..end], 7), Err(Broken::Short), "{end}");
        }
        let nameless = b"--b0undary\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b0undary--";
        assert_eq!(read(nameless, 5), Err(Broken::Malformed));
        let endless = [b"--b0undary\r\n".to_vec(), vec![b'x'; 2 * MAX_HEAD]].concat();
        assert_eq!(read(&endless, 100), Err(Broken::Malformed));
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_file_comes_out_of_it(
            content in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..600),
                prop::collection::vec(prop::sample::select(b"\r\n-b0undary".to_vec()), 0..300),
            ],
            size in 1_usize..80,
        ) {
            prop_assume!(find(&content, b"\r\n--b0undary").is_none() && !content.starts_with(b"--b0undary"));
            let parts = [("token".to_owned(), b"abc".to_vec()), ("file".to_owned(), content)];
            prop_assert_eq!(read(&written(&parts), size).unwrap(), parts);
        }
    }
}
