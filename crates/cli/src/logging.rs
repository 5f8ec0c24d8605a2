//! What goes to standard error.

use tracing_subscriber::EnvFilter;

use crate::args::LogOptions;

/// Starts logging. By default only what went wrong is said.
pub(crate) fn start(options: &LogOptions) {
    let level = match options.verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = options.log.as_deref().unwrap_or(level);
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
