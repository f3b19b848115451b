//! What to attach to in a file: the result of every search, whatever the TLS stack.

/// A TLS implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// OpenSSL, and what exports its names.
    OpenSsl,
    /// BoringSSL.
    BoringSsl,
    /// rustls, whatever its cryptography.
    Rustls,
    /// AWS-LC's AEAD functions, where rustls's own cannot be told apart.
    AwsLc,
    /// Go's `crypto/tls`.
    Go,
    /// GnuTLS.
    GnuTls,
    /// NSS.
    Nss,
}

impl Stack {
    /// Its name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Stack::OpenSsl => "OpenSSL",
            Stack::BoringSsl => "BoringSSL",
            Stack::Rustls => "rustls",
            Stack::AwsLc => "AWS-LC",
            Stack::Go => "Go crypto/tls",
            Stack::GnuTls => "GnuTLS",
            Stack::Nss => "NSS",
        }
    }
}

/// How a function is called, and so which probe programs fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// `int f(object, void *, int)`: bytes read, or ≤ 0. (`SSL_read`, `PR_Read`)
    Read,
    /// `int f(object, const void *, int)`: bytes written, or ≤ 0. (`SSL_write`, `PR_Write`)
    Write,
    /// `int f(object, void *, size_t, size_t *readbytes)`: > 0 if it went well. (`SSL_read_ex`, `ssl_read_internal`)
    ReadEx,
    /// `int f(object, const void *, size_t, size_t *written)`: > 0 if it went well. (`SSL_write_ex`)
    WriteEx,
    /// `int f(object, const void *, size_t, uint64_t flags, size_t *written)`. (`ssl_write_internal` from OpenSSL 3.2 on)
    WriteFlags,
    /// `ssize_t f(object, void *, size_t)`: bytes read, or ≤ 0. (`gnutls_record_recv`)
    ReadSize,
    /// `ssize_t f(object, const void *, size_t)`: bytes written, or ≤ 0. (`gnutls_record_send`)
    WriteSize,
    /// `void f(object)`: the object ends. (`SSL_free`, `gnutls_deinit`)
    Free,
    /// `object f(...)`, at its return: the object begins; what had its address before is gone. (`SSL_new`)
    New,
    /// rustls `MessageEncrypter::encrypt`: the plaintext of one record, at entry.
    RustlsEncrypt,
    /// rustls `MessageDecrypter::decrypt`: the plaintext of one record, at return.
    RustlsDecrypt,
    /// `EVP_AEAD_CTX_seal`: the plaintext of one record, at entry.
    AeadSeal,
    /// `EVP_AEAD_CTX_seal_scatter`: the plaintext of one record, at entry.
    AeadScatter,
    /// `EVP_AEAD_CTX_open`: the plaintext of one record, at return.
    AeadOpen,
    /// Go `(*tls.Conn).Read`; its returns are hooked one by one.
    GoRead,
    /// Go `(*tls.Conn).Write`; the plaintext at entry.
    GoWrite,
    /// Go `(*tls.Conn).Close`: the object ends.
    GoClose,
}

/// One function.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Site {
    /// How it is called.
    pub probe: Probe,
    /// Its name, as the stack's source has it.
    pub name: String,
    /// File offset of its first instruction.
    pub entry: u64,
    /// File offsets of its `ret` instructions, where they are hooked instead of the return address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<u64>,
}

impl Site {
    /// A function that is hooked at its first instruction and at its return address.
    pub fn new(probe: Probe, name: &str, entry: u64) -> Self {
        Self { probe, name: name.to_owned(), entry, returns: Vec::new() }
    }
}

/// Where the plaintext of one TLS stack in a file passes. Both directions, or none: a method that is not sure gives no
/// plan.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// The stack.
    pub stack: Stack,
    /// How it was found, for people: "exported names", "error reasons"…
    pub method: String,
    /// The functions.
    pub sites: Vec<Site>,
}

impl Plan {
    /// Names of its functions.
    pub fn names(&self) -> Vec<&str> {
        self.sites.iter().map(|site| site.name.as_str()).collect()
    }
}

/// What a search found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Found {
    /// What to attach to.
    pub plans: Vec<Plan>,
    /// What is there and could not be told apart, one sentence each: "BoringSSL is in it, but two functions look like
    /// SSL_read".
    pub doubts: Vec<String>,
}
