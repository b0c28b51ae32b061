use proptest::prelude::*;

use super::*;

const GIB: u64 = 1 << 30;

fn unit(number: u128, free: u64) -> UnitSpace {
    UnitSpace {
        id: Uuid::from_u128(number),
        name: format!("unit-{number}").into(),
        unfit: None,
        labels: Arc::default(),
        free,
        free_volatile: 0,
        volumes_of_host: 0,
        idle: Arc::default(),
    }
}

fn idle(number: u128, size: u64) -> IdleVolume {
    let id = Uuid::from_u128(number);
    IdleVolume {
        id,
        name: format!("idle-{number}"),
        size,
        block_size: 512,
        volatile: false,
        allow_sanitize: false,
    }
}

fn request(size: u64) -> Request {
    Request::anywhere(size)
}

fn unit_of(chosen: &Chosen) -> Uuid {
    match chosen {
        Chosen::Existing { unit, .. } | Chosen::New { unit, .. } => *unit,
    }
}

#[test]
fn the_unit_with_the_most_free_space_is_taken() {
    let pool = Pool { units: vec![unit(1, GIB), unit(2, 3 * GIB), unit(3, 2 * GIB)] };
    let chosen = choose(&pool, &request(GIB)).unwrap();
    assert_eq!(unit_of(&chosen), Uuid::from_u128(2));
}

#[test]
fn spreading_goes_by_the_hosts_volumes_first() {
    let mut pool = Pool { units: vec![unit(1, 9 * GIB), unit(2, 2 * GIB), unit(3, 3 * GIB)] };
    pool.units[0].volumes_of_host = 1;
    let spread = Request { placement: Placement::Spread, ..request(GIB) };
    assert_eq!(unit_of(&choose(&pool, &spread).unwrap()), Uuid::from_u128(3));
}

#[test]
fn a_pin_is_obeyed_or_refused() {
    let mut pool = Pool { units: vec![unit(1, GIB), unit(2, 3 * GIB)] };
    let pinned = Request { pinned: Some(Uuid::from_u128(1)), ..request(GIB) };
    assert_eq!(unit_of(&choose(&pool, &pinned).unwrap()), Uuid::from_u128(1));
    let larger = Request { size: 2 * GIB, ..pinned.clone() };
    assert_eq!(choose(&pool, &larger), Err(Why::TooLarge { largest: GIB, pinned: true }));
    pool.units[0].unfit = Some(Unfit::Down);
    let down = Rejection::Unfit(Unfit::Down);
    assert_eq!(choose(&pool, &pinned), Err(Why::PinnedNotUsable(down)));
}

#[test]
fn a_volume_nobody_ever_had_is_taken_before_new_space() {
    let mut pool = Pool { units: vec![unit(1, 9 * GIB), unit(2, 0)] };
    pool.units[1].idle = [idle(7, 2 * GIB), idle(8, GIB), idle(9, 9 * GIB)].into();
    let chosen = choose(&pool, &request(GIB - 5)).unwrap();
    assert!(matches!(chosen, Chosen::Existing { volume, .. } if volume.id == Uuid::from_u128(8)));
    let named = Request { reuse: false, ..request(GIB) };
    assert!(matches!(choose(&pool, &named), Ok(Chosen::New { .. })));
    let small = choose(&pool, &request(GIB / 4)).unwrap();
    assert!(matches!(small, Chosen::New { .. }), "more than twice the size is a waste");
}

#[test]
fn a_volume_nobody_ever_had_is_taken_only_if_it_may_be_wiped_as_asked_for() {
    let mut pool = Pool { units: vec![unit(1, GIB)] };
    pool.units[0].idle = [idle(7, GIB)].into();
    let wiped = Request { allow_sanitize: true, ..request(GIB) };
    assert!(matches!(choose(&pool, &wiped), Ok(Chosen::New { .. })));
    pool.units[0].idle = [IdleVolume { allow_sanitize: true, ..idle(7, GIB) }].into();
    assert!(matches!(choose(&pool, &wiped), Ok(Chosen::Existing { .. })));
    assert!(matches!(choose(&pool, &request(GIB)), Ok(Chosen::New { .. })));
}

#[test]
fn a_volume_nobody_ever_had_is_taken_only_if_its_blocks_are_as_asked_for() {
    let mut pool = Pool { units: vec![unit(1, GIB)] };
    let large = IdleVolume { block_size: 4096, ..idle(8, 2 * GIB) };
    pool.units[0].idle = [idle(7, GIB), large].into();
    for (block_size, taken) in
        [(None, Some(7)), (Some(BlockSize::B512), Some(7)), (Some(BlockSize::B4096), Some(8))]
    {
        let chosen = choose(&pool, &Request { block_size, ..request(GIB) }).unwrap();
        let id = match chosen {
            Chosen::Existing { volume, .. } => Some(volume.id.as_u128()),
            Chosen::New { .. } => None,
        };
        assert_eq!(id, taken, "{block_size:?}");
    }
    pool.units[0].idle = pool.units[0].idle[..1].into();
    let large = Request { block_size: Some(BlockSize::B4096), ..request(GIB) };
    assert!(matches!(choose(&pool, &large), Ok(Chosen::New { .. })));
}

#[test]
fn memory_is_given_only_to_who_asks_for_it() {
    let mut pool = Pool { units: vec![unit(1, 0)] };
    pool.units[0].free_volatile = GIB;
    assert_eq!(choose(&pool, &request(1)), Err(Why::TooLarge { largest: 0, pinned: false }));
    assert!(choose(&pool, &Request { volatile: true, ..request(GIB) }).is_ok());
}

#[test]
fn a_refusal_names_the_largest_possible() {
    let pool = Pool { units: vec![unit(1, GIB + 5), unit(2, GIB)] };
    let refusal = choose(&pool, &request(GIB + 1)).unwrap_err();
    assert_eq!(refusal.to_string(), "the largest possible volume is 1 GiB (1073741824 bytes)");
    assert_eq!(choose(&Pool::default(), &request(1)), Err(Why::NoUnit));
    assert_eq!(choose(&pool, &request(0)), Err(Why::Empty));
    assert!(matches!(choose(&pool, &request(u64::MAX)), Err(Why::TooLarge { .. })));
}

#[test]
fn a_volume_is_placed_by_labels_near_some_and_apart_from_others() {
    let rack = |number: u128, rack: &str| UnitSpace {
        labels: Arc::new(BTreeMap::from([("rack".to_owned(), rack.to_owned())])),
        ..unit(number, GIB)
    };
    let pool = Pool { units: vec![rack(1, "r1"), rack(2, "r1"), rack(3, "r2"), unit(4, GIB)] };
    let id = Uuid::from_u128;
    let units = |ids: &[u128]| ids.iter().copied().map(id).collect::<BTreeSet<Uuid>>();
    let chosen = |request: &Request| choose(&pool, request).map(|chosen| unit_of(&chosen));
    let by_rack = Request { domain: Some("rack".into()), ..request(GIB) };

    let labels = BTreeMap::from([("rack".to_owned(), "r2".to_owned())]);
    assert_eq!(chosen(&Request { labels, ..request(GIB) }), Ok(id(3)));
    assert_eq!(chosen(&Request { near: units(&[2]), ..request(GIB) }), Ok(id(2)));
    assert_eq!(chosen(&Request { apart: units(&[1]), ..request(GIB) }), Ok(id(2)));
    assert_eq!(chosen(&Request { apart: units(&[1]), ..by_rack.clone() }), Ok(id(3)));
    let last = Request { apart: units(&[1, 3]), ..by_rack.clone() };
    assert_eq!(chosen(&last), Ok(id(4)), "a unit without the label is a domain by itself");
    let nowhere = Request { apart: units(&[1, 3, 4]), ..by_rack };
    assert_eq!(chosen(&nowhere), Err(Why::Unsuited(Rejection::NotApart)));
    let torn = Request { near: units(&[1, 2]), ..request(GIB) };
    assert_eq!(chosen(&torn), Err(Why::Unsuited(Rejection::NotNear)));
    let verdicts = explain(&pool, &last);
    let said: Vec<Option<Rejection>> =
        verdicts.into_iter().map(|verdict| verdict.rejection).collect();
    let apart = Some(Rejection::NotApart);
    assert_eq!(said, [apart.clone(), apart.clone(), apart, None]);
}

fn any_unit() -> impl Strategy<Value = UnitSpace> {
    let idle = (any::<u128>(), 0..9 * GIB, any::<bool>(), any::<bool>());
    let idle = proptest::collection::vec(idle, 0..4);
    let space = (0..9 * GIB, 0..9 * GIB, 0..4_u32);
    let unfit = proptest::option::weighted(0.3, Just(Unfit::Cordoned));
    let labels = proptest::collection::btree_map("[ab]", "[xy]", 0..3);
    (any::<u128>(), unfit, space, idle, labels).prop_map(
        |(number, unfit, (free, free_volatile, volumes_of_host), volumes, labels)| UnitSpace {
            unfit,
            labels: Arc::new(labels),
            free_volatile,
            volumes_of_host,
            idle: volumes
                .into_iter()
                .map(|(number, size, volatile, large_blocks)| {
                    let block_size = if large_blocks { 4096 } else { 512 };
                    IdleVolume { block_size, volatile, ..idle_of(number, size) }
                })
                .collect(),
            ..unit(number, free)
        },
    )
}

fn idle_of(number: u128, size: u64) -> IdleVolume {
    idle(number, size / EXTENT * EXTENT)
}

/// A request, with units named by their position.
#[derive(Clone, Debug)]
struct Wishes {
    size: u64,
    kind: (bool, bool, bool, bool),
    pin: Option<usize>,
    labels: BTreeMap<String, String>,
    near: Option<usize>,
    apart: Vec<usize>,
    domain: Option<String>,
}

fn any_wishes() -> impl Strategy<Value = Wishes> {
    let labels = proptest::collection::btree_map("[ab]", "[xy]", 0..2);
    let near = proptest::option::weighted(0.2, 0..6_usize);
    let apart = proptest::collection::vec(0..6_usize, 0..3);
    let domain = proptest::option::of("[ab]");
    let pin = proptest::option::weighted(0.3, 0..6_usize);
    (1..10 * GIB, any::<(bool, bool, bool, bool)>(), pin, labels, near, apart, domain).prop_map(
        |(size, kind, pin, labels, near, apart, domain)| Wishes {
            size,
            kind,
            pin,
            labels,
            near,
            apart,
            domain,
        },
    )
}

fn request_of(wishes: Wishes, units: &[UnitSpace]) -> Request {
    let (spread, volatile, reuse, large_blocks) = wishes.kind;
    let id = |at: usize| units.get(at).map(|unit| unit.id);
    Request {
        size: wishes.size,
        block_size: large_blocks.then_some(BlockSize::B4096),
        placement: if spread { Placement::Spread } else { Placement::MostFree },
        pinned: wishes.pin.and_then(id),
        volatile,
        allow_sanitize: false,
        reuse,
        labels: wishes.labels,
        near: wishes.near.and_then(id).into_iter().collect(),
        apart: wishes.apart.into_iter().filter_map(id).collect(),
        domain: wishes.domain,
    }
}

proptest! {
    #[test]
    fn what_is_chosen_fits_and_what_is_refused_fits_nowhere(
        units in proptest::collection::vec(any_unit(), 0..6),
        wishes in any_wishes(),
    ) {
        let request = request_of(wishes, &units);
        let (size, pinned) = (request.size, request.pinned);
        let pool = Pool { units };
        let usable = |id| pool.units.iter().find(|unit| unit.id == id && unit.unfit.is_none());
        let verdicts = explain(&pool, &request);
        prop_assert_eq!(verdicts.len(), pool.units.len());
        let fits: Vec<Uuid> = verdicts
            .into_iter()
            .filter(|verdict| verdict.rejection.is_none())
            .map(|verdict| verdict.unit)
            .collect();
        let chosen = choose(&pool, &request);
        match &chosen {
            Ok(Chosen::New { unit, .. } | Chosen::Existing { unit, .. }) => {
                prop_assert!(fits.contains(unit), "choice and explanation agree");
            }
            Err(_) => prop_assert!(fits.is_empty(), "choice and explanation agree"),
        }
        if let Ok(Chosen::New { unit, .. } | Chosen::Existing { unit, .. }) = &chosen {
            let unit = usable(*unit).expect("chosen units are usable");
            prop_assert!(pinned.is_none_or(|pinned| pinned == unit.id));
            prop_assert!(request.labels.iter().all(|(key, value)| unit.labels.get(key) == Some(value)));
            prop_assert!(request.near.iter().all(|near| *near == unit.id));
            let own = request.domain.as_ref().and_then(|key| unit.labels.get(key));
            for other in pool.units.iter().filter(|other| request.apart.contains(&other.id)) {
                let theirs = request.domain.as_ref().and_then(|key| other.labels.get(key));
                prop_assert!(other.id != unit.id && (own.is_none() || own != theirs));
            }
        }
        match chosen {
            Ok(Chosen::New { unit, size: given, .. }) => {
                let unit = usable(unit).expect("chosen units are usable");
                prop_assert!(given >= size && given - size < EXTENT && given <= free(unit, &request));
            }
            Ok(Chosen::Existing { unit, volume, .. }) => {
                let unit = usable(unit).expect("chosen units are usable");
                prop_assert!(request.reuse && unit.idle.contains(&volume));
                prop_assert!(volume.size >= size && volume.volatile == request.volatile);
                prop_assert!(request.block_size.is_none() || volume.block_size == 4096);
            }
            Err(Why::TooLarge { largest, .. }) => {
                prop_assert!(largest < size);
                if largest > 0 {
                    let largest = choose(&pool, &Request { size: largest, ..request });
                    prop_assert!(largest.is_ok());
                }
            }
            Err(Why::NoUnit) => prop_assert!(pool.units.iter().all(|unit| unit.unfit.is_some())),
            Err(Why::Unsuited(_)) => prop_assert!(pinned.is_none()),
            Err(Why::PinnedNotUsable(_)) => prop_assert!(pinned.is_some()),
            Err(Why::Empty) => prop_assert!(false, "the size is at least one"),
        }
    }
}
