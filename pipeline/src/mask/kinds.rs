//! The kinds of text that are masked: the one list. The table in processors/src/redaction/README.md is tested against it.

/// What a kind is, and so who decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Opens something. Always masked.
    Credential,
    /// Says something about a person. Masked unless the operator says otherwise.
    Personal,
    /// May be anything. Masked only if the operator asks for it: digests and ids look the same.
    Generic,
}

/// What `…` in a shape stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// Letters and digits.
    Word,
    /// Hexadecimal digits.
    Hex,
    /// Nothing: the shape is an example.
    None,
}

/// A kind.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// What stands in the mask: `[REDACTED:name]`.
    pub name: &'static str,
    /// Who decides about it.
    pub class: Class,
    /// How such a text looks; `…` is the secret, or the rest of it.
    pub shape: &'static str,
    /// Whose or what it is.
    pub meaning: &'static str,
    pub(super) fill: Fill,
}

macro_rules! kinds {
    ($($name:ident $class:ident $fill:ident $shape:literal $meaning:literal;)*) => {
        /// A kind of text that is masked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($name,)* }

        /// Every kind.
        pub const KINDS: &[Info] = &[$(Info {
            name: stringify!($name),
            class: Class::$class,
            shape: $shape,
            meaning: $meaning,
            fill: Fill::$fill,
        },)*];
    };
}

// Names of the first kinds are those that other tools of this trade write, so that dashboards need not be told twice.
kinds! {
    AnthropicKey Credential Word "sk-ant-…" "Anthropic";
    OpenAiKey Credential Word "sk-proj-…" "OpenAI (`sk-…`, `sk-proj-…`, `sk-svcacct-…`, `sk-admin-…`), and providers with keys of this form: DeepSeek, Moonshot, Qwen, LiteLLM";
    AwsAccessKey Credential None "AKIACANARYCANARY2345" "AWS, id of an access key (`AKIA…`, `ASIA…`)";
    AwsSecretKey Credential Word "aws_secret_access_key=…" "AWS, secret of an access key: by its name, or beside its id";
    GcpServiceAccount Credential Word "{\"type\": \"service_account\", \"private_key_id\": \"…\"}" "Google Cloud, a service account's key file";
    AzureConnectionString Credential Word "AccountKey=…" "Azure (`AccountKey=`, `SharedAccessKey=`, `SharedAccessSignature=`)";
    GitHubPat Credential Word "ghp_…" "GitHub, personal access token (`ghp_…`, `github_pat_…`)";
    GitHubAppToken Credential Word "ghs_…" "GitHub, token of an app (`ghs_…`, `gho_…`, `ghu_…`, `ghr_…`)";
    SlackBotToken Credential Word "xoxb-…" "Slack, bot (`xoxb-…`, `xapp-…`)";
    SlackUserToken Credential Word "xoxp-…" "Slack, user (`xoxp-…`, `xoxs-…`, `xoxc-…`, `xoxd-…`)";
    SlackOAuthToken Credential Word "xoxa-…" "Slack, OAuth (`xoxa-…`, `xoxr-…`, `xoxe-…`)";
    SlackWebhook Credential Word "hooks.slack.com/services/…" "Slack, address of an incoming webhook";
    PostgresUrl Credential Word "postgres://user:…@db/main" "PostgreSQL, address with a password";
    MysqlUrl Credential Word "mysql://user:…@db/main" "MySQL and MariaDB, address with a password";
    MongodbUrl Credential Word "mongodb://user:…@db/main" "MongoDB, address with a password (`mongodb+srv` too)";
    DatabaseUrl Credential Word "redis://:…@cache:6379/0" "Other stores and queues, address with a password (Redis, AMQP, NATS, ClickHouse, SQL Server, Oracle, Kafka, LDAP …)";
    RsaPrivateKey Credential Word "-----BEGIN RSA PRIVATE KEY-----\\n…" "PEM, RSA (to its end, or to the text's)";
    EcPrivateKey Credential Word "-----BEGIN EC PRIVATE KEY-----\\n…" "PEM, EC";
    OpensshPrivateKey Credential Word "-----BEGIN OPENSSH PRIVATE KEY-----\\n…" "OpenSSH";
    PgpPrivateKey Credential Word "-----BEGIN PGP PRIVATE KEY BLOCK-----\\n…" "PGP";
    PrivateKey Credential Word "-----BEGIN PRIVATE KEY-----\\n…" "Any other PEM (PKCS 8, encrypted, DSA, SSH2), also as base64 of PEM";
    AgeKey Credential Word "AGE-SECRET-KEY-1…" "age";
    Jwt Credential Word "eyJ….….…" "JSON Web Token (signed or encrypted)";
    Authorization Credential Word "Authorization: Bearer …" "Header `Authorization`, `Proxy-Authorization`: the whole value";
    Cookie Credential Word "Cookie: session=…" "Header `Cookie`, `Set-Cookie`: the whole value";
    BearerToken Credential Word "Bearer …" "Bearer token without its header";
    BasicAuth Credential Word "Basic …" "Name and password in base64";
    UrlPassword Credential Word "https://user:…@host/" "Password, or a token alone, in a URL";
    QueryKey Credential Word "?api_key=…" "Secret in a URL's query or in a form (`key`, `token`, `sig`, `code`, `X-Amz-Signature` …)";
    SecretValue Credential Word "PASSWORD=…" "Value of something with a secret's name: variable, option, member, header (`OPENAI_API_KEY=`, `--token`, `\"client_secret\":`, `X-Api-Key:` …)";
    Password Credential Word "curl -u user:…" "Password of an option that takes name and password; `password` in netrc";
    GoogleApiKey Credential Word "AIza…" "Google, Gemini, Firebase";
    GoogleOAuthToken Credential Word "ya29.…" "Google, OAuth (`ya29.…`, `GOCSPX-…`, `1//0…`)";
    XaiKey Credential Word "xai-…" "xAI";
    GroqKey Credential Word "gsk_…" "Groq";
    HuggingFaceToken Credential Word "hf_…" "Hugging Face";
    PerplexityKey Credential Word "pplx-…" "Perplexity";
    ReplicateToken Credential Word "r8_…" "Replicate";
    ProviderKey Credential Word "nvapi-…" "Other providers and tools for agents: NVIDIA, Fireworks (`fw_`), Cerebras (`csk-`), Together (`tgp_v1_`), Tavily (`tvly-`), LangSmith (`lsv2_`), Pinecone (`pcsk_`), Jina (`jina_`), E2B (`e2b_`), Cursor (`crsr_`), Composio (`ak_`), Firecrawl (`fc-`)";
    GitLabToken Credential Word "glpat-…" "GitLab (`glpat-`, `gldt-`, `glrt-`, `glcbt-`, `gloas-`)";
    StripeKey Credential Word "sk_live_…" "Stripe (`sk_live_`, `sk_test_`, `rk_live_`, `rk_test_`, `whsec_`)";
    NpmToken Credential Word "npm_…" "npm";
    PypiToken Credential Word "pypi-AgEIcHlwaS5vcmc…" "PyPI";
    RubyGemsToken Credential Hex "rubygems_…" "RubyGems";
    DockerToken Credential Word "dckr_pat_…" "Docker Hub (`dckr_pat_`, `dckr_oat_`)";
    DigitalOceanToken Credential Hex "dop_v1_…" "DigitalOcean (`dop_v1_`, `doo_v1_`, `dor_v1_`)";
    SendGridKey Credential Word "SG.….…" "SendGrid";
    TwilioKey Credential Hex "SK…" "Twilio";
    MailgunKey Credential Hex "key-…" "Mailgun";
    TelegramToken Credential Word "123456789:AA…" "Telegram, bot";
    DiscordToken Credential None "MTCANARYcanaryCANARYcanary.GCANAR.CANARYcanaryCANARYcanaryCANARYcana" "Discord, bot";
    DiscordWebhook Credential Word "/api/webhooks/…" "Discord, address of a webhook";
    ShopifyToken Credential Hex "shpat_…" "Shopify (`shpat_`, `shpca_`, `shppa_`, `shpss_`)";
    DatabricksToken Credential Hex "dapi…" "Databricks";
    LinearKey Credential Word "lin_api_…" "Linear (`lin_api_`, `lin_oauth_`)";
    NotionToken Credential Word "ntn_…" "Notion (`ntn_`, `secret_`)";
    VaultToken Credential Word "hvs.…" "Vault (`hvs.`, `hvb.`, `hvr.`)";
    AtlassianToken Credential Word "ATATT3x…" "Atlassian (`ATATT3x`, `ATCTT3x`, `ATBB`)";
    GrafanaToken Credential Word "glsa_…" "Grafana (`glsa_`, `glc_`)";
    SentryToken Credential Word "sntrys_…" "Sentry (`sntrys_`, `sntryu_`)";
    NewRelicKey Credential Word "NRAK-…" "New Relic";
    PostmanKey Credential Word "PMAK-…" "Postman";
    FigmaToken Credential Word "figd_…" "Figma";
    SupabaseKey Credential Word "sbp_…" "Supabase (`sbp_`, `sb_secret_`)";
    PlanetScaleToken Credential Word "pscale_tkn_…" "PlanetScale (`pscale_tkn_`, `pscale_pw_`, `pscale_oauth_`)";
    TerraformToken Credential Word "CANARYcanary01.atlasv1.…" "Terraform Cloud";
    DopplerToken Credential Word "dp.pt.…" "Doppler (`dp.pt.`, `dp.st.`, `dp.ct.`, `dp.sa.`)";
    OnePasswordToken Credential Word "ops_eyJ…" "1Password";
    CreditCardLuhn Personal None "4242 4242 4242 4242" "Card number: 13 to 19 digits of an issuer, with a right check digit";
    SsnPattern Personal None "536-22-8714" "US social security number";
    EmailAddress Personal Word "…@example.com" "E-mail address";
    GenericHighEntropy Generic None "qX7_vR2-kP9.wZ4+mT8/bN3=cY6~hJ5" "A word of 20 to 64 characters with more than 4.5 bits each";
    GenericHex Generic Hex "……" "64 hexadecimal digits or more in a row";
}

impl Kind {
    pub(super) fn info(self) -> &'static Info {
        // A kind's number is its row.
        KINDS.get(self as usize).unwrap_or(&KINDS[0])
    }

    pub(super) fn name(self) -> &'static str {
        self.info().name
    }
}

/// True if this is the name of a kind.
pub(super) fn is_kind(name: &[u8]) -> bool {
    KINDS.iter().any(|kind| kind.name.as_bytes() == name)
}

/// What an example's invented part is.
const WORD: &str = "CANARYab0123456789canaryXY0123456789ABcd";
const HEX: &str = "ca4a47c0ffee0123456789abcdef0123";

/// An invented text of a kind, and the part of it that must never be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The kind's name.
    pub name: &'static str,
    /// The text.
    pub text: String,
    /// The part that is secret.
    pub secret: String,
}

impl Info {
    /// An invented text of this kind, for tests.
    pub fn example(&self) -> Example {
        let fill = match self.fill {
            Fill::Word => WORD,
            Fill::Hex => HEX,
            Fill::None => "",
        };
        let text = self.shape.replace('…', fill).replace("\\n", "\n");
        let secret = if fill.is_empty() { text.clone() } else { fill.to_owned() };
        Example { name: self.name, text, secret }
    }
}
