//! Server-sent events, read as they come (WHATWG HTML §9.2.6).
//!
//! Only messages are given: events without data (keep-alives, and the priming events of MCP
//! 2025-11-25) and events of another type than `message` are none. Nothing is kept beyond the
//! limit, and nothing is read after an error.

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// Its data, the lines joined.
    pub data: String,
}

/// A stream of events that cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event is larger than it may be.
    #[error("an event is too large")]
    TooLarge,
    /// A line is not UTF-8.
    #[error("an event is not UTF-8")]
    NotUtf8,
}

/// Reads events from bytes that arrive in any pieces.
#[derive(Debug)]
pub struct SseParser {
    max: usize,
    line: Vec<u8>,
    /// The data of the event so far, once there is a line of it.
    data: Option<String>,
    /// Whether the event so far is a message.
    is_message: bool,
    after_cr: bool,
    /// Whether no line was read yet, so that a byte order mark may stand here.
    at_start: bool,
    broken: Option<SseError>,
}

impl SseParser {
    /// A parser of events whose data, and lines, are at most `max` bytes.
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            line: Vec::new(),
            data: None,
            is_message: true,
            after_cr: false,
            at_start: true,
            broken: None,
        }
    }

    /// Takes the next bytes and gives the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, SseError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let mut events = Vec::new();
        for &byte in bytes {
            let read = self.read(byte);
            events.extend(read.inspect_err(|error| self.broken = Some(*error))?);
        }
        Ok(events)
    }

    /// How many bytes it holds of an event that is not whole.
    pub fn held(&self) -> usize {
        self.line.len() + self.data.as_ref().map_or(0, String::len)
    }

    fn read(&mut self, byte: u8) -> Result<Option<SseEvent>, SseError> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        let event = match byte {
            b'\n' if after_cr => None,
            b'\n' | b'\r' => self.end_line()?,
            _ => {
                self.line.push(byte);
                None
            }
        };
        if self.held() > self.max { Err(SseError::TooLarge) } else { Ok(event) }
    }

    fn end_line(&mut self) -> Result<Option<SseEvent>, SseError> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8(line).map_err(|_| SseError::NotUtf8)?;
        let at_start = std::mem::replace(&mut self.at_start, false);
        let line = line.strip_prefix('\u{feff}').filter(|_| at_start).unwrap_or(&line);
        if line.is_empty() {
            return Ok(self.end_event());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => data.extend(["\n", value]),
                None => self.data = Some(value.to_owned()),
            },
            "event" => self.is_message = matches!(value, "" | "message"),
            _ => {}
        }
        Ok(None)
    }

    fn end_event(&mut self) -> Option<SseEvent> {
        let is_message = std::mem::replace(&mut self.is_message, true);
        let data = self.data.take().filter(|data| is_message && !data.is_empty())?;
        Some(SseEvent { data })
    }
}
