//! Streams: chunks of plaintext → ordered bytes → HTTP/1 → exchanges.
