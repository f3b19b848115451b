//! Configuration of `identity`. It takes no keys: agents are recognised by one table in the code.

use serde::Deserialize;

/// `identity: {}`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {}

impl pipeline::config::Component for Config {}
