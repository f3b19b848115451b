//! The operator's own rows, in front of the built-in tables.

use serde::{Deserialize, Serialize};

use super::{
    Trust,
    address::{path_fits, split_authority},
    host_matches, is_ai_host, normal_path, provider_at, route,
};
use crate::observation::Api;

/// A row of the operator's own: a host, a path, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Custom {
    /// The host, as `llm.corp.example`: it and all hosts below it; `*` stands for any characters within one label.
    /// With a port, as `localhost:8080`, only on that port. Without it, any host.
    pub host: Option<String>,
    /// The path, as `/llm/chat`: the whole of it without the query; `*` stands for any characters, so that `/llm/*` is all
    /// below `/llm` and `*/chat` all that ends so. Without it, any path.
    pub path: Option<String>,
    /// `gen_ai.provider.name` of its calls; default: the built-in table's for the host, else that of the API.
    pub provider: Option<String>,
    /// The API. With a path: of that path. Without: of the paths that do not tell by themselves.
    pub api: Option<Api>,
}

/// What there is of a request that says whom it is for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Host, normalised ([`split_authority`]).
    pub host: &'a str,
    /// Port, if it is known.
    pub port: Option<u16>,
    /// Request target.
    pub target: &'a str,
}

/// What a request looks like by its host and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Nothing of a model.
    None,
    /// It may be a call; the body will tell.
    May,
    /// A process that sends it uses a model.
    Call,
}

/// The operator's rows in their order, in front of the built-in tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Custom>", into = "Vec<Custom>")]
pub struct Table {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    host: Option<(String, Option<u16>)>,
    path: Option<String>,
    custom: Custom,
}

impl From<Vec<Custom>> for Table {
    fn from(rows: Vec<Custom>) -> Self {
        let row = |custom: Custom| Row {
            host: custom.host.as_deref().filter(|host| !host.is_empty()).map(split_authority),
            path: custom.path.as_deref().map(|path| normal_path(path).into_owned()),
            custom,
        };
        Self { rows: rows.into_iter().map(row).collect() }
    }
}

impl From<Table> for Vec<Custom> {
    fn from(table: Table) -> Self {
        table.rows.into_iter().map(|row| row.custom).collect()
    }
}

impl Row {
    fn host_fits(&self, host: &str, port: Option<u16>) -> bool {
        self.host.as_ref().is_none_or(|(pattern, wanted)| {
            host_matches(host, pattern) && wanted.is_none_or(|wanted| port.is_none_or(|port| port == wanted))
        })
    }
}

impl Table {
    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds the rows of another configuration behind those that are there.
    pub fn extend(&mut self, rows: Vec<Custom>) {
        self.rows.extend(Table::from(rows).rows);
    }

    /// The first row for a request.
    pub fn find(&self, asked: Asked<'_>) -> Option<&Custom> {
        if self.rows.is_empty() {
            return None;
        }
        let path = normal_path(asked.target);
        let fits = |row: &&Row| {
            row.host_fits(asked.host, asked.port) && row.path.as_ref().is_none_or(|pattern| path_fits(&path, pattern))
        };
        self.rows.iter().find(fits).map(|row| &row.custom)
    }

    /// True for a host (with or without a port) that serves models, whatever else it may serve.
    pub fn is_ai_host(&self, authority: &str) -> bool {
        let named = || {
            let (host, port) = split_authority(authority);
            self.rows.iter().any(|row| row.host.is_some() && row.host_fits(&host, port))
        };
        is_ai_host(authority) || (!self.rows.is_empty() && named())
    }

    /// The `gen_ai.provider.name` of a host (with or without a port), if its name alone tells.
    pub fn known_host(&self, authority: &str) -> Option<&str> {
        let (host, port) = split_authority(authority);
        let row = self.rows.iter().find(|row| row.host.is_some() && row.path.is_none() && row.host_fits(&host, port));
        row.and_then(|row| row.custom.provider.as_deref()).or_else(|| super::known_host(authority))
    }

    /// What a request with a body to this host (with or without a port; may be empty) and target looks like.
    pub fn sign(&self, authority: &str, target: &str) -> Sign {
        let (host, port) = split_authority(authority);
        let provider = provider_at(&host, target);
        if provider.is_some() || self.find(Asked { host: &host, port, target }).is_some() {
            return Sign::Call;
        }
        match route("POST", target, None).map(|route| route.trust) {
            Some(Trust::Telling) => Sign::Call,
            Some(Trust::Shaped) => Sign::May,
            Some(Trust::Listed) | None => Sign::None,
        }
    }
}
