//! What control asks of the unit that it speaks for. `target-server` implements it. Control orders
//! the steps; a `Unit` carries each of them out.

use std::future::Future;
use std::sync::Arc;

use outband_protocol::announce::Load;
use uuid::Uuid;

use crate::access::{AccessTable, Epoch, Subject};
use crate::api::{
    Counts, PartitionCreate, PartitionInfo, SessionInfo, Storage, VolumeCreate, VolumeGrow,
    VolumeInfo,
};

/// The unit behind the API. Every method may be called again with the same arguments after a crash or
/// a lost answer, and then finds its work done.
pub trait Unit: Send + Sync + 'static {
    /// Devices, volumes and free space, as they are now.
    fn inventory(&self) -> impl Future<Output = Result<Storage, UnitError>> + Send;

    /// Makes a volume, durably.
    fn create_volume(
        &self,
        request: VolumeCreate,
    ) -> impl Future<Output = Result<VolumeInfo, UnitError>> + Send;

    /// Makes a volume larger, durably. Its present size changes nothing.
    fn grow_volume(
        &self,
        volume: &str,
        request: VolumeGrow,
    ) -> impl Future<Output = Result<VolumeInfo, UnitError>> + Send;

    /// Removes the volume of this name, which nobody has a grant on; with an `id` the one of that identity,
    /// for there may be two of the name after a device came back.
    fn delete_volume(
        &self,
        volume: &str,
        id: Option<Uuid>,
    ) -> impl Future<Output = Result<(), UnitError>> + Send;

    /// Makes a partition, durably.
    fn create_partition(
        &self,
        volume: &str,
        request: PartitionCreate,
    ) -> impl Future<Output = Result<PartitionInfo, UnitError>> + Send;

    /// Removes a partition, which nobody has a grant on.
    fn delete_partition(
        &self,
        volume: &str,
        number: u16,
    ) -> impl Future<Output = Result<(), UnitError>> + Send;

    /// Raises the epoch floor on the volume's devices to `epoch`, durably, and never lowers it.
    /// Returns the floor that was there before; when that is above `epoch`, nothing has changed.
    fn raise_floor(
        &self,
        volume: &str,
        epoch: Epoch,
    ) -> impl Future<Output = Result<Epoch, UnitError>> + Send;

    /// Gives every shard the new table. Returns when all of them use it.
    fn publish(&self, table: Arc<AccessTable>) -> impl Future<Output = ()> + Send;

    /// From its return on no command of `host` on `subject` under `epoch` or an older one is
    /// admitted, until a newer epoch is published. Nothing to close is no error.
    fn close_gate(
        &self,
        subject: &Subject,
        host: &str,
        epoch: Epoch,
    ) -> impl Future<Output = ()> + Send;

    /// Ends the sessions of `host` on `subject` under `epoch` or an older one. Returns when every I/O
    /// of theirs that was in flight has completed and was reaped: no write can land any more.
    fn drain(&self, subject: &Subject, host: &str, epoch: Epoch)
    -> impl Future<Output = ()> + Send;

    /// The sessions that are logged in.
    fn sessions(&self) -> impl Future<Output = Vec<SessionInfo>> + Send;

    /// What was counted by now.
    fn counts(&self) -> impl Future<Output = Counts> + Send;

    /// The load now, for the next ALIVE. Must not wait.
    fn load(&self) -> Load;
}

/// Why a unit did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No such volume, partition or device.
    #[error("there is no {0}")]
    NotFound(String),
    /// A different one of that name exists.
    #[error("{0} exists already")]
    Exists(String),
    /// It is in use, or not in a state for this.
    #[error("{0}")]
    Conflict(String),
    /// No room.
    #[error("{asked} bytes were asked for; the largest that fits is {largest}")]
    NoSpace {
        /// Bytes asked for.
        asked: u64,
        /// The largest that would fit.
        largest: u64,
    },
    /// The request makes no sense for this unit; says what to change.
    #[error("{0}")]
    Invalid(String),
    /// The unit's own fault: a device failed.
    #[error("{0}")]
    Failed(String),
}
