//! A binary COPY, cut anywhere, as tuples.

use super::reading::tuple_len;
use crate::encode::pgcopy;
use crate::error::Error;

/// What is left of a COPY that goes on.
#[derive(Debug, Default)]
pub(super) struct Copy {
    unfinished: Vec<u8>,
    header_read: bool,
}

impl Copy {
    /// Hands over the tuples that are whole.
    pub(super) fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        let mut unfinished = std::mem::take(&mut self.unfinished);
        unfinished.extend_from_slice(bytes);
        let mut rest = &unfinished[..];
        if !self.header_read {
            if rest.len() < pgcopy::HEADER.len() {
                self.unfinished = unfinished;
                return Ok(());
            }
            rest = rest.strip_prefix(&pgcopy::HEADER[..]).ok_or_else(no_copy)?;
            self.header_read = true;
        }
        while let Some(len) = tuple_len(rest) {
            if rest.starts_with(&pgcopy::TRAILER) {
                self.header_read = false;
                rest = &rest[pgcopy::TRAILER.len()..];
                break;
            }
            let Some((tuple, left)) = rest.split_at_checked(len) else { break };
            each(tuple);
            rest = left;
        }
        self.unfinished = rest.to_vec();
        Ok(())
    }
}

fn no_copy() -> Error {
    Error::OutOfRange {
        option: "bytes",
        value: "no COPY".to_owned(),
        allowed: "those of a binary COPY".to_owned(),
    }
}
