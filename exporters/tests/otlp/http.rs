//! `otlp_http`.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use opentelemetry_proto::tonic::collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest};
use pipeline::Signal;
use prost::Message;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;

use super::{
    CANARY,
    servers::{Http, response},
    start, until,
};

const FAST: &str = "retry_on_failure: {initial_interval: 10ms, max_interval: 20ms, max_elapsed_time: 60s}";

#[tokio::test]
async fn spans_and_log_records_arrive_with_headers_and_gzip() {
    let server = Http::default();
    let address = server.listen().await;
    let yaml = format!("{{endpoint: 'http://{address}/base/', headers: {{X-Key: {CANARY}}}}}");
    let running = start("otlphttp", &yaml);
    running.export(Signal::Traces, 3);
    running.until_sent(3).await;
    running.export(Signal::Logs, 2);
    running.until_sent(5).await;
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
    let posts = server.posts.lock().unwrap();
    let [traces, logs] = &posts[..] else { unreachable!("two requests") };
    assert_eq!((traces.path.as_str(), logs.path.as_str()), ("/base/v1/traces", "/base/v1/logs"));
    for expected in
        [format!("x-key: {CANARY}"), "content-encoding: gzip".into(), "content-type: application/x-protobuf".into()]
    {
        assert!(traces.head.to_lowercase().contains(&expected), "{expected}");
    }
    assert_eq!(ExportTraceServiceRequest::decode(&traces.body[..]).unwrap().resource_spans.len(), 3);
    assert_eq!(ExportLogsServiceRequest::decode(&logs.body[..]).unwrap().resource_logs.len(), 2);
}

#[tokio::test]
async fn json_without_compression_goes_to_the_signals_own_endpoint() {
    let server = Http::default();
    let partial = r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}"#;
    server.script.lock().unwrap().push_back(response("200 OK", "", partial));
    let address = server.listen().await;
    let running =
        start("otlp_http", &format!("traces_endpoint: http://{address}/own\nencoding: json\ncompression: none"));
    running.export(Signal::Traces, 3);
    running.until_sent(2).await;
    assert_eq!(running.dropped("rejected"), 1);
    // There is no endpoint for these.
    running.export(Signal::Logs, 2);
    until(|| running.dropped("permanent") == 2).await;
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
    let posts = server.posts.lock().unwrap();
    assert_eq!(posts[0].path, "/own");
    assert!(posts[0].head.to_lowercase().contains("content-type: application/json"));
    let body: serde_json::Value = serde_json::from_slice(&posts[0].body).unwrap();
    assert_eq!(body["resourceSpans"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again_and_another_is_not() {
    let server = Http::default();
    server.script.lock().unwrap().extend([
        response("503 Service Unavailable", "", ""),
        response("429 Too Many Requests", "retry-after: 1\r\n", ""),
    ]);
    let address = server.listen().await;
    let running = start("otlp_http", &format!("endpoint: http://{address}\n{FAST}"));
    let began = Instant::now();
    running.export(Signal::Traces, 1);
    running.until_sent(1).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "Retry-After is respected");
    assert_eq!(server.posts.lock().unwrap().len(), 3);

    let elsewhere = format!("location: http://{address}/elsewhere\r\n");
    server.script.lock().unwrap().extend([
        response("401 Unauthorized", "", ""),
        response("500 Internal Server Error", "", ""),
        response("307 Temporary Redirect", &elsewhere, ""),
    ]);
    for count in 1..=3 {
        running.export(Signal::Traces, 1);
        until(|| running.dropped("permanent") == count).await;
    }
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
    assert_eq!(server.posts.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn an_unreachable_endpoint_does_not_hold_up_the_stop() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let running = start("otlp_http", &format!("endpoint: http://{address}\nheaders: {{x-key: {CANARY}}}"));
    running.export(Signal::Traces, 3);
    let began = Instant::now();
    let error = running.exporter.shutdown().await.unwrap_err().to_string();
    assert!(running.balanced());
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(error.starts_with("3 spans, 0 log records were not delivered: "), "{error}");
    assert!(error.to_lowercase().contains("refused") && !error.contains(CANARY), "{error}");
}

/// Answers every request on one connection after another; a failed handshake ends only its connection.
fn listen_with_tls(cert: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> SocketAddr {
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut chunk = [0; 65536];
            let mut got = Vec::new();
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                got.extend_from_slice(&chunk[..count]);
                let text = String::from_utf8_lossy(&got).to_lowercase();
                let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                let length = text.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
                if got.len() >= end + 4 + length.unwrap().parse::<usize>().unwrap() {
                    let answer = response("200 OK", "connection: close\r\n", "");
                    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
                    break;
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn tls_needs_an_authority_that_is_trusted_unless_told_otherwise() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let address = listen_with_tls(made.cert.der().clone(), key);
    for tls in [format!("ca_file: '{}'", ca.display()), "insecure_skip_verify: true".into()] {
        let running = start("otlp_http", &format!("endpoint: https://{address}\ntls: {{{tls}}}"));
        running.export(Signal::Traces, 1);
        running.until_sent(1).await;
        running.exporter.shutdown().await.unwrap();
        assert!(running.balanced());
    }
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&ca, other.cert.pem()).unwrap();
    let running = start("otlp_http", &format!("endpoint: https://{address}\ntls: {{ca_file: '{}'}}", ca.display()));
    running.export(Signal::Traces, 1);
    let error = running.exporter.shutdown().await.unwrap_err().to_string();
    assert!(running.balanced());
    assert!(error.contains("ertificate"), "{error}");
    assert_eq!(running.sent(), 0);
}
