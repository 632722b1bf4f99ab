//! Who we are to a registry: what `docker login` and `podman login` have written down.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::image::manifest::decode;

/// A name and a password. Not shown in any message.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:...", self.user)
    }
}

impl FromStr for Credentials {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (user, password) = text.split_once(':').ok_or_else(|| Error::new("expected USER:PASSWORD"))?;
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }
}

impl From<Credentials> for RegistryAuth {
    fn from(credentials: Credentials) -> Self {
        Self::Basic(credentials.user, credentials.password)
    }
}

/// The file's shape, as far as it matters.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry")
    }
}

/// Everybody that the files know.
#[derive(Debug, Default)]
pub struct Known(Vec<Document>);

impl Known {
    /// Reads `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`: those that there are.
    pub fn read() -> Result<Self> {
        let docker = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let docker = docker.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
        let files = [env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from), docker.map(|dir| dir.join("config.json"))];
        let mut known = Self::default();
        for path in files.into_iter().flatten() {
            match fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                text => {
                    let text = text.context(|| format!("read {}", path.display()))?;
                    known.0.push(decode(&text, &path.display().to_string())?);
                }
            }
        }
        Ok(known)
    }

    /// Who to be for a registry; nobody in particular if the files do not say.
    pub fn for_registry(&self, registry: &str) -> Result<Option<Credentials>> {
        for document in &self.0 {
            if let Some((_, entry)) = document.auths.iter().find(|(key, _)| host(key) == official(registry))
                && let Some(credentials) = entry.credentials().context(|| format!("the login for {registry}"))?
            {
                return Ok(Some(credentials));
            }
            let helper =
                document.cred_helpers.iter().find(|(key, _)| host(key) == official(registry)).map(|(_, name)| name);
            if let Some(helper) = helper {
                return Err(Error::new(format!(
                    "the login for {registry} is kept by docker-credential-{helper}, which xnet does not run; use --creds"
                )));
            }
        }
        Ok(None)
    }
}

impl Entry {
    fn credentials(&self) -> Result<Option<Credentials>> {
        if !self.username.is_empty() {
            return Ok(Some(Credentials { user: self.username.clone(), password: self.password.clone() }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let text = STANDARD.decode(&self.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| Error::new("\"auth\" is not base64"))?.trim_end_matches('\0').parse().map(Some)
    }
}

/// Docker writes its own registry by an old address.
fn official(registry: &str) -> &str {
    if registry == "docker.io" { "index.docker.io" } else { registry }
}

/// The host and port in a key, which may be an address.
fn host(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    official(key.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_found_by_host() {
        let text = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},"localhost:5000":{"username":"a","password":"b"},"x.y":{}},
            "credHelpers":{"gcr.io":"gcloud"},"credsStore":"desktop"}"#;
        let known = Known(vec![decode(text, "x").unwrap()]);
        let who = |registry: &str| known.for_registry(registry).unwrap();
        assert_eq!(who("docker.io"), Some("u:p:q".parse().unwrap()));
        assert_eq!(who("localhost:5000"), Some("a:b".parse().unwrap()));
        assert_eq!((who("x.y"), who("localhost:5001")), (None, None));
        assert!(known.for_registry("gcr.io").unwrap_err().message.contains("gcloud"));
        assert_eq!(format!("{:?}", who("docker.io").unwrap()), "u:...");
    }
}
