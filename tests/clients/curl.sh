#!/bin/sh
# curl: plain and streamed, each in a process of its own; the first request of a new process must not be missed.
set -eu
for stream in false true false; do
    curl -sS --http1.1 --cacert "$SSL_CERT_FILE" "$BASE_URL/v1/chat/completions" -H 'Content-Type: application/json' \
        -H 'Authorization: Bearer sk-canary-curl' \
        -d "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":$stream,\"stream_options\":{\"include_usage\":true}}" > /dev/null
done
