//! A look inside the running unit, and at what it writes to its log.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::server::Server;

/// Whoever can look inside. Blocking.
pub trait Inside: Send + Sync + fmt::Debug {
    /// Sessions, tasks in flight, buffers and ring state, of each shard.
    fn dump(&self) -> Value;
}

/// The shards of a server.
#[derive(Debug)]
pub struct Shards {
    server: Arc<Server>,
    runtime: Handle,
}

impl Shards {
    /// Asked by way of `runtime`, from threads that are not its own.
    pub fn new(server: Arc<Server>, runtime: Handle) -> Self {
        Self { server, runtime }
    }
}

impl Inside for Shards {
    fn dump(&self) -> Value {
        let shards = self.runtime.block_on(self.server.dump());
        let portals: Vec<_> = self.server.portals().iter().map(ToString::to_string).collect();
        json!({ "version": env!("CARGO_PKG_VERSION"), "portals": portals, "shards": shards })
    }
}
