//! Units as the test plays them: one side announces over UDP, the other answers the station.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use outband_control::api::Counts;
use outband_control::secret::{JoinToken, UnitSecret};
use outband_pool_api::Secret;
use outband_pool_manager::records::UnitRecord;
use outband_pool_manager::unit::{
    DeviceView, Fence, GrantView, NewGrant, NewVolume, Readiness, Refusal, UnitApi, UnitError,
    UnitView, VolumeView,
};
use outband_pool_manager::work::Connect;
use outband_protocol::announce::{Datagram, Envelope, Key, Load, Message, Startup};
use tokio::net::UdpSocket;
use uuid::Uuid;

/// All units of a test, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Units(Arc<Mutex<BTreeMap<Uuid, Unit>>>);

#[derive(Clone, Debug, Default)]
struct Unit {
    capacity: u64,
    secret: Option<String>,
    silent: bool,
    volumes: Vec<VolumeView>,
    /// What it counts from one look to the next, which is a second later whenever it comes.
    pace: Counts,
    looks: u64,
    chap: BTreeMap<String, String>,
}

impl Units {
    fn units(&self) -> MutexGuard<'_, BTreeMap<Uuid, Unit>> {
        self.0.lock().unwrap()
    }

    pub(crate) fn add(&self, id: Uuid, capacity: u64) {
        self.units().insert(id, Unit { capacity, ..Unit::default() });
    }

    /// Its API stops answering, or answers again.
    pub(crate) fn set_silent(&self, id: Uuid, silent: bool) {
        self.units().get_mut(&id).unwrap().silent = silent;
    }

    /// What it counts in each second from now on.
    pub(crate) fn set_pace(&self, id: Uuid, pace: Counts) {
        self.units().get_mut(&id).unwrap().pace = pace;
    }

    pub(crate) fn looks(&self, id: Uuid) -> u64 {
        self.units()[&id].looks
    }

    pub(crate) fn secret(&self, id: Uuid) -> Option<String> {
        self.units().get(&id)?.secret.clone()
    }

    /// (initiator name, epoch) of every grant on the volume.
    pub(crate) fn grants(&self, id: Uuid, volume: &str) -> Vec<(String, u64)> {
        let units = self.units();
        let volume = units[&id].volumes.iter().find(|known| known.name == volume);
        let grants = volume.into_iter().flat_map(|volume| &volume.grants);
        grants.map(|grant| (grant.iqn.clone(), grant.epoch)).collect()
    }

    pub(crate) fn volume_count(&self, id: Uuid) -> usize {
        self.units()[&id].volumes.len()
    }

    /// Whether the host of a volume may wipe it.
    pub(crate) fn allows_sanitize(&self, id: Uuid, volume: &str) -> bool {
        let mut units = self.units();
        units.get_mut(&id).unwrap().volume(volume).unwrap().allow_sanitize
    }

    pub(crate) fn chap_secret(&self, id: Uuid, user: &str) -> Option<String> {
        self.units()[&id].chap.get(user).cloned()
    }

    /// As the unit's own operator would.
    pub(crate) fn make(&self, id: Uuid, name: &str, size: u64) {
        self.units().get_mut(&id).unwrap().make(name, size, 512);
    }
}

impl Unit {
    fn make(&mut self, name: &str, size: u64, block_size: u32) {
        let blocks = size / u64::from(block_size);
        self.volumes.push(VolumeView {
            id: Uuid::new_v4(),
            name: name.to_owned(),
            size,
            block_size,
            start_lba: 0,
            end_lba: blocks - 1,
            blocks,
            target: format!("iqn.2026-11.local.outband:main:{name}"),
            lun: 0,
            volatile: false,
            allow_sanitize: false,
            readiness: Readiness::Online,
            partitioned: false,
            floor: 0,
            untouched: true,
            grants: Vec::new(),
        });
    }

    fn counts(&self) -> Counts {
        let (looks, mut counts) = (self.looks, self.pace.clone());
        counts.at_micros = 1_000_000 * looks;
        for volume in &mut counts.volumes {
            for counted in [&mut volume.read, &mut volume.write] {
                counted.bytes *= looks;
                counted.times.iter_mut().for_each(|events| *events *= looks);
            }
        }
        for session in &mut counts.sessions {
            session.commands *= looks;
            session.read_bytes *= looks;
            session.written_bytes *= looks;
        }
        counts
    }

    fn free(&self) -> u64 {
        self.capacity - self.volumes.iter().map(|volume| volume.size).sum::<u64>()
    }

    fn volume(&mut self, name: &str) -> Result<&mut VolumeView, UnitError> {
        let found = self.volumes.iter_mut().find(|volume| volume.name == name);
        found.ok_or_else(|| refused(Refusal::NotFound))
    }
}

fn refused(refusal: Refusal) -> UnitError {
    UnitError::Refused { refusal, detail: format!("{refusal:?}") }
}

#[derive(Debug)]
pub(crate) struct Remote {
    units: Units,
    id: Uuid,
    secret: String,
}

impl Connect for Units {
    type Unit = Remote;

    fn connect(&self, unit: &UnitRecord) -> Result<Remote, UnitError> {
        let secret = unit.secret.as_ref().unwrap().expose().to_owned();
        Ok(Remote { units: self.clone(), id: unit.id, secret })
    }

    async fn enrol(&self, unit: &UnitRecord, _join_token: &str) -> Result<(), UnitError> {
        let mut units = self.units();
        let found = units.get_mut(&unit.id).filter(|unit| !unit.silent);
        let found = found.ok_or_else(|| UnitError::Unreachable("silent".into()))?;
        found.secret = Some(unit.secret.as_ref().unwrap().expose().to_owned());
        Ok(())
    }
}

impl Remote {
    fn call<T>(
        &self,
        work: impl FnOnce(&mut Unit) -> Result<T, UnitError>,
    ) -> Result<T, UnitError> {
        let mut units = self.units.units();
        let unit = units.get_mut(&self.id).unwrap();
        if unit.silent {
            return Err(UnitError::Unreachable("silent".into()));
        }
        assert_eq!(unit.secret.as_ref(), Some(&self.secret), "the unit's own secret");
        work(unit)
    }
}

impl UnitApi for Remote {
    async fn inventory(&self) -> Result<UnitView, UnitError> {
        self.call(|unit| {
            let device = DeviceView {
                id: self.id,
                path: "/dev/test".into(),
                total: unit.capacity,
                free: unit.free(),
                volatile: false,
                healthy: true,
            };
            Ok(UnitView { devices: vec![device], volumes: unit.volumes.clone() })
        })
    }

    async fn counts(&self) -> Result<Counts, UnitError> {
        self.call(|unit| {
            unit.looks += 1;
            Ok(unit.counts())
        })
    }

    async fn create(&self, volume: &NewVolume) -> Result<(), UnitError> {
        self.call(|unit| {
            if volume.size > unit.free() {
                return Err(refused(Refusal::NoSpace));
            }
            unit.make(&volume.name, volume.size, volume.block_size.unwrap_or_default().bytes());
            unit.volume(&volume.name)?.allow_sanitize = volume.allow_sanitize;
            Ok(())
        })
    }

    async fn grow(&self, volume: &str, size: u64) -> Result<(), UnitError> {
        self.call(|unit| {
            let volume = unit.volume(volume)?;
            volume.size = size;
            volume.blocks = size / u64::from(volume.block_size);
            volume.end_lba = volume.blocks - 1;
            Ok(())
        })
    }

    async fn delete(&self, volume: &str, id: Uuid) -> Result<(), UnitError> {
        self.call(|unit| {
            assert!(unit.volume(volume)?.grants.is_empty(), "fenced before it is deleted");
            assert_eq!(unit.volume(volume)?.id, id);
            unit.volumes.retain(|known| known.name != volume);
            Ok(())
        })
    }

    async fn grant(&self, grant: &NewGrant) -> Result<(), UnitError> {
        self.call(|unit| {
            let volume = unit.volume(&grant.volume)?;
            if grant.epoch <= volume.floor {
                return Err(refused(Refusal::StaleEpoch));
            }
            volume.floor = grant.epoch;
            volume.untouched = false;
            volume.grants = vec![GrantView { iqn: grant.iqn.clone(), epoch: grant.epoch }];
            let secret = grant.chap.secret.expose().to_owned();
            unit.chap.insert(grant.chap.user.clone(), secret);
            Ok(())
        })
    }

    async fn fence(&self, fence: &Fence) -> Result<(), UnitError> {
        self.call(|unit| {
            let volume = unit.volume(&fence.volume)?;
            volume.floor = volume.floor.max(fence.epoch);
            volume.grants.retain(|grant| grant.iqn != fence.iqn || grant.epoch > fence.epoch);
            Ok(())
        })
    }
}

/// A unit's announcing side.
#[derive(Debug)]
pub(crate) struct Announcer {
    pub id: Uuid,
    name: String,
    socket: UdpSocket,
    token: Key,
    units: Units,
    pub incarnation: u64,
    sequence: u64,
}

impl Announcer {
    pub(crate) async fn new(
        name: &str,
        token: &Secret,
        station: SocketAddr,
        units: &Units,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(station).await.unwrap();
        Self {
            id: Uuid::new_v4(),
            name: name.to_owned(),
            socket,
            token: JoinToken::new(token.expose()).seal_key(),
            units: units.clone(),
            incarnation: 1,
            sequence: 0,
        }
    }

    fn key(&self) -> Key {
        let secret = self.units.secret(self.id);
        let own = secret.map(|hex| UnitSecret::try_from(hex).unwrap().seal_key());
        own.unwrap_or_else(|| self.token.clone())
    }

    pub(crate) async fn say(&mut self, message: Message) {
        self.sequence += 1;
        let datagram = Datagram {
            unit: self.id.into_bytes(),
            incarnation: self.incarnation,
            sequence: self.sequence,
            message,
        };
        self.socket.send(&datagram.build(Some(&self.key())).unwrap()).await.unwrap();
    }

    async fn answer(&self) -> Option<Message> {
        let mut buffer = [0; 1500];
        let answer = self.socket.recv(&mut buffer);
        let length = tokio::time::timeout(Duration::from_millis(500), answer).await.ok()?.ok()?;
        let envelope = Envelope::parse(&buffer[..length]).ok()?;
        envelope.refusal().map(Message::Refused).or_else(|| {
            let opened = envelope.open(&self.key()).or_else(|_| envelope.open(&self.token));
            opened.ok().map(|datagram| datagram.message)
        })
    }

    /// Repeats STARTUP until it is answered.
    pub(crate) async fn start(&mut self) -> Message {
        for _ in 0..20 {
            let startup = Startup {
                fingerprint: [1; 32],
                api: "127.0.0.1:1".parse().unwrap(),
                name: self.name.clone(),
                version: "0.1.0".into(),
                portals: vec!["192.0.2.7:3260".parse().unwrap()],
                interfaces: Vec::new(),
            };
            self.say(Message::Startup(startup)).await;
            if let Some(answer) = self.answer().await {
                return answer;
            }
        }
        panic!("STARTUP is not answered");
    }

    pub(crate) async fn alive(&mut self) {
        self.say(Message::Alive(Load::default())).await;
    }
}
