//! Any 48 bytes are refused, or read into a value that survives being built and read again.

use outband_protocol::pdu::{Bhs, Request, Response};

/// See the module.
pub fn run(input: &[u8]) {
    let Some(bytes) = input.first_chunk::<48>() else {
        return;
    };
    let bhs = Bhs(*bytes);
    if let Ok(request) = Request::parse(&bhs) {
        assert_eq!(Request::parse(&request.build()), Ok(request));
    }
    if let Ok(response) = Response::parse(&bhs) {
        assert_eq!(Response::parse(&response.build()), Ok(response));
    }
}
