//! Against a kubelet that is none: loopback, an invented node, an invented token.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::mpsc::{Receiver, channel},
};

use pipeline::config::{Problems, render, values::GoDuration};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, server::WebPkiClientVerifier};

use super::{config::Kubernetes, *};

const NODE: &[u8] = include_bytes!("fixtures/pods.json");
const TOKEN: &str = "invented-token-9f8e7d";
/// Only a test that fails waits this long.
const FAILED: Duration = Duration::from_secs(60);

/// Answers each request, given its head, on a thread of its own.
fn serve(tls: Option<Arc<ServerConfig>>, mut answer: impl FnMut(&str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    fn exchange(mut stream: impl Read + Write, answer: &mut impl FnMut(&str) -> Vec<u8>) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let answer = answer(std::str::from_utf8(&head).unwrap());
        stream.write_all(&answer).ok()?;
        stream.flush().ok()
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            match &tls {
                None => exchange(stream, &mut answer),
                Some(config) => {
                    exchange(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream), &mut answer)
                }
            };
        }
    });
    address
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    answer.push_str(std::str::from_utf8(body).unwrap());
    answer.into_bytes()
}

/// A certificate of an authority of its own, for loopback: the server's configuration, and the authority as PEM.
fn certificate(clients: Option<&rcgen::Certificate>) -> (Arc<ServerConfig>, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = signing_key.serialize_der().try_into().unwrap();
    (Arc::new(builder.with_single_cert(vec![cert.der().clone()], key).unwrap()), cert.pem())
}

fn config(endpoint: String, auth_type: AuthType) -> Config {
    Config { endpoint, auth_type, interval: GoDuration(Duration::from_secs(3600)), ..Config::default() }
}

fn ask(config: Config) -> (Kubelet, Receiver<Told>, Telemetry) {
    let (sender, told) = channel();
    let telemetry = Telemetry::default();
    let deliver = Box::new(move |told| sender.send(told).is_ok());
    let kubelet = Kubelet::start(config, vec!["team".into()], &telemetry, "ebpf", deliver).unwrap();
    kubelet.wait(FAILED);
    (kubelet, told, telemetry)
}

fn error(config: Config) -> String {
    let (kubelet, told, telemetry) = ask(config);
    let (name, error) = kubelet.status();
    assert_eq!((name.as_str(), told.try_recv().is_err()), ("kubernetes/kubelet", true));
    let labels = [("receiver", "ebpf"), ("outcome", "failed")];
    assert!(telemetry.counter(names::KUBELET_REQUESTS, &labels).get() >= 1);
    let error = error.expect("an error");
    assert!(!error.contains(TOKEN), "{error}");
    error
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_read_only_port_is_asked_without_a_token() {
    let (heads, asked) = channel();
    let address = serve(None, move |head| {
        heads.send(head.to_owned()).unwrap();
        http("200 OK", NODE)
    });
    // Without a scheme, as the Collector takes it.
    let (kubelet, told, telemetry) = ask(config(address.to_string(), AuthType::None));
    assert_eq!(kubelet.status().1, None);
    let told = told.try_recv().unwrap();
    assert_eq!((told.pods.len(), told.gone.len()), (8, 0));
    let head = asked.try_recv().unwrap().to_lowercase();
    assert!(head.starts_with("get /pods http/1.1\r\n") && !head.contains("authorization"), "{head}");
    let labels = [("receiver", "ebpf"), ("outcome", "answered")];
    assert_eq!(telemetry.counter(names::KUBELET_REQUESTS, &labels).get(), 1);
}

#[test]
fn a_service_account_is_asked_for_over_tls_and_its_token_stays_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (server, authority) = certificate(None);
    let address = serve(Some(server), |head| {
        let known = head.lines().any(|line| line.eq_ignore_ascii_case(&format!("authorization: Bearer {TOKEN}")));
        if known { http("200 OK", NODE) } else { http("401 Unauthorized", b"Unauthorized") }
    });
    let good = Config {
        ca_file: Some(file(folder.path(), "ca.crt", &authority)),
        token_file: file(folder.path(), "token", &format!("{TOKEN}\n")),
        ..config(format!("https://{address}/"), AuthType::ServiceAccount)
    };
    let (kubelet, told, _) = ask(good.clone());
    assert_eq!(kubelet.status().1, None);
    assert_eq!(told.try_recv().unwrap().pods.len(), 8);

    let stale = file(folder.path(), "stale", &format!("{TOKEN}-of-yesterday"));
    let text = error(Config { token_file: stale, ..good.clone() });
    assert!(text.contains("401") && text.contains("token_file"), "{text}");
    let text = error(Config { token_file: "/nonexistent/token".into(), ..good.clone() });
    assert!(text.starts_with("token_file: cannot read /nonexistent/token"), "{text}");
    let text = error(Config { token_file: file(folder.path(), "binary", "a\u{1}b"), ..good.clone() });
    assert!(text.ends_with("holds no token"), "{text}");

    // Another authority.
    let (_, other) = certificate(None);
    let strange = Config { ca_file: Some(file(folder.path(), "other.crt", &other)), ..good };
    let text = error(strange.clone());
    assert!(text.contains("certificate") && text.contains("set ca_file"), "{text}");
    let (kubelet, ..) = ask(Config { insecure_skip_verify: true, ..strange });
    assert_eq!(kubelet.status().1, None);
}

#[test]
fn a_certificate_says_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let client = rcgen::generate_simple_self_signed(["onlooker".to_owned()]).unwrap();
    let (server, authority) = certificate(Some(&client.cert));
    let address = serve(Some(server), |_| http("200 OK", NODE));
    let config = Config {
        ca_file: Some(file(folder.path(), "ca.crt", &authority)),
        cert_file: Some(file(folder.path(), "client.crt", &client.cert.pem())),
        key_file: Some(file(folder.path(), "client.key", &client.signing_key.serialize_pem())),
        ..config(format!("https://{address}"), AuthType::Tls)
    };
    let (kubelet, told, _) = ask(config);
    assert_eq!(kubelet.status().1, None);
    assert_eq!(told.try_recv().unwrap().pods.len(), 8);
}

#[test]
fn a_pod_that_is_new_is_asked_for_and_one_that_is_gone_is_told() {
    let list = |names: &[&str]| {
        let pod = |name: &&str| {
            serde_json::json!({"metadata": {"name": name, "namespace": "n", "uid": name},
                "status": {"containerStatuses": [{"name": "main", "containerID": format!("containerd://{name}-1")}]}})
        };
        serde_json::json!({"kind": "PodList", "items": names.iter().map(pod).collect::<Vec<_>>()}).to_string()
    };
    let mut answers = vec![list(&["a", "b"]), list(&["a", "b"]), list(&["a", "c"])];
    let last = answers[2].clone();
    let address = serve(None, move |_| {
        let answer = if answers.is_empty() { last.clone() } else { answers.remove(0) };
        http("200 OK", answer.as_bytes())
    });
    let (kubelet, told, telemetry) = ask(config(address.to_string(), AuthType::None));
    let uids = |told: &Told| told.pods.iter().map(|pod| pod.uid.clone()).collect::<Vec<_>>();
    assert_eq!(uids(&told.try_recv().unwrap()), ["a", "b"]);
    let place = |pod: &str, container: &str| Workload {
        pod_uid: Some(pod.into()),
        container_id: Some(container.into()),
        ..Workload::default()
    };
    // What is known is not asked for, nor what is in no pod.
    kubelet.want(&place("a", "a-1"));
    kubelet.want(&Workload::default());
    assert!(kubelet.shared.lock().wanted.is_empty());
    // The kubelet tells a pod some seconds late.
    kubelet.want(&place("c", "c-1"));
    let second = told.recv_timeout(FAILED).unwrap();
    assert_eq!((uids(&second), second.gone), (vec!["c".to_owned()], vec!["b".to_owned()]));
    let labels = [("receiver", "ebpf"), ("outcome", "answered")];
    assert_eq!(telemetry.counter(names::KUBELET_REQUESTS, &labels).get(), 3);
    assert!(kubelet.shared.lock().wanted.is_empty());
}

#[test]
fn what_no_answer_has_is_given_up() {
    let mut state = State::default();
    state.wanted.insert(("pod".into(), "sandbox".into()), 0);
    for _ in 0..TRIES {
        assert_eq!(state.wanted.len(), 1);
        state.learn(vec![Pod { uid: "pod".into(), ..Pod::default() }]);
    }
    assert!(state.wanted.is_empty() && state.hopeless.contains(&("pod".into(), "sandbox".into())));
}

#[test]
fn a_kubelet_that_misbehaves_is_an_error_and_no_more() {
    let at = |answer: Vec<u8>| {
        let address = serve(None, move |_| answer.clone());
        error(config(address.to_string(), AuthType::None))
    };
    let text = at(http("403 Forbidden", b"Forbidden (user=system:anonymous)"));
    assert!(text.contains("403") && text.contains("nodes/pods"), "{text}");
    // Nobody is followed elsewhere.
    let text = at(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/pods\r\ncontent-length: 0\r\n\r\n".to_vec());
    assert!(text.contains("302"), "{text}");
    assert!(at(http("200 OK", b"<html>")).contains("no list of pods"));
    at(b"\x16\x03\x01 what is this?\r\n\r\n".to_vec());
    let long = at(http("200 OK", &vec![b' '; LONGEST + 1]));
    assert!(long.contains("longer than 32 MiB"), "{long}");

    // It accepts and says nothing; and nobody is there at all.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = config(listener.local_addr().unwrap().to_string(), AuthType::None);
    let text = error(Config { timeout: GoDuration(Duration::from_millis(100)), ..silent.clone() });
    assert!(text.contains("timed out"), "{text}");
    drop(listener);
    assert!(error(silent).contains("refused"));
}

#[test]
fn what_finds_no_room_is_told_again() {
    let address = serve(None, |_| http("200 OK", NODE));
    let (sender, told) = channel();
    let mut full = true;
    let deliver = Mutex::new(move |told: Told| {
        sender.send(told).unwrap();
        !std::mem::take(&mut full)
    });
    let deliver = Box::new(move |told| deliver.lock().unwrap()(told));
    let config =
        Config { interval: GoDuration(Duration::from_millis(1)), ..config(address.to_string(), AuthType::None) };
    let _kubelet = Kubelet::start(config, Vec::new(), &Telemetry::default(), "ebpf", deliver).unwrap();
    let first = told.recv_timeout(FAILED).unwrap();
    assert_eq!(told.recv_timeout(FAILED).unwrap(), first);
}

#[test]
fn wrong_keys_are_named() {
    let check = |yaml: serde_json::Value| {
        let mut problems = Problems::new();
        serde_json::from_value::<Kubernetes>(yaml).unwrap().validate("k", &mut problems);
        render(&problems)
    };
    let kubelet = |kubelet: serde_json::Value| {
        check(serde_json::json!({"labels": ["app.kubernetes.io/name"], "kubelet": kubelet}))
    };
    assert_eq!(kubelet(serde_json::json!({"endpoint": "https://10.0.0.7:10250"})), "");
    assert_eq!(kubelet(serde_json::json!({"endpoint": "[fd00::7]:10250", "insecure_skip_verify": true})), "");
    for (keys, said) in [
        (serde_json::json!({}), "k::kubelet::endpoint"),
        (serde_json::json!({"endpoint": "https://:10250"}), "k::kubelet::endpoint"),
        (serde_json::json!({"endpoint": "fd00::7:10250"}), "brackets"),
        (serde_json::json!({"endpoint": "https://a:b@host:10250"}), "auth_type"),
        (serde_json::json!({"endpoint": "https://host:10250/pods"}), "/pods is added"),
        (serde_json::json!({"endpoint": "http://host:10255"}), "in the clear"),
        (serde_json::json!({"endpoint": "https://host", "auth_type": "tls"}), "needs cert_file"),
        (serde_json::json!({"endpoint": "https://host", "cert_file": "x", "key_file": "y"}), "use auth_type: tls"),
        (serde_json::json!({"endpoint": "https://host", "interval": "10ms"}), "k::kubelet::interval"),
        (serde_json::json!({"endpoint": "https://host", "timeout": "0s"}), "k::kubelet::timeout"),
    ] {
        let problems = kubelet(keys);
        assert!(problems.contains(said), "{said}: {problems}");
    }
    assert!(check(serde_json::json!({"labels": ["a"]})).contains("only the kubelet knows labels"));
    assert!(
        check(serde_json::json!({"labels": ["a b"], "kubelet": {"endpoint": "https://host"}})).contains("labels::0")
    );
    assert!(
        serde_json::from_value::<Kubernetes>(
            serde_json::json!({"kubelet": {"endpoint": "x", "auth_type": "kubeConfig"}})
        )
        .is_err()
    );
}
