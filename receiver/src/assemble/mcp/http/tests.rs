use std::net::Ipv4Addr;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{super::Mcp, *};
use crate::{
    event::{Chunk, Clock, Direction, Source},
    streams::{Config, Notice, Streams},
};

const CLIENT: ProcessKey = ProcessKey { tgid: 1, start: 1 };
const SERVER: ProcessKey = ProcessKey { tgid: 2, start: 2 };

/// A client and a server on loopback, of which either may be unseen.
struct World {
    streams: Streams,
    mcp: Mcp,
    now: u64,
    seen: Vec<Role>,
    out: Vec<Outcome>,
    /// Exchanges that were none of MCP.
    others: usize,
    /// Pieces that each call is given in.
    cuts: Vec<Index>,
}

impl World {
    fn new(seen: &[Role]) -> Self {
        let config = Config { max_body_size: 1 << 20, memory_limit: 0 };
        let clock = Clock { boot: 0 };
        Self {
            streams: Streams::new(config, clock),
            mcp: Mcp::new(clock),
            now: 0,
            seen: seen.to_vec(),
            out: Vec::new(),
            others: 0,
            cuts: Vec::new(),
        }
    }

    fn facts(role: Role, object: u64) -> Arc<ConnectionFacts> {
        let at = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let (client, server) = (at(40_000 + u16::try_from(object).unwrap()), at(8_000));
        let (local, peer) = if role == Role::Client { (client, server) } else { (server, client) };
        Arc::new(ConnectionFacts { local, peer, ..ConnectionFacts::default() })
    }

    fn role(process: ProcessKey) -> Role {
        if process == CLIENT { Role::Client } else { Role::Server }
    }

    fn take(&mut self, exchanges: Vec<Exchange>) {
        for notice in self.streams.notices().collect::<Vec<_>>() {
            if let Notice::Rpc(rpc) = notice {
                let facts = Self::facts(Self::role(rpc.connection.process), rpc.connection.object);
                self.mcp.rpc(&rpc, false, Some(facts), &mut self.out);
            }
        }
        for exchange in exchanges {
            self.others += usize::from(!self.mcp.exchange(&exchange, &mut self.out));
        }
    }

    /// Bytes of one side, as each process that is seen has them.
    fn send(&mut self, by: Role, object: u64, text: &str) {
        let other = if by == Role::Client { Role::Server } else { Role::Client };
        for (role, direction) in [(by, Direction::Write), (other, Direction::Read)] {
            if !self.seen.contains(&role) {
                continue;
            }
            self.now += 1_000;
            let mut places: Vec<usize> = self.cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            places.dedup();
            for piece in places.windows(2) {
                let bytes = text.as_bytes()[piece[0]..piece[1]].to_vec();
                let (total, offset) = (bytes.len() as u64, 0);
                let chunk = Chunk {
                    source: Source::Socket,
                    object,
                    socket: object,
                    direction,
                    total,
                    offset,
                    bytes: bytes.into(),
                };
                let mut exchanges = Vec::new();
                let process = if role == Role::Client { CLIENT } else { SERVER };
                self.streams.chunk(process, self.now, &chunk, &mut exchanges);
                self.take(exchanges);
            }
        }
    }

    fn close(&mut self, object: u64) {
        for process in [CLIENT, SERVER] {
            let mut exchanges = Vec::new();
            self.now += 1_000;
            self.streams.close(process, object, self.now, &mut exchanges);
            self.take(exchanges);
        }
    }

    fn post(&mut self, object: u64, target: &str, headers: &str, body: &str) {
        let length = body.len();
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: localhost:8000\r\n{headers}Content-Length: {length}\r\n\r\n");
        self.send(Role::Client, object, &(head + body));
    }

    fn get(&mut self, object: u64, target: &str, headers: &str) {
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: localhost:8000\r\nAccept: text/event-stream\r\n{headers}\r\n");
        self.send(Role::Client, object, &head);
    }

    fn reply(&mut self, object: u64, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.send(
            Role::Server,
            object,
            &format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"),
        );
    }

    fn json(&mut self, object: u64, headers: &str, body: &str) {
        self.reply(object, "200 OK", &format!("Content-Type: application/json\r\n{headers}"), body);
    }

    fn stream(&mut self, object: u64, headers: &str) {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n";
        self.send(Role::Server, object, &format!("{head}{headers}\r\n"));
    }

    fn event(&mut self, object: u64, kind: &str, data: &str) {
        let event = format!("event: {kind}\r\ndata: {data}\r\n\r\n");
        self.send(Role::Server, object, &format!("{:x}\r\n{event}\r\n", event.len()));
    }

    fn end(&mut self, object: u64) {
        self.send(Role::Server, object, "0\r\n\r\n");
    }

    /// Process, role, method, id, target, session, version, status, error, loss.
    fn told(&mut self) -> Vec<String> {
        // Later than any answer is waited for, by those who see one end only.
        self.mcp.twins.expire(self.now + 2_000_000_000, &mut self.out);
        let line = |outcome| {
            let Outcome::Call(process, call) = outcome else { return "foreign".to_owned() };
            let http = call.http.as_ref().unwrap();
            let mut line = format!("{} {} {}", process.tgid, call.role.as_str(), call.method);
            for part in [
                call.id,
                call.target.map(|target| format!("{target:?}")),
                call.session_id.map(|session| format!("in {session}")),
                call.protocol_version.map(|version| format!("v{version}")),
                http.status.filter(|status| *status >= 400).map(|status| format!("http {status}")),
                call.error.map(|error| format!("failed {}", error.kind)),
                call.losses.first().map(|loss| format!("lost {}", loss.reason.as_str())),
                call.caller.map(|_| "answers".to_owned()),
            ]
            .into_iter()
            .flatten()
            {
                line.push(' ');
                line.push_str(&part);
            }
            line
        };
        self.out.drain(..).map(line).collect()
    }
}

fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#)
}

fn note(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{{params}}}}}"#)
}

fn result(id: &str, result: &str) -> String {
    format!(r#"{{"result":{{{result}}},"jsonrpc":"2.0","id":{id}}}"#)
}

const INITIALIZE: &str = r#""protocolVersion":"2025-11-25","clientInfo":{"name":"c","version":"1"}"#;
const INITIALIZED: &str = r#""protocolVersion":"2025-06-18","serverInfo":{"name":"s"}"#;
const SESSION: &str = "Mcp-Session-Id: s1\r\nMCP-Protocol-Version: 2025-06-18\r\n";
const ACCEPT: &str = "Accept: application/json, text/event-stream\r\n";

fn streamable(world: &mut World) {
    world.post(1, "/mcp", ACCEPT, &request("0", "initialize", INITIALIZE));
    world.stream(1, "Mcp-Session-Id: s1\r\n");
    world.event(1, "message", &result("0", INITIALIZED));
    world.end(1);
    world.post(1, "/mcp", SESSION, &note("notifications/initialized", ""));
    world.reply(1, "202 Accepted", "", "");
    // The stream of what the server has to say by itself.
    world.get(2, "/mcp", SESSION);
    world.stream(2, "");
    // Two at once, one of which needs the model.
    world.post(1, "/mcp", SESSION, &request("1", "tools/call", r#""name":"ask""#));
    world.post(3, "/mcp", SESSION, &request("2", "tools/call", r#""name":"add""#));
    world.stream(1, "");
    world.event(1, "message", &request("0", "sampling/createMessage", ""));
    world.event(1, "message", &note("notifications/progress", ""));
    world.json(3, "", &result("2", r#""isError":true"#));
    world.post(3, "/mcp", SESSION, &result("0", ""));
    world.reply(3, "202 Accepted", "", "");
    world.event(2, "message", &note("notifications/tools/list_changed", ""));
    world.event(1, "message", &result("1", ""));
    world.end(1);
}

const STREAMABLE: [&str; 7] = [
    "1 client initialize 0 in s1 v2025-06-18",
    "1 client notifications/initialized in s1 v2025-06-18",
    "1 server notifications/progress in s1 v2025-06-18",
    "1 client tools/call 2 Tool(\"add\") in s1 v2025-06-18 failed tool_error",
    "1 server sampling/createMessage 0 in s1 v2025-06-18",
    "1 server notifications/tools/list_changed in s1 v2025-06-18",
    "1 client tools/call 1 Tool(\"ask\") in s1 v2025-06-18",
];

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

#[test]
fn a_session_of_streamable_http_is_told_by_its_client() {
    let mut world = World::new(&[Role::Client]);
    streamable(&mut world);
    assert_eq!(sorted(world.told()), sorted(STREAMABLE.map(str::to_owned).to_vec()));
    assert!(world.mcp.http.open.is_empty() && world.others == 0);
}

#[test]
fn both_ends_tell_and_the_receiver_names_the_sender() {
    let mut world = World::new(&[Role::Client, Role::Server]);
    streamable(&mut world);
    let told = world.told();
    let (clients, servers): (Vec<_>, Vec<_>) = told.into_iter().partition(|line| line.starts_with('1'));
    let bare = |line: &String| line.trim_end_matches(" answers").to_owned();
    assert_eq!(sorted(clients.iter().map(bare).collect()), sorted(STREAMABLE.map(str::to_owned).to_vec()));
    let turned = |line: &str| {
        let (client, server) = ("1 client", "1 server");
        if line.starts_with(client) {
            line.replacen(client, "2 server", 1)
        } else {
            line.replacen(server, "2 client", 1)
        }
    };
    assert_eq!(
        sorted(servers.iter().map(bare).collect()),
        sorted(STREAMABLE.iter().map(|line| turned(line)).collect())
    );
    for line in clients.iter().chain(&servers) {
        assert_eq!(line.ends_with(" answers"), line.contains(" server "), "{line}");
    }
}

#[test]
fn the_older_transport_answers_on_its_stream() {
    for seen in [&[Role::Client][..], &[Role::Server]] {
        let mut world = World::new(seen);
        world.get(1, "/sse", "");
        world.stream(1, "");
        world.event(1, "endpoint", "/messages/?session_id=77aa");
        for (id, object) in [("1", 2), ("2", 3)] {
            world.post(object, "/messages/?session_id=77aa", "", &request(id, "tools/call", r#""name":"t""#));
            world.reply(object, "202 Accepted", "", "Accepted");
        }
        world.post(2, "/messages/?session_id=other", "", &request("9", "tools/list", ""));
        world.reply(2, "404 Not Found", "", "no such session");
        world.event(1, "message", &result("2", ""));
        world.event(1, "message", &result("1", ""));
        let told = world.told();
        let of = |text: &str| format!("{} {text}", if seen == [Role::Client] { "1 client" } else { "2 server" });
        assert_eq!(
            sorted(told),
            sorted(vec![
                of("tools/list 9 http 404 failed 404"),
                of("tools/call 2 Tool(\"t\") in 77aa"),
                of("tools/call 1 Tool(\"t\") in 77aa"),
            ])
        );
        world.post(2, "/messages/?session_id=77aa", "", &request("3", "ping", ""));
        world.reply(2, "202 Accepted", "", "Accepted");
        world.close(1);
        assert_eq!(world.told(), [of("ping 3 in 77aa lost closed")]);
        assert!(world.mcp.http.open.is_empty() && world.mcp.http.endpoints.is_empty() && world.others == 0);
    }
}

#[test]
fn a_stream_that_broke_is_resumed_on_another() {
    let mut world = World::new(&[Role::Client]);
    world.post(1, "/mcp", SESSION, &request("5", "tools/call", r#""name":"slow""#));
    world.stream(1, "");
    world.close(1);
    assert!(world.told().is_empty());
    world.get(2, "/mcp", &format!("{SESSION}Last-Event-ID: e1\r\n"));
    world.stream(2, "");
    world.event(2, "message", &result("5", ""));
    assert_eq!(world.told(), ["1 client tools/call 5 Tool(\"slow\") in s1 v2025-06-18"]);
    // One that never is.
    world.post(3, "/mcp", SESSION, &request("6", "tools/list", ""));
    world.stream(3, "");
    world.close(3);
    world.mcp.expire(world.now + RESUMED + 10_000_000, &mut world.out);
    assert_eq!(world.told(), ["1 client tools/list 6 in s1 v2025-06-18 lost unobserved"]);
}

#[test]
fn batches_and_stateless_servers() {
    let mut world = World::new(&[Role::Client]);
    let batch =
        [request("1", "tools/list", ""), note("notifications/initialized", ""), request("2", "prompts/list", "")];
    world.post(1, "/mcp", ACCEPT, &format!("[{}]", batch.join(",")));
    let other = request("1", "tools/list", "");
    world.post(2, "/mcp", ACCEPT, &other);
    world.json(2, "", r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#);
    world.json(1, "", &format!("[{},{}]", result("2", ""), result("1", "")));
    assert_eq!(
        world.told(),
        [
            "1 client tools/list 1 failed -32601",
            "1 client prompts/list 2",
            "1 client tools/list 1",
            "1 client notifications/initialized",
        ]
    );
}

#[test]
fn what_http_refuses_fails() {
    let mut world = World::new(&[Role::Client]);
    world.post(1, "/mcp", SESSION, &request("1", "tools/list", ""));
    world.reply(1, "401 Unauthorized", "", "");
    let gone = r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}"#;
    world.post(1, "/mcp", SESSION, &request("2", "tools/list", ""));
    world.reply(1, "404 Not Found", "Content-Type: application/json\r\n", gone);
    world.post(1, "/mcp", SESSION, &note("notifications/roots/list_changed", ""));
    world.reply(1, "404 Not Found", "Content-Type: application/json\r\n", gone);
    // Sent again to where it moved.
    world.post(1, "/mcp", SESSION, &request("3", "ping", ""));
    world.reply(1, "307 Temporary Redirect", "Location: /mcp/\r\n", "");
    world.post(1, "/mcp/", SESSION, &request("3", "ping", ""));
    world.json(1, "", &result("3", ""));
    world.post(1, "/mcp", SESSION, &request("4", "tools/call", r#""name":"t""#));
    world.close(1);
    assert_eq!(
        world.told(),
        [
            "1 client tools/list 1 in s1 v2025-06-18 http 401 failed 401",
            "1 client tools/list 2 in s1 v2025-06-18 http 404 failed -32001",
            "1 client notifications/roots/list_changed in s1 v2025-06-18 http 404 failed -32001",
            "1 client ping 3 in s1 v2025-06-18",
            "1 client tools/call 4 Tool(\"t\") in s1 v2025-06-18 lost closed",
        ]
    );
}

#[test]
fn other_protocols_are_left_alone() {
    let mut world = World::new(&[Role::Client]);
    world.post(1, "/rpc", "", &request("1", "eth_blockNumber", ""));
    world.json(1, "", &result("1", ""));
    world.post(1, "/v1/chat/completions", ACCEPT, r#"{"model":"m","messages":[]}"#);
    world.stream(1, "");
    world.event(1, "message", "{}");
    world.end(1);
    world.get(1, "/v1/responses/r?stream=true", "");
    world.stream(1, "");
    world.event(1, "response.created", r#"{"type":"response.created"}"#);
    world.end(1);
    assert_eq!((world.told().len(), world.others), (0, 3));
    assert!(world.mcp.http.live.is_empty());
}

proptest! {
    #[test]
    fn any_split_gives_the_same(cuts in vec(any::<Index>(), 0..6)) {
        let mut world = World::new(&[Role::Client, Role::Server]);
        streamable(&mut world);
        let whole = world.told();
        let mut world = World { cuts, ..World::new(&[Role::Client, Role::Server]) };
        streamable(&mut world);
        prop_assert_eq!(whole, world.told());
    }

    #[test]
    fn nothing_panics(steps in vec((0u8..9, 1u64..4, any::<bool>(), 0usize..6), 0..40)) {
        let mut world = World::new(&[Role::Client, Role::Server]);
        let bodies = [
            request("1", "tools/call", r#""name":"t""#), result("1", ""), note("notifications/cancelled", r#""requestId":1"#),
            "[[{}]]".into(), "{\"jsonrpc\":1}".into(), String::new(),
        ];
        for (step, object, session, body) in steps {
            let (headers, body) = (if session { SESSION } else { "" }, bodies[body].clone());
            match step {
                0 => world.post(object, "/mcp", headers, &body),
                1 => world.get(object, "/sse", headers),
                2 => world.stream(object, headers),
                3 => world.event(object, "message", &body),
                4 => world.event(object, "endpoint", &body),
                5 => world.json(object, headers, &body),
                6 => world.end(object),
                7 => world.close(object),
                _ => world.mcp.exit(if session { CLIENT } else { SERVER }, world.now, &mut world.out),
            }
        }
        world.told();
    }
}
