//! The endpoints that are in the folder already.

use std::collections::HashMap;
use std::path::Path;

use crate::policy::files::{self, Content};
use crate::policy::folder;

/// What a policy folder maps already, as far as it can be read.
#[derive(Debug, Clone, Default)]
pub struct KnownEndpoints {
    /// Id to where it stands.
    ids: HashMap<String, String>,
    /// Method and pattern to the endpoint there.
    routes: HashMap<(&'static str, String), String>,
}

impl KnownEndpoints {
    /// Those of this folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn of(folder: &Path) -> std::io::Result<Self> {
        let mut known = Self::default();
        for (path, bytes) in folder::read(folder)?.texts {
            // What is wrong in the folder is not for the import to say.
            let Some(file) = files::read(&path, &bytes, &mut Vec::new()) else { continue };
            let Content::Endpoints(endpoints) = file.content else { continue };
            for endpoint in endpoints {
                let at = format!("`{}` ({}:{})", endpoint.id, path.display(), endpoint.place.line);
                for method in endpoint.methods {
                    known.routes.insert((method, endpoint.path.router_pattern()), at.clone());
                }
                known.ids.insert(endpoint.id.to_string(), at);
            }
        }
        Ok(known)
    }

    pub(super) fn with_id(&self, id: &str) -> Option<&str> {
        self.ids.get(id).map(String::as_str)
    }

    pub(super) fn at(&self, method: &'static str, pattern: &str) -> Option<&str> {
        self.routes.get(&(method, pattern.to_owned())).map(String::as_str)
    }
}
