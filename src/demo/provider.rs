//! The demo's model: OpenAI chat completions over TLS on loopback, with answers that are written down here.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};

use crate::error::Error;

/// The name of the only model.
const MODEL: &str = "demo-model";
/// What the model wants to have run.
const COMMAND: &str = "uname -sr; ls /etc | wc -l";
/// Between two parts of a stream.
const PAUSE: Duration = Duration::from_millis(15);
/// A client that says nothing for this long is gone.
const IDLE: Duration = Duration::from_secs(60);
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 4 << 20;

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// A running provider. It stops taking connections when dropped.
pub struct Provider {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Its certificate (PEM), made at start, which is its own authority.
    pub ca_pem: String,
    stop: Arc<AtomicBool>,
}

impl Provider {
    /// What a client of the API has as its base URL.
    pub fn base_url(&self) -> String {
        format!("https://127.0.0.1:{}/v1", self.port)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes `accept`; if even that fails, the thread ends with the process.
        let _ = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
    }
}

/// Starts the provider on a free port of 127.0.0.1.
pub fn start() -> Result<Provider, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Message(format!("cannot start the demo's provider: {error}"));
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| failed(&error))?;
    let port = listener.local_addr().map_err(|error| failed(&error))?.port();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    thread::spawn(move || {
        let calls = Arc::new(AtomicU64::new(0));
        for socket in listener.incoming() {
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            let (Ok(socket), Ok(session)) = (socket, ServerConnection::new(Arc::clone(&config))) else { continue };
            let calls = Arc::clone(&calls);
            thread::spawn(move || {
                // A client that goes away ends its connection; there is nobody to tell.
                let _ = serve(session, socket, &calls);
            });
        }
    });
    Ok(Provider { port, ca_pem: made.cert.pem(), stop })
}

/// Answers the requests of one connection until it is closed.
fn serve(session: ServerConnection, socket: TcpStream, calls: &AtomicU64) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(IDLE))?;
    socket.set_write_timeout(Some(IDLE))?;
    let mut stream = StreamOwned::new(session, socket);
    let mut rest = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut rest)? {
        let number = calls.fetch_add(1, Ordering::SeqCst) + 1;
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/chat/completions") => match serde_json::from_slice::<Value>(&request.body) {
                Ok(body) if body["stream"] == true => send_stream(&mut stream, &deltas(&body), &body, number)?,
                Ok(_) => send_error(&mut stream, "400 Bad Request", "the demo's model only streams")?,
                Err(_) => send_error(&mut stream, "400 Bad Request", "the body is not JSON")?,
            },
            _ => send_error(&mut stream, "404 Not Found", "there is nothing at this path")?,
        }
        if request.close {
            break;
        }
    }
    stream.conn.send_close_notify();
    stream.flush()
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
    close: bool,
}

/// Reads one request; `rest` keeps what was read beyond it. `None`: the connection was closed between two.
fn read_request(stream: &mut Tls, rest: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let head = loop {
        if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            break rest.drain(..end + 4).collect::<Vec<_>>();
        }
        if rest.len() > MAX_HEAD {
            return Err(bad("the head is too long"));
        }
        if !read_more(stream, rest)? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let (mut length, mut close) = (0, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().map_err(|_| bad("the length is no number"))?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(bad("chunked requests are not read"));
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.trim().eq_ignore_ascii_case("close");
        }
    }
    if length > MAX_BODY {
        return Err(bad("the body is too long"));
    }
    while rest.len() < length {
        if !read_more(stream, rest)? {
            return Ok(None);
        }
    }
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let body = rest.drain(..length).collect();
    Ok(Some(Request { method: method.to_owned(), path, body, close }))
}

/// Whether there was more.
fn read_more(stream: &mut Tls, rest: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 8 << 10];
    match stream.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(length) => {
            rest.extend(buffer.iter().take(length));
            Ok(true)
        }
        // Closed without TLS's goodbye, as many clients do.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn send_error(stream: &mut Tls, status: &str, message: &str) -> io::Result<()> {
    let body = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}});
    let body = body.to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())?;
    stream.flush()
}

/// The deltas of an answer, and why it ends.
struct Answer {
    deltas: Vec<Value>,
    finish_reason: &'static str,
}

/// The script: the first question needs the tool, its result is put into words, any later question has a plain answer.
fn deltas(body: &Value) -> Answer {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let questions = messages.iter().filter(|message| message["role"] == "user").count();
    let text = match messages.last() {
        Some(last) if last["role"] == "tool" => {
            let mut lines = last["content"].as_str().unwrap_or_default().lines().map(str::trim);
            let (kernel, entries) = (lines.next().unwrap_or("?").to_owned(), lines.next().unwrap_or("?"));
            format!("This host runs {kernel}, and /etc has {entries} entries.")
        }
        _ if questions > 1 => "I asked for the shell tool, which ran uname and counted the lines of ls.".to_owned(),
        _ => return tool_call(),
    };
    let mut deltas = vec![json!({"role": "assistant", "content": ""})];
    // About three words a part, each with the space behind it.
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    deltas.extend(words.chunks(3).map(|part| json!({"content": part.concat()})));
    Answer { deltas, finish_reason: "stop" }
}

fn tool_call() -> Answer {
    let arguments = json!({"command": COMMAND}).to_string();
    let function = json!({"name": "shell", "arguments": ""});
    let call = json!({"index": 0, "id": "call_demo_1", "type": "function", "function": function});
    let mut deltas = vec![json!({"role": "assistant", "content": null, "tool_calls": [call]})];
    let characters: Vec<char> = arguments.chars().collect();
    deltas.extend(characters.chunks(12).map(|part| {
        let part: String = part.iter().collect();
        json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    }));
    Answer { deltas, finish_reason: "tool_calls" }
}

/// Streams an answer as server-sent events, one chunk each.
fn send_stream(stream: &mut Tls, answer: &Answer, body: &Value, number: u64) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n\
                Transfer-Encoding: chunked\r\n";
    stream.write_all(format!("{head}x-request-id: req_demo_{number}\r\n\r\n").as_bytes())?;
    stream.flush()?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let event = |choices: Value, usage: Value| {
        let id = format!("chatcmpl-demo-{number}");
        json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": MODEL,
            "choices": choices, "usage": usage,
        })
        .to_string()
    };
    for delta in &answer.deltas {
        thread::sleep(PAUSE);
        let choice = json!([{"index": 0, "delta": delta, "finish_reason": null}]);
        send_event(stream, &event(choice, Value::Null))?;
    }
    let last = json!([{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]);
    send_event(stream, &event(last, Value::Null))?;
    if body["stream_options"]["include_usage"] == true {
        send_event(stream, &event(json!([]), usage(body, answer)))?;
    }
    send_event(stream, "[DONE]")?;
    stream.write_all(b"0\r\n\r\n")?;
    stream.flush()
}

fn send_event(stream: &mut Tls, data: &str) -> io::Result<()> {
    let event = format!("data: {data}\n\n");
    stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
    stream.flush()
}

/// Four bytes are a token here; what was there before the last message counts as cached from the second call on.
fn usage(body: &Value, answer: &Answer) -> Value {
    let tokens = |value: &Value| value.to_string().len() / 4;
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let prompt = tokens(&body["messages"]) + tokens(&body["tools"]);
    let known = messages.split_last().map_or(0, |(_, known)| known.iter().map(tokens).sum());
    let cached: usize = if messages.len() > 2 { known } else { 0 };
    let completion = answer.deltas.len() * 3;
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    })
}
