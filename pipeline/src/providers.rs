//! Which hosts and paths belong to a model's API. The receiver asks to decide what to keep; `provider` to name it.
//!
//! Two built-in tables ([`PROVIDERS`], [`ROUTES`]), and in front of them the operator's own rows ([`Custom`]).

mod address;
mod custom;
mod table;
#[cfg(test)]
mod tests;

pub use address::{host_matches, normal_path, path_of, split_authority};
pub use custom::{Asked, Custom, Sign, Table};
pub use table::{NOT_CALLS, PROVIDERS, ROUTES, UPSTREAMS};

use self::address::{path_begins, path_ends};
use crate::observation::Api;

/// Someone who offers models.
pub struct Provider {
    /// For people.
    pub title: &'static str,
    /// `gen_ai.provider.name`
    pub name: &'static str,
    /// Its hosts; none if it runs on hosts of the operator's own.
    pub hosts: &'static [&'static str],
    /// The beginning of its paths, where the hosts serve other things too.
    pub base: Option<&'static str>,
    /// What it offers. Paths of other APIs are recognised on its hosts too.
    pub apis: &'static [Api],
}

impl Provider {
    /// True if a request to this host (normalised) and path ([`normal_path`]) is for it.
    fn serves(&self, host: &str, path: &str) -> bool {
        self.hosts.iter().any(|pattern| host_matches(host, pattern))
            && self.base.is_none_or(|base| path_begins(path, base))
    }
}

/// How much a path tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It belongs to the API wherever it is.
    Telling,
    /// Others have such paths: the body must have the API's shape.
    Shaped,
    /// It counts only on hosts of a provider that offers the API.
    Listed,
}

/// A path of an API.
pub struct Route {
    /// `POST`, or `GET`.
    pub method: &'static str,
    /// How it ends.
    pub path: &'static str,
    /// The API.
    pub api: Api,
    /// How much it tells.
    pub trust: Trust,
}

/// The provider whose host and path these are. The host is normalised ([`split_authority`]).
pub fn provider_at(host: &str, target: &str) -> Option<&'static Provider> {
    let path = normal_path(target);
    PROVIDERS.iter().find(|provider| provider.serves(host, &path))
}

/// The `gen_ai.provider.name` of a provider's host and path: the provider's own, but where the path of a gateway names
/// another one.
pub fn name_at(host: &str, target: &str) -> Option<&'static str> {
    let provider = provider_at(host, target)?;
    let upstream = || {
        let path = normal_path(target);
        let named = path.split('/').nth(4)?.to_owned();
        UPSTREAMS.iter().find(|(segment, _)| *segment == named).map(|(_, name)| *name)
    };
    let gateway = host_matches(host, "gateway.ai.cloudflare.com");
    gateway.then(upstream).flatten().or(Some(provider.name))
}

/// The route of a request, by its method and path, on the hosts of this provider if it is one's.
pub fn route(method: &str, target: &str, provider: Option<&Provider>) -> Option<&'static Route> {
    let path = normal_path(target);
    if table::NOT_CALLS.iter().any(|end| path_ends(&path, end)) {
        return None;
    }
    let offers = |api: &Api| provider.is_some_and(|provider| provider.apis.contains(api));
    let fits = |route: &&Route| {
        (route.trust != Trust::Listed || offers(&route.api))
            && method.eq_ignore_ascii_case(route.method)
            && path_ends(&path, route.path)
    };
    let literal = |route: &Route| route.path.bytes().filter(|byte| *byte != b'*').count();
    ROUTES.iter().filter(fits).max_by_key(|route| (literal(route), offers(&route.api)))
}

/// The `gen_ai.provider.name` of a host (with or without port), if all that it serves is models.
pub fn known_host(host: &str) -> Option<&'static str> {
    let (host, _) = split_authority(host);
    let whole = PROVIDERS.iter().filter(|provider| provider.base.is_none());
    whole.into_iter().find(|provider| provider.serves(&host, "")).map(|provider| provider.name)
}

/// True for the host of a known provider or of a known gateway to many: a process that talks to it uses a model.
pub fn is_ai_host(host: &str) -> bool {
    known_host(host).is_some()
}

/// The API that a `POST` target's path belongs to, by how it ends, whatever the host. Only that: host and body may say no.
pub fn api_of(target: &str) -> Option<Api> {
    route("POST", target, None).map(|route| route.api)
}

/// True if a `POST` to this target is a call to a model by its path alone, whatever the host.
pub fn is_ai_path(target: &str) -> bool {
    route("POST", target, None).is_some_and(|route| route.trust == Trust::Telling)
}
