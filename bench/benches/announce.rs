//! The datagrams between a unit and its station: sealed, opened, taken or known already.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use outband_protocol::announce::{
    Datagram, Envelope, Interface, Key, KeyId, Load, Message, Seen, Startup,
};

fn datagram(message: Message) -> Datagram {
    Datagram { unit: [7; 16], incarnation: 3, sequence: 4711, message }
}

fn startup() -> Message {
    let portal = SocketAddr::from(([192, 0, 2, 11], 3260));
    let interface = |number: u8| Interface {
        name: format!("eth{number}"),
        address: [192, 0, 2, number].into(),
    };
    Message::Startup(Startup {
        fingerprint: [9; 32],
        api: SocketAddr::from(([192, 0, 2, 11], 3261)),
        name: "unit-eleven".to_owned(),
        version: "0.1.0".to_owned(),
        portals: vec![portal; 4],
        interfaces: (0..4).map(interface).collect(),
    })
}

fn announce(criterion: &mut Criterion) {
    let key = Key::new(KeyId::Unit, [5; 32]);
    for (name, message) in [("ALIVE", Message::Alive(Load::default())), ("STARTUP", startup())] {
        let datagram = datagram(message);
        criterion.bench_function(&format!("announce/seal {name}"), |bencher| {
            bencher.iter(|| black_box(&datagram).build(Some(&key)));
        });
        let bytes = datagram.build(Some(&key)).expect("it is short");
        criterion.bench_function(&format!("announce/open {name}"), |bencher| {
            bencher.iter(|| {
                let envelope = Envelope::parse(black_box(&bytes)).expect("it is well formed");
                let datagram = envelope.open(&key).expect("it was sealed with this key");
                Seen::of_incarnation(2).take(&datagram)
            });
        });
    }
}

criterion_group!(benches, announce);
criterion_main!(benches);
