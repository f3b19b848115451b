//! A TLS connection to a known provider whose plaintext was not seen.

use std::{sync::Arc, time::Duration};

use crate::{ids::Timestamp, observation::exchange::ConnectionFacts};

/// How it is known whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSource {
    /// The ClientHello's server name (RFC 6066, section 3).
    Sni,
    /// A DNS answer to this process or one above it gave the peer's address for that name.
    Dns,
}

impl NameSource {
    /// The value of `onlooker.llm.connection.name_source`.
    pub fn as_str(self) -> &'static str {
        match self {
            NameSource::Sni => "sni",
            NameSource::Dns => "dns",
        }
    }
}

/// A connection that cannot be decrypted, told when it is over. One connection may carry many calls, or none.
#[derive(Clone, Debug)]
pub struct OpaqueCall {
    /// `gen_ai.provider.name`; absent for a gateway to many.
    pub provider: Option<String>,
    /// `server.address`: the name by which the server is known.
    pub server_name: String,
    /// Where that name is from.
    pub name_source: NameSource,
    /// Its addresses, and what the ClientHello offers.
    pub facts: Arc<ConnectionFacts>,
    /// The first bytes that the process sent or received on it; if the watch began in its middle, the first ones seen.
    pub started: Timestamp,
    /// When the process closed it, or ended.
    pub ended: Timestamp,
    /// Bytes that the process sent, TLS's own included.
    pub sent: u64,
    /// Bytes that it received, TLS's own included.
    pub received: u64,
    /// From the client's first application data after the handshake to the server's first application data after it that
    /// can be no session ticket. Absent if that cannot be told from the records' headers.
    pub first_byte: Option<Duration>,
}
