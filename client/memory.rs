//! What a box remembers of the service besides its configuration: whether it is registered, and how it stands in its HA cluster.

use muster_proto::v1;
use serde::{Deserialize, Serialize};

/// What the service last said of the box. Kept in a file of the box, because each console is a program of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Whether the service has taken something from the box, and has not removed it since.
    pub registered: bool,
    /// How often the service has taken something from the box: whoever waits for a new contact compares.
    pub contact: u64,
    /// The cluster that the box is a member of, as in "clusters/7"; empty if it is in none.
    pub cluster: String,
    /// The epoch of the cluster; 0 if the box is in none.
    pub epoch: i64,
    /// Whether the box is the primary of that epoch.
    pub primary: bool,
}

impl Memory {
    /// The service took something from the box.
    pub fn met(&mut self) {
        self.registered = true;
        self.contact = self.contact.wrapping_add(1);
    }

    /// Takes in how the service says the box stands in its cluster.
    pub fn stands(&mut self, standing: Option<&v1::ClusterStanding>) {
        let Some(standing) = standing else {
            (self.cluster, self.epoch, self.primary) = (String::new(), 0, false);
            return;
        };
        self.cluster.clone_from(&standing.cluster);
        self.epoch = standing.epoch;
        self.primary = standing.role() == v1::HaRole::Primary;
    }
}
