//! What can go wrong in a run.

use std::io;
use std::path::{Path, PathBuf};

use edgehub_store::StoreError;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The program was built without this contender.
    #[error("built without {contender}; build with --features {contender}")]
    NotBuilt {
        /// Its name, also that of the feature.
        contender: &'static str,
    },
    /// The contender failed.
    #[error("{contender} cannot {action}: {reason}")]
    Contender {
        /// Its name.
        contender: &'static str,
        /// What was tried.
        action: &'static str,
        /// Its own words.
        reason: String,
    },
    /// Our store failed.
    #[error("edgehub: {0}")]
    Store(#[from] StoreError),
    /// What was delivered is not what was appended.
    #[error("endpoint {endpoint}: {problem}")]
    WrongDelivery {
        /// Number of the endpoint.
        endpoint: usize,
        /// What is wrong.
        problem: String,
    },
    /// A file or folder of the run, or one of the system's about the process.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The system tells nothing of this name about the process.
    #[error("/proc/self has no {name}")]
    Fact {
        /// Name of the line.
        name: &'static str,
    },
    /// The process that fills the backlog failed.
    #[error("filling the backlog failed: {0}")]
    Fill(String),
}

impl BenchError {
    /// For `map_err` on something done with `path`.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
