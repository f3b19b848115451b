#!/bin/sh
# curl: plain and streamed, with and without a tool call, each in a process of its own; the first request of a new
# process must not be missed.
set -eu
for prompt in plain tool; do
    for stream in false true; do
        curl -sS --http1.1 --cacert "$SSL_CERT_FILE" "$BASE_URL/v1/chat/completions" -H 'Content-Type: application/json' \
            -H 'Authorization: Bearer sk-canary-curl' \
            -d "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"$prompt\"}],\"stream\":$stream,\"stream_options\":{\"include_usage\":true}}" > /dev/null
    done
done
# Two on one connection.
body='{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":"plain"}]}'
curl -sS --http1.1 --compressed --cacert "$SSL_CERT_FILE" -H 'Content-Type: application/json' -H 'x-api-key: sk-ant-canary' \
    -d "$body" "$BASE_URL/v1/messages" "$BASE_URL/v1/messages" > /dev/null
