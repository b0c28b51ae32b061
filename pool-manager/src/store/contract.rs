//! What every engine must do. Each engine's tests run the whole of it.

use super::feed::HISTORY;
use super::{Compare, Outcome, Shared, StoreError, Transaction, WatchError};

/// `open` gives a new, empty store each time.
pub(super) async fn check(mut open: impl FnMut() -> Shared) {
    reads_what_was_written(open()).await;
    lists_by_prefix_in_order(open()).await;
    commits_all_or_nothing(open()).await;
    lets_one_of_two_win(open()).await;
    refuses_what_etcd_would(open()).await;
    watches_without_a_gap(open()).await;
    tells_a_late_watcher(open()).await;
}

fn put(key: &str, value: &str) -> Transaction {
    Transaction::new().put(key, value.into())
}

async fn reads_what_was_written(store: Shared) {
    assert_eq!(store.get("/a").await.unwrap(), None);
    assert_eq!(store.commit(put("/a", "1")).await.unwrap(), Outcome::Committed { revision: 1 });
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!((entry.value.as_slice(), entry.revision), (&b"1"[..], 1));
    store.commit(put("/b", "1")).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap().unwrap().revision, 1);
    let delete = Transaction::new().delete("/a");
    assert_eq!(store.commit(delete.clone()).await.unwrap(), Outcome::Committed { revision: 3 });
    assert_eq!(store.get("/a").await.unwrap(), None);
    let again = store.commit(delete).await.unwrap();
    assert_eq!(again, Outcome::Committed { revision: 3 }, "nothing changed");
}

async fn lists_by_prefix_in_order(store: Shared) {
    for key in ["/v/b", "/v/a", "/w/a", "/v", "/v0", "/v/\u{10ffff}"] {
        store.commit(put(key, key)).await.unwrap();
    }
    let listing = store.list("/v/").await.unwrap();
    let keys: Vec<&str> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["/v/a", "/v/b", "/v/\u{10ffff}"]);
    assert_eq!(listing.revision, 6);
    assert!(store.list("/x").await.unwrap().entries.is_empty());
    for (after, limit, expected) in [
        ("", 9, &["/v/a", "/v/b", "/v/\u{10ffff}"][..]),
        ("/v/", 2, &["/v/a", "/v/b"]),
        ("/v/a", 1, &["/v/b"]),
        ("/v/b", 9, &["/v/\u{10ffff}"]),
        ("/w", 9, &[]),
        ("", 0, &[]),
    ] {
        let page = store.page("/v/", after, limit).await.unwrap();
        let keys: Vec<&str> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, expected, "after {after}, {limit} at most");
        assert_eq!(page.revision, 6);
    }
    assert_eq!(store.list("").await.unwrap().entries.len(), 6);
}

async fn commits_all_or_nothing(store: Shared) {
    store.commit(put("/a", "1")).await.unwrap();
    let both = |compare| {
        Transaction::new()
            .when(Compare::Absent("/new".into()))
            .when(compare)
            .put("/a", b"2".to_vec())
            .put("/new", b"2".to_vec())
    };
    for compare in [
        Compare::Absent("/a".into()),
        Compare::Unchanged("/a".into(), 7),
        Compare::Unchanged("/none".into(), 1),
        Compare::Unchanged("/none".into(), 0),
    ] {
        assert_eq!(store.commit(both(compare)).await.unwrap(), Outcome::Conflict);
        assert_eq!(store.get("/a").await.unwrap().unwrap().value, b"1");
        assert_eq!(store.get("/new").await.unwrap(), None);
    }
    let outcome = store.commit(both(Compare::Unchanged("/a".into(), 1))).await.unwrap();
    assert_eq!(outcome, Outcome::Committed { revision: 2 });
    for key in ["/a", "/new"] {
        assert_eq!(store.get(key).await.unwrap().unwrap().revision, 2, "one revision for all");
    }
}

async fn lets_one_of_two_win(store: Shared) {
    let contenders = (0..8).map(|number| {
        let store = Shared::clone(&store);
        tokio::spawn(async move {
            let claim = put("/claim", &number.to_string()).when(Compare::Absent("/claim".into()));
            store.commit(claim).await.unwrap()
        })
    });
    let mut winners = 0;
    for contender in contenders.collect::<Vec<_>>() {
        winners += u32::from(contender.await.unwrap() != Outcome::Conflict);
    }
    assert_eq!(winners, 1);
}

async fn refuses_what_etcd_would(store: Shared) {
    let many = |count: usize| {
        (0..count).fold(Transaction::new(), |all, i| all.put(format!("/{i}"), Vec::new()))
    };
    assert!(store.commit(many(128)).await.is_ok());
    assert!(matches!(store.commit(many(129)).await, Err(StoreError::TooManyOperations(129))));
    let twice = put("/a", "1").delete("/a");
    assert!(matches!(store.commit(twice).await, Err(StoreError::KeyTwice(_))));
    assert_eq!(store.get("/a").await.unwrap(), None);
}

async fn watches_without_a_gap(store: Shared) {
    store.commit(put("/v/a", "1")).await.unwrap();
    let mut watch = store.watch("/v/", 1);
    store.commit(put("/other", "1")).await.unwrap();
    store.commit(put("/v/b", "1").put("/other", Vec::new())).await.unwrap();
    store.commit(Transaction::new().delete("/v/a")).await.unwrap();
    let seen: Vec<_> = watch.next().await.unwrap();
    let seen: Vec<_> =
        seen.iter().map(|change| (change.key.as_str(), change.value.is_some())).collect();
    assert_eq!(seen, [("/v/b", true), ("/v/a", false)]);

    let writer = Shared::clone(&store);
    let late = tokio::spawn(async move { writer.commit(put("/v/c", "1")).await });
    assert_eq!(watch.next().await.unwrap()[0].key, "/v/c");
    late.await.unwrap().unwrap();
}

async fn tells_a_late_watcher(store: Shared) {
    let mut late = store.watch("/", 0);
    for batch in 0..=HISTORY / 128 {
        let all = (0..128)
            .fold(Transaction::new(), |all, i| all.put(format!("/{batch}/{i}"), Vec::new()));
        store.commit(all).await.unwrap();
    }
    assert_eq!(late.next().await, Err(WatchError::Compacted));
}
