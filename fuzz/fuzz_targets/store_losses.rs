//! Reads any text as a ledger of losses, also with the right checksum; what can be read is written as it was meant.
#![no_main]

use edgehub_store::LossBook;
use libfuzzer_sys::fuzz_target;

fn read(text: &str) {
    let Ok(book) = LossBook::from_text(text, None) else { return };
    let written = book.to_text(7);
    let Ok(again) = LossBook::from_text(&written, Some(7)) else { panic!("not read again: {written:?}") };
    assert_eq!((&again.last, again.written_at), (&book.last, book.written_at));
    assert_eq!(again.to_text(7), written);
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(text);
    read(&format!("{text}\nend\t{:08x}\n", crc32fast::hash(format!("{text}\n").as_bytes())));
    let lines = format!("edgehub losses\t1\t00000000000000aa\t5\n{text}\n");
    read(&format!("{lines}end\t{:08x}\n", crc32fast::hash(lines.as_bytes())));
});
