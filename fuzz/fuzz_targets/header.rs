//! Any 48 bytes are refused, or read into a value that survives being built and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outband_protocol::pdu::{Bhs, Request, Response};

fuzz_target!(|input: &[u8]| {
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
});
