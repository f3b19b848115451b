"""The provider behind another transport: HTTP/2 over TLS (needs the `h2` package), or plain HTTP.

usage: front.py h2|plain CERT KEY LEDGER   (prints its port, then serves until its stdin closes)
"""
import http.client, pathlib, socket, ssl, subprocess, sys, threading

KIND, CERT, KEY, LEDGER = sys.argv[1:5]
HERE = pathlib.Path(__file__).resolve().parent
behind = subprocess.Popen([sys.executable, HERE / "provider.py", CERT, KEY, LEDGER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
PORT = int(behind.stdout.readline())
trusting = ssl._create_unverified_context()  # its own child


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def plain(client):
    upstream = trusting.wrap_socket(socket.create_connection(("127.0.0.1", PORT)))
    threading.Thread(target=pump, args=(client, upstream), daemon=True).start()
    pump(upstream, client)


class Http2:
    def __init__(self, client):
        import h2.config, h2.connection
        self.client, self.lock, self.window = client, threading.Condition(), threading.Condition()
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.requests = {}
        with self.lock:
            self.connection.initiate_connection()
            self.flush()

    def flush(self):
        self.client.sendall(self.connection.data_to_send())

    def serve(self):
        import h2.events
        while data := self.client.recv(65536):
            with self.lock:
                for event in self.connection.receive_data(data):
                    stream = getattr(event, "stream_id", None)
                    if isinstance(event, h2.events.RequestReceived):
                        self.requests[stream] = (dict(event.headers), bytearray())
                    elif isinstance(event, h2.events.DataReceived):
                        self.requests[stream][1].extend(event.data)
                        self.connection.acknowledge_received_data(event.flow_controlled_length, stream)
                    elif isinstance(event, h2.events.StreamEnded):
                        headers, body = self.requests.pop(stream)
                        threading.Thread(target=self.answer, args=(stream, headers, bytes(body)), daemon=True).start()
                self.flush()
                self.lock.notify_all()

    def answer(self, stream, headers, body):
        upstream = http.client.HTTPSConnection("127.0.0.1", PORT, context=trusting)
        kept = {name: value for name, value in headers.items() if not name.startswith(":") and name not in ("host", "content-length")}
        upstream.request(headers[":method"], headers[":path"], body, kept)
        answer = upstream.getresponse()
        dropped = ("connection", "transfer-encoding", "keep-alive")
        with self.lock:
            self.connection.send_headers(stream, [(":status", str(answer.status))] + [(name.lower(), value) for name, value in answer.getheaders() if name.lower() not in dropped])
            self.flush()
        while data := answer.read1(16000):
            while data:
                with self.lock:
                    self.lock.wait_for(lambda: self.connection.local_flow_control_window(stream) > 0, timeout=10)
                    size = min(len(data), self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
                    self.connection.send_data(stream, data[:size])
                    self.flush()
                data = data[size:]
        with self.lock:
            self.connection.end_stream(stream)
            self.flush()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERT, KEY)
context.set_alpn_protocols(["h2"])


def http2(client):
    try:
        Http2(context.wrap_socket(client, server_side=True)).serve()
    except OSError:
        pass


def accept(listener):
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target={"h2": http2, "plain": plain}[KIND], args=(client,), daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, args=(listener,), daemon=True).start()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
behind.stdin.close()
behind.wait(10)
