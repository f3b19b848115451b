//! `otlp_grpc`, and the queue behind it.

use std::{sync::Arc, time::Duration};

use pipeline::Signal;
use tokio::time::Instant;
use tonic::{Code, Status, transport::Identity};
use tonic_types::{ErrorDetails, StatusExt};

use super::{CANARY, observation, servers::Grpc, start, until};

const FAST: &str = "retry_on_failure: {initial_interval: 10ms, max_interval: 20ms, max_elapsed_time: 60s}";

#[tokio::test]
async fn spans_and_log_records_arrive_with_headers_and_gzip() {
    let server = Grpc::default();
    let address = server.listen(None).await;
    let yaml = format!("{{endpoint: 'http://{address}', headers: {{X-Key: {CANARY}}}}}");
    let running = start("otlp", &yaml);
    running.export(Signal::Traces, 3);
    running.export(Signal::Logs, 2);
    running.until_sent(5).await;
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
    let got = server.0.lock().unwrap();
    assert_eq!((got.spans.as_slice(), got.logs.as_slice()), (&[3][..], &[2][..]));
    for metadata in &got.metadata {
        assert_eq!(metadata.get("x-key").unwrap(), CANARY);
        assert_eq!(metadata.get("grpc-encoding").unwrap(), "gzip");
        assert!(metadata.get("user-agent").unwrap().to_str().unwrap().starts_with("onlooker/"));
    }
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again_and_another_is_not() {
    let server = Grpc::default();
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(300)));
    server.0.lock().unwrap().script.extend([
        Status::unavailable("starting"),
        Status::with_error_details(Code::ResourceExhausted, "too much", details),
    ]);
    let address = server.listen(None).await;
    let running = start("otlp_grpc", &format!("endpoint: http://{address}\n{FAST}"));
    let began = Instant::now();
    running.export(Signal::Traces, 1);
    running.until_sent(1).await;
    assert!(began.elapsed() >= Duration::from_millis(300), "RetryInfo is respected");
    assert_eq!(server.0.lock().unwrap().metadata.len(), 3);

    server.0.lock().unwrap().script.extend([Status::unauthenticated("no"), Status::resource_exhausted("quota")]);
    running.export(Signal::Traces, 4);
    until(|| running.dropped("permanent") == 4).await;
    running.export(Signal::Logs, 2);
    until(|| running.dropped("permanent") == 6).await;
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
    assert_eq!(server.0.lock().unwrap().metadata.len(), 5);
}

#[tokio::test]
async fn what_the_server_rejects_is_counted() {
    let server = Grpc::default();
    server.0.lock().unwrap().rejected = 2;
    let address = server.listen(None).await;
    let running = start("otlp_grpc", &format!("endpoint: http://{address}"));
    running.export(Signal::Traces, 5);
    running.until_sent(3).await;
    assert_eq!(running.dropped("rejected"), 2);
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
}

#[tokio::test]
async fn retries_end_after_their_time() {
    let server = Grpc::default();
    server.0.lock().unwrap().script.extend((0..100).map(|_| Status::unavailable("down")));
    let address = server.listen(None).await;
    let retry = "retry_on_failure: {initial_interval: 10ms, max_interval: 20ms, max_elapsed_time: 100ms}";
    let running = start("otlp_grpc", &format!("endpoint: http://{address}\n{retry}"));
    running.export(Signal::Traces, 2);
    until(|| running.dropped("retries_exhausted") == 2).await;
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
}

#[tokio::test]
async fn an_unreachable_endpoint_keeps_a_bounded_queue_and_a_quick_stop() {
    // Bound, not listening any more: connections are refused.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let yaml = format!("endpoint: http://{address}\nsending_queue: {{num_consumers: 1, queue_size: 2}}");
    let running = start("otlp_grpc", &yaml);
    running.export(Signal::Traces, 3);
    // The only consumer is now busy with retries.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    for _ in 0..10 {
        running.export(Signal::Logs, 1);
    }
    assert!(began.elapsed() < Duration::from_millis(500), "export does not wait");
    assert_eq!(running.dropped("queue_full"), 8);
    let began = Instant::now();
    let error = running.exporter.shutdown().await.unwrap_err().to_string();
    assert!(running.balanced());
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(error.starts_with("3 spans, 2 log records were not delivered: "), "{error}");
    assert!(error.to_lowercase().contains("refused"), "{error}");
    assert_eq!(running.dropped("shutdown"), 5);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_does_not_hold_up_the_stop() {
    let server = Grpc::default();
    server.0.lock().unwrap().slow = Duration::from_secs(60);
    let address = server.listen(None).await;
    let queue = "sending_queue: {num_consumers: 1}";
    let running = start("otlp_grpc", &format!("endpoint: http://{address}\ntimeout: 300ms\n{queue}"));
    for _ in 0..50 {
        running.export(Signal::Traces, 1000);
    }
    let began = Instant::now();
    let error = running.exporter.shutdown().await.unwrap_err().to_string();
    assert!(running.balanced());
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(error.starts_with("50000 spans, 0 log records were not delivered: "), "{error}");
}

#[tokio::test]
async fn what_waits_is_delivered_at_the_stop_in_few_requests() {
    let server = Grpc::default();
    server.0.lock().unwrap().script.push_back(Status::unavailable("starting"));
    let address = server.listen(None).await;
    let running = start("otlp_grpc", &format!("endpoint: http://{address}\nsending_queue: {{num_consumers: 1}}"));
    running.export(Signal::Traces, 1);
    until(|| server.0.lock().unwrap().metadata.len() == 1).await;
    for _ in 0..20 {
        running.export(Signal::Traces, 1000);
        running.export(Signal::Logs, 1);
    }
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
    let got = server.0.lock().unwrap();
    assert_eq!(got.spans, [1, 8000, 8000, 4000]);
    assert_eq!(got.logs, [20]);
    drop(got);
    running.export(Signal::Traces, 1);
    assert_eq!(running.dropped("shutdown"), 1);
}

#[tokio::test]
async fn big_requests_are_split() {
    let server = Grpc::default();
    let address = server.listen(None).await;
    let running =
        start("otlp_grpc", &format!("endpoint: http://{address}\nlimits: {{attribute_value_length: 2097152}}"));
    let big = "x".repeat(1 << 20);
    let batch = (0..10).map(|at| observation(Signal::Traces, at, &big)).collect();
    running.exporter.export(Signal::Traces, Arc::new(batch));
    running.until_sent(10).await;
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
    assert_eq!(server.0.lock().unwrap().spans, [2, 3, 2, 3]);
}

/// A single item that no request has room for is shortened, not refused.
#[tokio::test]
async fn an_item_larger_than_a_request_is_shortened() {
    let server = Grpc::default();
    let address = server.listen(None).await;
    let running = start("otlp_grpc", &format!("endpoint: http://{address}\nlimits: {{preset: none}}"));
    let big = "x".repeat(9 << 20);
    let batch = vec![observation(Signal::Traces, 0, "/"), observation(Signal::Traces, 1, &big)];
    running.exporter.export(Signal::Traces, Arc::new(batch));
    running.until_sent(2).await;
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
    assert_eq!(server.0.lock().unwrap().spans, [1, 1]);
}

#[tokio::test]
async fn without_a_queue_a_batch_needs_a_free_consumer() {
    let server = Grpc::default();
    server.0.lock().unwrap().slow = Duration::from_millis(300);
    let address = server.listen(None).await;
    let queue = "sending_queue: {enabled: false, num_consumers: 1}";
    let running = start("otlp_grpc", &format!("endpoint: http://{address}\n{queue}"));
    running.export(Signal::Traces, 1);
    running.export(Signal::Traces, 1);
    running.until_sent(1).await;
    assert_eq!(running.dropped("queue_full"), 1);
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());
}

#[tokio::test]
async fn tls_needs_an_authority_that_is_trusted() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &cert).unwrap();
    let server = Grpc::default();
    let port = server.listen(Some(Identity::from_pem(cert, key))).await.port();

    let tls = format!("tls: {{ca_file: '{}', server_name_override: localhost}}", file.display());
    let running = start("otlp_grpc", &format!("endpoint: 127.0.0.1:{port}\n{tls}"));
    running.export(Signal::Traces, 1);
    running.until_sent(1).await;
    running.exporter.shutdown().await.unwrap();
    assert!(running.balanced());

    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    std::fs::write(&file, other).unwrap();
    let running = start("otlp_grpc", &format!("endpoint: https://127.0.0.1:{port}\n{tls}"));
    running.export(Signal::Traces, 1);
    let error = running.exporter.shutdown().await.unwrap_err().to_string();
    assert!(running.balanced());
    assert!(error.contains("ertificate"), "{error}");
    assert_eq!(running.sent(), 0);
}
