//! Registries: images come from there ([`pull`]) and go there ([`push`]).
//!
//! The crate `oci-client` speaks with the registry. It needs an executor, which lives in this thread for as long as one image
//! takes: nothing else in xnet waits for one. Encryption and a good certificate are a must, unless the user says otherwise or the
//! registry is on this machine.

mod auth;
mod pull;
mod push;

use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use tokio::runtime::{Builder, Runtime};

use crate::error::{Context, Error, Result};

use super::name::Reference;

pub use auth::{Credentials, Known};

/// How to speak with the registry.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whether its certificate must be good, and encryption is a must. A registry on this machine (`localhost`) may do
    /// without.
    pub verify: bool,
    /// Who to be, instead of whom the configuration files name.
    pub credentials: Option<Credentials>,
}

/// A repository in a registry that has answered.
struct Remote {
    runtime: Runtime,
    client: Client,
    name: oci_client::Reference,
    auth: RegistryAuth,
}

impl Remote {
    /// Speaks with the registry of `name` in the first way that it answers `ask` in. Gives that answer, too.
    fn connect<T>(
        name: &Reference,
        access: &Access,
        ask: impl AsyncFn(&Client, &oci_client::Reference, &RegistryAuth) -> Result<T, OciDistributionError>,
    ) -> Result<(Self, T)> {
        // Fails if it was done before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_current_thread().enable_all().build().context(|| "start to wait for the network")?;
        let auth = match &access.credentials {
            Some(credentials) => credentials.clone().into(),
            None => Known::read()?.for_registry(name.registry())?.map_or(RegistryAuth::Anonymous, Into::into),
        };
        let asked = remote_name(name);
        let careless = !access.verify || is_local(name.registry());
        let mut refused = Error::new("no way to ask");
        for protocol in [ClientProtocol::Https, ClientProtocol::Http].into_iter().take(1 + usize::from(careless)) {
            let config = ClientConfig {
                protocol,
                accept_invalid_certificates: careless,
                // Every registry must take a blob in one piece; not all take it in several.
                use_monolithic_push: true,
                user_agent: "xnet",
                ..ClientConfig::default()
            };
            let client = Client::try_from(config).map_err(|error| told(&error))?;
            match runtime.block_on(ask(&client, &asked, &auth)) {
                Ok(answer) => return Ok((Self { runtime, client, name: asked, auth }, answer)),
                Err(error @ OciDistributionError::RequestError(_)) => refused = told(&error),
                Err(error) => return Err(told(&error)),
            }
        }
        Err(refused)
    }
}

fn remote_name(name: &Reference) -> oci_client::Reference {
    let (registry, repository) = (name.registry().to_owned(), name.repository().to_owned());
    match (name.digest(), name.tag()) {
        (Some(digest), _) => oci_client::Reference::with_digest(registry, repository, digest.to_string()),
        (None, tag) => oci_client::Reference::with_tag(registry, repository, tag.unwrap_or("latest").to_owned()),
    }
}

/// Whether a registry is on this machine, where nobody listens on the way.
fn is_local(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.starts_with("127.") && host.parse::<std::net::Ipv4Addr>().is_ok()
}

const ABSENT: &str = "there is no such image in the registry";
const UNKNOWN: &str = "the registry wants somebody it knows: there is no such image, or it needs a login (~/.docker/config.json, --creds)";
const FORBIDDEN: &str =
    "the registry does not let us do that: it needs the login of somebody who may (~/.docker/config.json, --creds)";
const PLAIN: &str = " (the registry seems to speak plain HTTP, which --tls-verify=false allows)";

/// The whole reason: the causes of a failed request are in its sources.
fn told(error: &OciDistributionError) -> Error {
    let absent = [OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown];
    let mut text = match error {
        OciDistributionError::ImageManifestNotFoundError(_) => ABSENT.to_owned(),
        OciDistributionError::RegistryError { envelope, .. }
            if envelope.errors.iter().any(|error| absent.contains(&error.code)) =>
        {
            ABSENT.to_owned()
        }
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            UNKNOWN.to_owned()
        }
        OciDistributionError::ServerError { code: 401 | 403, .. } => FORBIDDEN.to_owned(),
        other => other.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    // What rustls says of an answer that is none of TLS.
    if text.contains("InvalidContentType") {
        text.push_str(PLAIN);
    }
    Error::new(text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for local in ["localhost", "localhost:5000", "127.0.0.1:5000"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["docker.io", "127.evil.com", "localhost.evil.com:443", "10.0.0.1:5000"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
