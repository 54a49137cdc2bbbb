//! The head of an HTTP/1.1 message.

/// Where the head ends, its empty line included; nothing if it has not come whole.
pub(crate) fn end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// How long the body is, as the head says; zero if it says nothing.
pub(crate) fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
