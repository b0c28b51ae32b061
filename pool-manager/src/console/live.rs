//! Tells open pages that something has changed (server-sent events). What has changed, they fetch.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Console;
use super::session::Visitor;

/// News are told within this.
const LOOK: Duration = Duration::from_secs(1);
/// Figures move without news: told of every so many looks.
const FIGURES: u32 = 3;
/// A session that is over is noticed within so many looks.
const LOOKS_MAX: u32 = 600;

pub(super) async fn follow(State(at): State<Arc<Console>>, _visitor: Visitor) -> Response {
    let (sender, receiver) = channel(4);
    tokio::spawn(tell(at, sender));
    let kind = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    (kind, Body::new(News(receiver))).into_response()
}

/// Ends with the page, with the station, or after a while: then the page asks again, and has to have a session.
async fn tell(at: Arc<Console>, page: Sender<Bytes>) {
    let mut last = at.station.events.last();
    let mut quiet = 0;
    for _ in 0..LOOKS_MAX {
        tokio::select! {
            () = page.closed() => return,
            () = at.station.ended() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = at.station.events.last();
        quiet += 1;
        if now == last && quiet < FIGURES {
            continue;
        }
        (last, quiet) = (now, 0);
        // One that does not read what it was told needs no more of it.
        let _ = page.try_send(Bytes::from(format!("event: changed\ndata: {now}\n\n")));
    }
}

struct News(Receiver<Bytes>);

impl hyper::body::Body for News {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|news| news.map(|news| Ok(Frame::data(news))))
    }
}
