use super::*;
use crate::event::Source;

const AGENT: ProcessKey = ProcessKey { tgid: 1, start: 1 };
const SERVERS: [ProcessKey; 2] = [ProcessKey { tgid: 2, start: 2 }, ProcessKey { tgid: 3, start: 3 }];

struct World {
    mcp: Mcp,
    now: u64,
    out: Vec<Outcome>,
}

impl World {
    fn new() -> Self {
        Self { mcp: Mcp::new(Clock { boot: 0 }), now: 0, out: Vec::new() }
    }

    fn line(&mut self, process: ProcessKey, object: u64, direction: Direction, text: &str) {
        self.now += 1_000;
        let bytes = format!("{text}\n").into_bytes();
        let total = bytes.len() as u64;
        let chunk = Chunk { source: Source::Pipe, object, socket: 0, direction, total, offset: 0, bytes: bytes.into() };
        self.mcp.data(process, self.now, &chunk, &mut self.out);
    }

    /// A message through a channel: (writer, object), (reader, object); either may be unseen.
    fn send(&mut self, from: Option<(ProcessKey, u64)>, to: Option<(ProcessKey, u64)>, text: &str) {
        for (end, direction) in [(from, Direction::Write), (to, Direction::Read)] {
            if let Some((process, object)) = end {
                self.line(process, object, direction, text);
            }
        }
    }

    /// Role, method, target, server, error, duration in µs, by process.
    fn told(&mut self) -> Vec<String> {
        let line = |outcome| match outcome {
            Outcome::Foreign(process, object) => format!("foreign {} {object}", process.tgid),
            Outcome::Call(process, call) => {
                let target = call.target.map(|target| format!(" {target:?}")).unwrap_or_default();
                let server = call.server.name.map(|name| format!(" @{name}")).unwrap_or_default();
                let error = call.error.map(|error| format!(" {}", error.kind)).unwrap_or_default();
                let loss =
                    call.losses.first().map(|loss| format!(" lost {}", loss.reason.as_str())).unwrap_or_default();
                let time = call.ended.since(call.started).as_micros();
                let peer = call.peer.map(|peer| peer.tgid.to_string()).unwrap_or_default();
                let role = call.role.as_str();
                format!("{}>{peer} {role} {}{target}{server}{error}{loss} {time}", process.tgid, call.method)
            }
        };
        // What only the receiver of a message tells waits for its sender.
        self.mcp.twins.expire(self.now + 2 * PATIENCE, &mut self.out);
        self.out.drain(..).map(line).collect()
    }
}

fn request(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#)
}

fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{result}}}}}"#)
}

/// Two servers that are started together, with the same ids; who sees what is given.
fn two_servers(agent: bool, servers: bool) -> Vec<String> {
    let mut world = World::new();
    let ends = |object: u64, server: ProcessKey| {
        let (agent, server) = (agent.then_some((AGENT, object)), servers.then_some((server, object)));
        (agent, server)
    };
    let initialize = r#""protocolVersion":"2025-06-18","clientInfo":{"name":"agent","version":"1"}"#;
    for (at, server) in (0..).zip(SERVERS) {
        let (agent, server) = ends(10 + at, server);
        world.send(agent, server, &request("0", "initialize", initialize));
    }
    for (at, server) in [(1, SERVERS[1]), (0, SERVERS[0])] {
        let (agent, server) = ends(20 + at, server);
        let text = format!(r#""protocolVersion":"2025-03-26","serverInfo":{{"name":"s{at}"}}"#);
        world.send(server, agent, &result("0", &text));
    }
    for (at, server) in (0..).zip(SERVERS) {
        let (agent, server) = ends(10 + at, server);
        world.send(agent, server, &request("1", "tools/call", &format!(r#""name":"t{at}""#)));
    }
    for (at, server) in [(1, SERVERS[1]), (0, SERVERS[0])] {
        let (agent, server) = ends(20 + at, server);
        world.send(server, agent, &result("1", r#""content":[],"isError":true"#));
    }
    world.told()
}

#[test]
fn servers_with_the_same_ids_are_told_apart_by_their_processes() {
    assert_eq!(
        two_servers(true, true),
        [
            "1>3 client initialize @s1 3",
            "3>1 server initialize @s1 1",
            "1>2 client initialize @s0 7",
            "2>1 server initialize @s0 5",
            "1>3 client tools/call Tool(\"t1\") @s1 tool_error 3",
            "3>1 server tools/call Tool(\"t1\") @s1 tool_error 1",
            "1>2 client tools/call Tool(\"t0\") @s0 tool_error 7",
            "2>1 server tools/call Tool(\"t0\") @s0 tool_error 5",
        ]
    );
}

#[test]
fn what_cannot_be_told_apart_is_not_told() {
    assert_eq!(two_servers(true, false), [""; 0]);
}

#[test]
fn servers_alone_tell_what_they_answered() {
    assert_eq!(
        two_servers(false, true),
        [
            "3> server initialize @s1 1",
            "2> server initialize @s0 3",
            "3> server tools/call Tool(\"t1\") @s1 tool_error 1",
            "2> server tools/call Tool(\"t0\") @s0 tool_error 3",
        ]
    );
}

#[test]
fn one_server_that_is_not_seen_is_known_by_the_ids() {
    let mut world = World::new();
    let (to, from) = (Some((AGENT, 10)), Some((AGENT, 20)));
    world.send(to, None, &request("\"a\"", "tools/list", ""));
    world.send(to, None, &request("7", "resources/read", r#""uri":"https://u:hunter2x@h/p""#));
    world.send(to, None, &request("8", "ping", ""));
    world.send(None, from, &result("\"7\"", ""));
    world.send(None, from, &result("8", ""));
    world.send(None, from, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32002,"message":"Resource not found"}}"#);
    world.send(None, from, &result("\"a\"", ""));
    let told = world.told();
    assert_eq!(told[0], "1> client ping 2");
    assert!(told[1].starts_with("1> client resources/read") && !told[1].contains("hunter2x"), "{}", told[1]);
    assert!(told[1].ends_with("-32002 4"), "{}", told[1]);
    assert_eq!(told[2], "1> client tools/list 6");
}

#[test]
fn local_sockets_carry_both_directions_and_either_side_asks() {
    let mut world = World::new();
    let socket =
        |id, other| Socket { id, kind: SocketKind::Unix, local: None, peer: None, other: Some(other), received: false };
    world.mcp.socket(&socket(10, 11));
    world.mcp.socket(&socket(11, 10));
    let (agent, server) = (Some((AGENT, 10)), Some((SERVERS[0], 11)));
    world.send(agent, server, &request("1", "tools/call", r#""name":"t""#));
    world.send(server, agent, &request("1", "sampling/createMessage", ""));
    world.send(server, agent, &request("2", "ping", ""));
    world.send(agent, server, &result("1", ""));
    world.send(agent, server, &result("2", ""));
    world.send(server, agent, &result("1", ""));
    assert_eq!(
        world.told(),
        [
            "2>1 client sampling/createMessage 5",
            "1>2 server sampling/createMessage 3",
            "2>1 client ping 5",
            "1>2 server ping 3",
            "1>2 client tools/call Tool(\"t\") 11",
            "2>1 server tools/call Tool(\"t\") 9",
        ]
    );
}

#[test]
fn a_pair_of_local_sockets_may_carry_one_direction() {
    let mut world = World::new();
    let socket = |id, other| Socket { id, kind: SocketKind::Unix, local: None, peer: None, other, received: false };
    // Two servers; of the second only the agent is seen.
    for (id, other) in [(10, Some(11)), (11, None), (21, Some(20)), (20, Some(21)), (30, None), (40, None)] {
        world.mcp.socket(&socket(id, other));
    }
    let (to, from) = ((Some((AGENT, 10)), Some((SERVERS[0], 11))), (Some((SERVERS[0], 21)), Some((AGENT, 20))));
    world.send(to.0, to.1, &request("1", "tools/list", ""));
    world.send(Some((AGENT, 30)), None, &request("1", "tools/call", r#""name":"t""#));
    world.send(None, Some((AGENT, 40)), &result("1", ""));
    world.send(from.0, from.1, &result("1", ""));
    assert_eq!(
        world.told(),
        ["1>2 client tools/list 5", "2>1 server tools/list 3", "1> client tools/call Tool(\"t\") 1"]
    );
}

#[test]
fn the_beginning_may_be_missed_and_the_end_is_told() {
    let mut world = World::new();
    let (to, from) = ((Some((AGENT, 10)), Some((SERVERS[0], 10))), (Some((SERVERS[0], 20)), Some((AGENT, 20))));
    world.send(from.0, from.1, &result("4", ""));
    world.send(to.0, to.1, &request("5", "tools/call", r#""name":"t""#));
    world.send(from.0, from.1, &result("5", ""));
    world.send(to.0, to.1, &request("6", "prompts/get", r#""name":"p""#));
    world.send(to.0, to.1, &request("7", "tools/list", ""));
    world.send(to.0, to.1, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":6}}"#);
    world.mcp.exit(SERVERS[0], 90_000, &mut world.out);
    world.mcp.exit(AGENT, 100_000, &mut world.out);
    assert_eq!(
        world.told(),
        [
            "1>2 client tools/call Tool(\"t\") 3",
            "2>1 server tools/call Tool(\"t\") 1",
            "1>2 client prompts/get Prompt(\"p\") cancelled 4",
            "1>2 client notifications/cancelled 0",
            "2>1 server prompts/get Prompt(\"p\") cancelled 4",
            "2>1 server notifications/cancelled 0",
            "2>1 server tools/list lost closed 80",
            "1>2 client tools/list lost closed 91",
        ]
    );
    assert!(world.mcp.channels.is_empty() && world.mcp.lanes.is_empty() && world.mcp.open.is_empty());
}

#[test]
fn an_answer_may_be_seen_before_its_request() {
    let mut world = World::new();
    world.send(Some((AGENT, 10)), Some((SERVERS[0], 10)), &request("1", "tools/list", ""));
    world.send(Some((SERVERS[0], 20)), Some((AGENT, 20)), &result("1", ""));
    assert_eq!(world.told().len(), 2);
    world.line(SERVERS[0], 10, Direction::Read, &request("2", "tools/list", ""));
    world.send(Some((SERVERS[0], 20)), Some((AGENT, 20)), &result("2", ""));
    world.line(AGENT, 10, Direction::Write, &request("2", "tools/list", ""));
    assert_eq!(world.told(), ["1>2 client tools/list 0", "2>1 server tools/list 1"]);
}

#[test]
fn other_protocols_are_not_told_and_given_up() {
    let mut world = World::new();
    for id in 0..FOREIGN + 2 {
        let editor = r#""processId":1,"protocolVersion":1"#;
        let text = request(&id.to_string(), if id == 0 { "initialize" } else { "session/prompt" }, editor);
        world.send(Some((AGENT, 10)), None, &text);
        world.send(None, Some((AGENT, 20)), &result(&id.to_string(), ""));
    }
    assert_eq!(world.told(), ["foreign 1 10", "foreign 1 20"]);
}
