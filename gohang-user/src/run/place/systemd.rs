//! The systemd manager on D-Bus (org.freedesktop.systemd1(5)), as far as a scope needs it.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant};

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// What the manager answers about a unit that there is not (bus-common-errors.h, systemd 252).
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// Exists where systemd is the first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// The machine's bus.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// Longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A property of a unit.
pub(crate) type Property = (&'static str, Variant<'static>);

/// Why the manager did not do something.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// D-Bus, or the manager on it, refused.
    #[error("systemd: {0}")]
    Bus(#[from] zbus::Error),
    /// No answer.
    #[error("systemd does not answer within {TIMEOUT:?}")]
    Timeout,
    /// Something around it failed.
    #[error("systemd: {0}")]
    System(#[from] std::io::Error),
}

/// A unit, as the manager lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub name: String,
    pub description: String,
}

/// The manager: the machine's for root, the user's own for others.
#[derive(Debug)]
pub(crate) struct Manager {
    runtime: Runtime,
    bus: Connection,
}

/// What `ListUnitsByPatterns` tells of a unit: name, description, load state, active state,
/// sub-state, followed unit, path, job, its type, its path.
type Listed = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

impl Manager {
    /// Whether a connection is worth trying.
    pub fn may_be_there() -> bool {
        let bus = || {
            if rustix::process::geteuid().is_root() {
                return Path::new(SYSTEM_BUS).exists();
            }
            let runtime = std::env::var_os("XDG_RUNTIME_DIR");
            std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some()
                || runtime.is_some_and(|folder| Path::new(&folder).join("bus").exists())
        };
        Path::new(BOOTED).is_dir() && bus()
    }

    /// Connects. Everything runs in the calling thread.
    pub fn connect() -> Result<Self, ManagerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let is_root = rustix::process::geteuid().is_root();
        let bus = runtime.block_on(limited(async {
            if is_root {
                let bus = format!("unix:path={SYSTEM_BUS}");
                zbus::connection::Builder::address(bus.as_str())
                    .build()
                    .await
            } else {
                Connection::session().await
            }
        }))?;
        Ok(Self { runtime, bus })
    }

    /// Connects to the machine's manager, which tells everyone of its units; `None` where
    /// there is none.
    pub fn of_machine() -> Option<Result<Self, ManagerError>> {
        if !Path::new(BOOTED).is_dir() || !Path::new(SYSTEM_BUS).exists() {
            return None;
        }
        let connect = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let bus = format!("unix:path={SYSTEM_BUS}");
            let bus = runtime.block_on(limited(async {
                let address = zbus::connection::Builder::address(bus.as_str());
                address.build().await
            }))?;
            Ok(Self { runtime, bus })
        };
        Some(connect())
    }

    /// Makes a transient scope with these properties.
    pub fn start_scope(&self, name: &str, properties: &[Property]) -> Result<(), ManagerError> {
        let none: Vec<(&str, Vec<Property>)> = Vec::new();
        self.call("StartTransientUnit", &(name, "fail", properties, none))?;
        Ok(())
    }

    /// Changes properties until the unit goes.
    pub fn set(&self, name: &str, properties: &[Property]) -> Result<(), ManagerError> {
        self.call("SetUnitProperties", &(name, true, properties))?;
        Ok(())
    }

    /// Stops a unit.
    pub fn stop(&self, name: &str) -> Result<(), ManagerError> {
        self.call("StopUnit", &(name, "replace"))?;
        Ok(())
    }

    /// Sends SIGKILL to every process of a unit.
    pub fn kill(&self, name: &str) -> Result<(), ManagerError> {
        self.call("KillUnit", &(name, "all", libc::SIGKILL))?;
        Ok(())
    }

    /// Whether there is a unit of this name.
    pub fn has(&self, name: &str) -> Result<bool, ManagerError> {
        match self.call("GetUnit", &name) {
            Ok(_) => Ok(true),
            Err(ManagerError::Bus(zbus::Error::MethodError(error, ..)))
                if error.as_str() == NO_SUCH_UNIT =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A unit's active state: `active`, `inactive`, `failed` ...
    pub fn state(&self, name: &str) -> Result<String, ManagerError> {
        let path: OwnedObjectPath = self.call("GetUnit", &name)?.body().deserialize()?;
        let body = ("org.freedesktop.systemd1.Unit", "ActiveState");
        let interface = Some("org.freedesktop.DBus.Properties");
        let call = self
            .bus
            .call_method(Some(NAME), path, interface, "Get", &body);
        let answer = self.runtime.block_on(limited(call))?;
        let state: OwnedVariant = answer.body().deserialize()?;
        Ok(String::try_from(state)?)
    }

    /// The scopes there are.
    pub fn scopes(&self) -> Result<Vec<Unit>, ManagerError> {
        let all_states: [&str; 0] = [];
        let answer = self.call("ListUnitsByPatterns", &(&all_states[..], &["*.scope"][..]))?;
        let listed: Vec<Listed> = answer.body().deserialize()?;
        let units = listed
            .into_iter()
            .map(|(name, description, ..)| Unit { name, description });
        Ok(units.collect())
    }

    fn call<B>(&self, method: &str, body: &B) -> Result<zbus::Message, ManagerError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let call = self
            .bus
            .call_method(Some(NAME), MANAGER_PATH, Some(MANAGER), method, body);
        self.runtime.block_on(limited(call))
    }
}

async fn limited<T>(call: impl Future<Output = zbus::Result<T>>) -> Result<T, ManagerError> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ManagerError::Timeout),
    }
}
