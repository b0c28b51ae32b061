//! This machine's network interfaces, for the STARTUP datagram.

use std::io;

use outband_protocol::announce::{ADDRESSES_MAX, INTERFACE_LEN_MAX, Interface};

/// The addresses of this machine's interfaces, loopback last, as many as a datagram carries.
///
/// # Errors
/// When the system does not tell.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut found = if_addrs::get_if_addrs()?;
    found.sort_by_key(if_addrs::Interface::is_loopback);
    let fits = |one: &if_addrs::Interface| one.name.len() <= INTERFACE_LEN_MAX;
    let told = found.into_iter().filter(fits).take(ADDRESSES_MAX);
    Ok(told.map(|one| Interface { address: one.ip(), name: one.name }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_named_and_comes_last() {
        let found = interfaces().unwrap();
        assert!(found.iter().any(|interface| interface.address.is_loopback()));
        assert!(found.is_sorted_by_key(|interface| interface.address.is_loopback()));
    }
}
