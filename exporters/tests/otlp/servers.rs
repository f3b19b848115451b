//! A gRPC and an HTTP server that keep what they got and answer by a script.

use std::{
    collections::VecDeque,
    io::Read,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::{
    logs::v1::{
        ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tonic::{
    Response, Status,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

/// What a gRPC server got.
#[derive(Default)]
pub struct Got {
    pub spans: Vec<usize>,
    pub logs: Vec<usize>,
    pub metadata: Vec<MetadataMap>,
    /// The answers to come; success after them.
    pub script: VecDeque<Status>,
    pub rejected: i64,
    pub slow: Duration,
}

#[derive(Clone, Default)]
pub struct Grpc(pub Arc<Mutex<Got>>);

impl Grpc {
    /// Listens on a free port.
    pub async fn listen(&self, tls: Option<Identity>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gzip = CompressionEncoding::Gzip;
        let mut server = Server::builder();
        if let Some(identity) = tls {
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let router = server
            .add_service(TraceServiceServer::new(self.clone()).accept_compressed(gzip))
            .add_service(LogsServiceServer::new(self.clone()).accept_compressed(gzip));
        tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
        address
    }

    async fn answer(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let (next, slow) = {
            let mut got = self.0.lock().unwrap();
            got.metadata.push(metadata.clone());
            (got.script.pop_front(), got.slow)
        };
        tokio::time::sleep(slow).await;
        next.map_or(Ok(()), Err)
    }
}

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.answer(request.metadata()).await?;
        let scopes = request.get_ref().resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let count = scopes.map(|scope| scope.spans.len()).sum();
        let mut got = self.0.lock().unwrap();
        got.spans.push(count);
        let partial_success = (got.rejected > 0)
            .then(|| ExportTracePartialSuccess { rejected_spans: got.rejected, error_message: "too old".into() });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl LogsService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.answer(request.metadata()).await?;
        let scopes = request.get_ref().resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        let count = scopes.map(|scope| scope.log_records.len()).sum();
        self.0.lock().unwrap().logs.push(count);
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

/// A request that the HTTP server got, its body decompressed.
pub struct Post {
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

#[derive(Clone, Default)]
pub struct Http {
    pub posts: Arc<Mutex<Vec<Post>>>,
    /// Whole responses to come; an empty success after them.
    pub script: Arc<Mutex<VecDeque<String>>>,
}

impl Http {
    /// Listens on a free port.
    pub async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        address
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut buffer = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at + 4;
                }
                if stream.read_buf(&mut buffer).await.ok()? == 0 {
                    return None;
                }
            };
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let header = |name: &str| {
                let lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
            };
            let length: usize = header("content-length")?.parse().ok()?;
            while buffer.len() < end + length {
                stream.read_buf(&mut buffer).await.ok()?;
            }
            let mut body: Vec<u8> = buffer.drain(..end + length).skip(end).collect();
            if header("content-encoding").as_deref() == Some("gzip") {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).ok()?;
                body = plain;
            }
            let path = head.split(' ').nth(1)?.to_owned();
            self.posts.lock().unwrap().push(Post { path, head, body });
            let next = self.script.lock().unwrap().pop_front();
            let answer = next.unwrap_or_else(|| response("200 OK", "", ""));
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }
}

/// A response; `headers` end with a line break each.
pub fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}
