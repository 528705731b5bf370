//! Heads of pictures and their decoders.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mmy_formats::picture::Picture;

fuzz_target!(|bytes: &[u8]| {
    let Ok(picture) = Picture::open(bytes) else { return };
    let (height, width) = picture.shape();
    // A large picture that is decoded takes its time, and says nothing that a small one does not.
    if height * width <= 1 << 16 {
        let mut out = vec![0; height * width * Picture::CHANNELS];
        let _ = picture.decode_into(&mut out);
    }
});
