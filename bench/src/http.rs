//! HTTP/1.1 over one connection, no more than measuring needs: whole messages with a length.

use std::ops::Range;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The most headers of one message.
const HEADERS_MAX: usize = 64;

/// The largest message, in bytes.
const MESSAGE_MAX: usize = 1 << 20;

/// One connection with what was read from it.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the message that was read last is over.
    end: usize,
}

/// Where an answer lies in its connection's buffer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: usize,
    body: Range<usize>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 * 1024), end: 0 })
    }

    /// Connects to a port on loopback.
    pub(crate) async fn open(port: u16) -> anyhow::Result<Self> {
        Self::new(TcpStream::connect(("127.0.0.1", port)).await?)
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        let answer = self.message(|bytes| {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut response = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
            let status = response.code.context("an answer without a status")?;
            Ok(Some((status, head, length(response.headers)?)))
        });
        let (status, head, body) = answer.await?.context("the connection ended")?;
        Ok(Answer { status, head, body })
    }

    /// Sends a whole request and reads the first event of the stream that answers it.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        while memchr::memmem::find(&self.buffer, b"\ndata: ").is_none() {
            ensure!(self.buffer.len() < MESSAGE_MAX, "a message is too large");
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the stream ended");
        }
        let head = String::from_utf8_lossy(&self.buffer);
        ensure!(head.starts_with("HTTP/1.1 200 "), "no stream: {head}");
        Ok(())
    }

    /// Sends a whole request and reads all that follows, until the answer or the connection ends.
    pub(crate) async fn all(&mut self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.stream.write_all(request).await?;
        let is_over = |told: &[u8]| {
            let head = memchr::memmem::find(told, b"\r\n\r\n").map(|at| at + 4);
            let chunked = head.is_some_and(|head| {
                memchr::memmem::find(&told[..head], b"transfer-encoding: chunked").is_some()
            });
            if chunked { told.ends_with(b"\r\n0\r\n\r\n") } else { head.is_some() }
        };
        while !is_over(&self.buffer) && self.stream.read_buf(&mut self.buffer).await? > 0 {
            ensure!(self.buffer.len() < MESSAGE_MAX, "a message is too large");
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Whether the other side has ended the connection, without another request.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        ensure!(self.stream.read_buf(&mut self.buffer).await? == 0, "one request at a time");
        Ok(())
    }

    /// Reads the next request's body; none when the client is done.
    pub(crate) async fn request(&mut self) -> anyhow::Result<Option<&[u8]>> {
        let request = self.message(|bytes| {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut request = httparse::Request::new(&mut headers);
            let httparse::Status::Complete(head) = request.parse(bytes)? else { return Ok(None) };
            Ok(Some((0, head, length(request.headers)?)))
        });
        Ok(request.await?.map(|(_, _, body)| &self.buffer[body]))
    }

    /// Writes a whole message.
    pub(crate) async fn write(&mut self, message: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(message).await?)
    }

    /// The body of `answer`, the last one that was read.
    pub(crate) fn body(&self, answer: &Answer) -> &[u8] {
        &self.buffer[answer.body.clone()]
    }

    /// A header of `answer`, the last one that was read.
    pub(crate) fn header(&self, answer: &Answer, name: &str) -> Option<String> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        response.parse(&self.buffer[..answer.head]).ok()?;
        let found =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::to_owned)
    }

    /// Reads one message by `parse`, which gives what it likes, and the lengths of head and body.
    async fn message<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> anyhow::Result<Option<(T, usize, usize)>>,
    ) -> anyhow::Result<Option<(T, usize, Range<usize>)>> {
        self.buffer.drain(..self.end);
        self.end = 0;
        loop {
            if let Some((told, head, length)) = parse(&self.buffer)?
                && self.buffer.len() >= head + length
            {
                self.end = head + length;
                return Ok(Some((told, head, head..head + length)));
            }
            ensure!(self.buffer.len() < MESSAGE_MAX, "a message is too large");
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                ensure!(self.buffer.is_empty(), "the connection ended in the middle of a message");
                return Ok(None);
            }
        }
    }
}

fn length(headers: &[httparse::Header<'_>]) -> anyhow::Result<usize> {
    let mut length = 0;
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value)?.trim().parse()?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("a message comes in chunks, which nobody here sends");
        }
    }
    Ok(length)
}
