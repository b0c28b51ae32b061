//! What stands between header and seal: one layout for each kind.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nom::bytes::complete::take;
use nom::combinator::all_consuming;
use nom::multi::count;
use nom::number::complete::{be_u8, be_u16, be_u32, be_u64};
use nom::{IResult, Parser};

use super::{
    ADDRESSES_MAX, BadDatagram, INTERFACE_LEN_MAX, Interface, Load, Message, NAME_LEN_MAX, Refusal,
    Startup, VERSION_LEN_MAX,
};

const STARTUP: u8 = 1;
const NEED_INFO: u8 = 2;
const ALIVE: u8 = 3;
const SHUTDOWN: u8 = 4;
const PENDING: u8 = 5;
const ANNOUNCE_AGAIN: u8 = 6;
const REFUSED: u8 = 7;

pub(super) fn kind(message: &Message) -> u8 {
    match message {
        Message::Startup(_) => STARTUP,
        Message::NeedInfo => NEED_INFO,
        Message::Alive(_) => ALIVE,
        Message::Shutdown => SHUTDOWN,
        Message::Pending => PENDING,
        Message::AnnounceAgain => ANNOUNCE_AGAIN,
        Message::Refused(_) => REFUSED,
    }
}

pub(super) fn build(message: &Message) -> Result<Vec<u8>, BadDatagram> {
    match message {
        Message::Startup(startup) => build_startup(startup),
        Message::Alive(load) => Ok(build_load(load)),
        Message::Refused(refusal) => Ok(vec![refusal_code(*refusal)]),
        Message::NeedInfo | Message::Pending | Message::AnnounceAgain | Message::Shutdown => {
            Ok(Vec::new())
        }
    }
}

pub(super) fn parse(kind: u8, body: &[u8]) -> Option<Message> {
    let message = match kind {
        STARTUP => all_consuming(startup).parse(body).ok()?.1,
        ALIVE => all_consuming(load).parse(body).ok()?.1,
        REFUSED => all_consuming(refusal).parse(body).ok()?.1,
        _ if !body.is_empty() => return None,
        NEED_INFO => Message::NeedInfo,
        SHUTDOWN => Message::Shutdown,
        PENDING => Message::Pending,
        ANNOUNCE_AGAIN => Message::AnnounceAgain,
        _ => return None,
    };
    Some(message)
}

fn build_startup(startup: &Startup) -> Result<Vec<u8>, BadDatagram> {
    let mut body = startup.fingerprint.to_vec();
    put_socket(&mut body, startup.api);
    put_text(&mut body, &startup.name, NAME_LEN_MAX, "the unit's name")?;
    put_text(&mut body, &startup.version, VERSION_LEN_MAX, "the version")?;
    put_count(&mut body, startup.portals.len(), "the list of portals")?;
    startup.portals.iter().for_each(|portal| put_socket(&mut body, *portal));
    put_count(&mut body, startup.interfaces.len(), "the list of network interfaces")?;
    for interface in &startup.interfaces {
        put_text(&mut body, &interface.name, INTERFACE_LEN_MAX, "an interface's name")?;
        put_address(&mut body, interface.address);
    }
    Ok(body)
}

fn startup(input: &[u8]) -> IResult<&[u8], Message> {
    let (rest, fingerprint) = take(32_usize).parse(input)?;
    let (rest, api) = socket(rest)?;
    let (rest, name) = text(NAME_LEN_MAX).parse(rest)?;
    let (rest, version) = text(VERSION_LEN_MAX).parse(rest)?;
    let (rest, portals) = be_u8.map_opt(listed).parse(rest)?;
    let (rest, portals) = count(socket, portals).parse(rest)?;
    let (rest, interfaces) = be_u8.map_opt(listed).parse(rest)?;
    let interface =
        (text(INTERFACE_LEN_MAX), address).map(|(name, address)| Interface { name, address });
    let (rest, interfaces) = count(interface, interfaces).parse(rest)?;
    let fingerprint = fingerprint.try_into().expect("32 bytes were taken");
    let startup = Startup { fingerprint, api, name, version, portals, interfaces };
    Ok((rest, Message::Startup(startup)))
}

fn build_load(load: &Load) -> Vec<u8> {
    let mut body = Vec::with_capacity(44);
    for count in [load.sessions, load.in_flight, load.reads_per_second, load.writes_per_second] {
        body.extend_from_slice(&count.to_be_bytes());
    }
    for bytes in [load.read_bytes_per_second, load.written_bytes_per_second, load.free_bytes] {
        body.extend_from_slice(&bytes.to_be_bytes());
    }
    body.extend_from_slice(&load.volumes.to_be_bytes());
    body.extend_from_slice(&load.faulted.to_be_bytes());
    body
}

fn load(input: &[u8]) -> IResult<&[u8], Message> {
    let (rest, (sessions, in_flight)) = (be_u32, be_u32).parse(input)?;
    let (rest, (reads_per_second, writes_per_second)) = (be_u32, be_u32).parse(rest)?;
    let (rest, (read_bytes_per_second, written_bytes_per_second)) = (be_u64, be_u64).parse(rest)?;
    let (rest, (free_bytes, volumes, faulted)) = (be_u64, be_u16, be_u16).parse(rest)?;
    let load = Load {
        sessions,
        in_flight,
        reads_per_second,
        writes_per_second,
        read_bytes_per_second,
        written_bytes_per_second,
        free_bytes,
        volumes,
        faulted,
    };
    Ok((rest, Message::Alive(load)))
}

fn refusal_code(refusal: Refusal) -> u8 {
    match refusal {
        Refusal::WrongToken => 1,
        Refusal::ExpiredToken => 2,
        Refusal::UnknownUnit => 3,
        Refusal::WrongSecret => 4,
    }
}

fn refusal(input: &[u8]) -> IResult<&[u8], Message> {
    use Refusal::{ExpiredToken, UnknownUnit, WrongSecret, WrongToken};
    let all = [WrongToken, ExpiredToken, UnknownUnit, WrongSecret];
    let named = |code| all.into_iter().find(|refusal| refusal_code(*refusal) == code);
    be_u8.map_opt(named).map(Message::Refused).parse(input)
}

/// Length in one byte, then UTF-8 without control characters: it is going to be logged and shown.
fn put_text(
    body: &mut Vec<u8>,
    text: &str,
    len_max: usize,
    what: &'static str,
) -> Result<(), BadDatagram> {
    let len = u8::try_from(text.len()).ok().filter(|len| usize::from(*len) <= len_max);
    body.push(len.ok_or(BadDatagram::TooLong(what))?);
    body.extend_from_slice(text.as_bytes());
    Ok(())
}

fn text(len_max: usize) -> impl Fn(&[u8]) -> IResult<&[u8], String> {
    move |input| {
        let fits = |len: u8| Some(usize::from(len)).filter(|len| *len <= len_max);
        let (rest, len) = be_u8.map_opt(fits).parse(input)?;
        let printable = |bytes| {
            let text = str::from_utf8(bytes).ok()?;
            (!text.chars().any(char::is_control)).then(|| text.to_owned())
        };
        take(len).map_opt(printable).parse(rest)
    }
}

fn put_count(body: &mut Vec<u8>, len: usize, what: &'static str) -> Result<(), BadDatagram> {
    let count = u8::try_from(len).ok().filter(|count| usize::from(*count) <= ADDRESSES_MAX);
    body.push(count.ok_or(BadDatagram::TooLong(what))?);
    Ok(())
}

fn listed(count: u8) -> Option<usize> {
    Some(usize::from(count)).filter(|count| *count <= ADDRESSES_MAX)
}

fn put_socket(body: &mut Vec<u8>, socket: SocketAddr) {
    put_address(body, socket.ip());
    body.extend_from_slice(&socket.port().to_be_bytes());
}

fn socket(input: &[u8]) -> IResult<&[u8], SocketAddr> {
    (address, be_u16).map(|(address, port)| SocketAddr::new(address, port)).parse(input)
}

/// IPv4 as the IPv6 address that maps it, so that every address takes sixteen bytes.
fn put_address(body: &mut Vec<u8>, address: IpAddr) {
    let mapped = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    body.extend_from_slice(&mapped.octets());
}

fn address(input: &[u8]) -> IResult<&[u8], IpAddr> {
    let whole = |bytes: &[u8]| {
        let octets: [u8; 16] = bytes.try_into().expect("sixteen bytes were taken");
        IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
    };
    take(16_usize).map(whole).parse(input)
}
