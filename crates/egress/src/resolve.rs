//! Names to addresses. Literal addresses and `localhost` never reach a name server.

use fanfare_core::ports::SendFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::Name;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Whole lookup, both families, all name servers, retries.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// One query to one name server.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Queries per lookup and name server.
const QUERY_ATTEMPTS: usize = 2;
/// Answers cached, each for its own time to live.
const CACHE_ENTRIES_MAX: u64 = 8192;

/// Why a name has no address. The receiver's fault or the network's: both may pass.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist or has no address.
    #[error("name has no address")]
    NotFound,
    /// No answer in time.
    #[error("no answer from the name servers within {} s", LOOKUP_TIMEOUT.as_secs())]
    Timeout,
    /// Not a host name.
    #[error("not a host name")]
    BadName,
    /// The system's resolver configuration could not be read at start.
    #[error("the resolver configuration of this system cannot be used: {0}")]
    Unconfigured(String),
    /// Everything else.
    #[error("lookup failed")]
    Failed(#[source] NetError),
}

/// Finds the addresses of a host name. The caller checks every one of them and dials one of those it checked.
pub trait Resolve: Send + Sync {
    /// All addresses of `host` (ASCII, lower case, as a URL parser gives it), in the order they are to be tried.
    fn resolve(&self, host: &str) -> SendFuture<Result<Vec<IpAddr>, ResolveError>>;
}

/// The real resolver: hickory with the system's configuration and hosts file, and its own cache.
///
/// Lookups run on the caller's runtime and may leave a socket to a name server behind in it; runtimes that use one
/// resolver should live as long as it.
pub struct HickoryResolver {
    /// `Err`: why every lookup fails. A missing configuration must not keep the engine from starting.
    resolver: Result<TokioResolver, String>,
}

impl fmt::Debug for HickoryResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HickoryResolver").field("is_configured", &self.resolver.is_ok()).finish()
    }
}

impl HickoryResolver {
    /// Reads the system's configuration. Never fails: a configuration that cannot be used is logged here and is the
    /// error of every lookup.
    #[must_use]
    pub fn from_system() -> Self {
        let resolver = build().map_err(|error| error.to_string());
        if let Err(reason) = &resolver {
            tracing::warn!(reason, "resolver configuration cannot be used; names will not resolve");
        }
        HickoryResolver { resolver }
    }
}

fn build() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.timeout = QUERY_TIMEOUT;
    options.attempts = QUERY_ATTEMPTS;
    options.cache_size = CACHE_ENTRIES_MAX;
    options.use_hosts_file = ResolveHosts::Always;
    // Both families always, so that the guard sees everything the name points to. IPv4 is tried first: addresses are
    // tried one after the other, and hosts without an IPv6 route are common.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

impl Resolve for HickoryResolver {
    fn resolve(&self, host: &str) -> SendFuture<Result<Vec<IpAddr>, ResolveError>> {
        if let Some(addresses) = without_lookup(host) {
            return Box::pin(async move { Ok(addresses) });
        }
        let resolver = self.resolver.clone().map_err(ResolveError::Unconfigured);
        let name = Name::from_ascii(host).map_err(|_| ResolveError::BadName);
        Box::pin(async move {
            let (resolver, mut name) = (resolver?, name?);
            // A receiver's name is whole as it stands. The search list of this machine would let it name hosts of ours.
            name.set_fqdn(true);
            match tokio::time::timeout(LOOKUP_TIMEOUT, resolver.lookup_ip(name)).await {
                Ok(Ok(found)) => Ok(found.iter().collect()),
                Ok(Err(error)) if error.is_no_records_found() => Err(ResolveError::NotFound),
                Ok(Err(NetError::Timeout)) | Err(_) => Err(ResolveError::Timeout),
                Ok(Err(error)) => Err(ResolveError::Failed(error)),
            }
        })
    }
}

/// Addresses known without asking: literals, and `localhost` with all names below it (RFC 6761, section 6.3).
#[must_use]
pub fn without_lookup(host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(vec![address]);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
        .then(|| vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_localhost_need_no_name_server() {
        let loopback: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        for host in ["localhost", "LOCALHOST", "localhost.", "api.localhost"] {
            assert_eq!(without_lookup(host), Some(loopback.clone()), "{host}");
        }
        assert_eq!(without_lookup("10.1.2.3"), Some(vec!["10.1.2.3".parse().unwrap()]));
        assert_eq!(without_lookup("::1"), Some(vec!["::1".parse().unwrap()]));
        for host in ["localhost.example.com", "notlocalhost", "example.com", ""] {
            assert_eq!(without_lookup(host), None, "{host}");
        }
    }

    #[tokio::test]
    async fn a_missing_configuration_fails_lookups_not_the_start() {
        let resolver = HickoryResolver { resolver: Err("no such file".to_owned()) };
        let error = resolver.resolve("example.com").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the resolver configuration of this system cannot be used: no such file"
        );
        assert_eq!(resolver.resolve("127.0.0.1").await.unwrap(), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }

    #[tokio::test]
    async fn a_bad_name_is_refused_without_a_query() {
        let resolver = HickoryResolver::from_system();
        let long = "a".repeat(300);
        if resolver.resolver.is_ok() {
            assert!(matches!(resolver.resolve(&long).await, Err(ResolveError::BadName)));
        } else {
            assert!(matches!(resolver.resolve(&long).await, Err(ResolveError::Unconfigured(_))));
        }
    }
}
