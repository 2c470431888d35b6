//! Reading spill files: which blocks there are, and one of them.

use std::io;

use edgehub_types::StorageFile;

use crate::format::{
    BLOCK_HEADER_BYTES, BlockHeader, ENTRY_HEAD_BYTES, FOOTER_TAIL_BYTES, FooterTail, SPILL_HEADER_BYTES,
    SegmentHeaderError, SpillEntries, SpillHeader, decompress,
};

/// The blocks of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BlockList {
    pub blocks: Vec<BlockHeader>,
    /// Bytes up to the end of the last block.
    pub bytes: u64,
    /// The file has its footer.
    pub complete: bool,
}

/// Reads the first frame.
///
/// # Errors
/// The system's. Inside: as [`SpillHeader::decode`].
pub(crate) fn read_header(file: &dyn StorageFile) -> io::Result<Result<SpillHeader, SegmentHeaderError>> {
    let mut bytes = [0; SPILL_HEADER_BYTES];
    let got = file.read_at(&mut bytes, 0)?;
    Ok(SpillHeader::decode(bytes.get(..got).unwrap_or_default()))
}

/// Finds the blocks: in the footer if there is one, otherwise by going from block to block, up to the first that is not
/// whole.
///
/// # Errors
/// The system's.
pub(crate) fn read_blocks(file: &dyn StorageFile, salt: u64) -> io::Result<BlockList> {
    let len = file.len()?;
    if let Some(blocks) = read_footer(file, len)?
        && is_chain(&blocks, salt)
    {
        let bytes = blocks.last().map_or(SPILL_HEADER_BYTES as u64, BlockHeader::end_offset);
        return Ok(BlockList { blocks, bytes, complete: true });
    }
    let mut list = BlockList { bytes: SPILL_HEADER_BYTES as u64, ..BlockList::default() };
    while let Some(block) = next_block(file, &list, salt, len)? {
        list.bytes = block.end_offset();
        list.blocks.push(block);
    }
    Ok(list)
}

fn read_footer(file: &dyn StorageFile, len: u64) -> io::Result<Option<Vec<BlockHeader>>> {
    let mut tail = [0; FOOTER_TAIL_BYTES];
    let Some(tail_at) = len.checked_sub(tail.len() as u64) else { return Ok(None) };
    file.read_at(&mut tail, tail_at)?;
    let Some(tail) = FooterTail::decode(&tail) else { return Ok(None) };
    let Some(at) = tail_at.checked_sub(tail.headers_bytes()) else { return Ok(None) };
    let mut bytes = vec![0; tail.headers_bytes() as usize];
    file.read_at(&mut bytes, at)?;
    Ok(tail.headers(&bytes))
}

/// Whether the blocks follow each other without a gap.
fn is_chain(blocks: &[BlockHeader], salt: u64) -> bool {
    let mut offset = SPILL_HEADER_BYTES as u64;
    let mut seq = blocks.first().map_or(0, |block| block.first_seq);
    blocks.iter().all(|block| {
        let follows = block.salt == salt && block.offset == offset && block.first_seq == seq;
        (offset, seq) = (block.end_offset(), block.end_seq);
        follows
    })
}

fn next_block(
    file: &dyn StorageFile,
    list: &BlockList,
    salt: u64,
    len: u64,
) -> io::Result<Option<BlockHeader>> {
    let block = read_block_header(file, list.bytes)?.filter(|block| {
        let seq = list.blocks.last().map_or(block.first_seq, |last| last.end_seq);
        block.salt == salt && block.first_seq == seq && block.end_offset() <= len
    });
    Ok(block)
}

/// Reads the header of the block at an offset; `None` when it is damaged.
///
/// # Errors
/// The system's.
pub(crate) fn read_block_header(file: &dyn StorageFile, offset: u64) -> io::Result<Option<BlockHeader>> {
    let mut bytes = [0; BLOCK_HEADER_BYTES];
    file.read_at(&mut bytes, offset)?;
    Ok(BlockHeader::decode(&bytes).filter(|block| block.offset == offset))
}

/// Reads one block as a consumer would, and looks whether it holds what its header says; `None` when it is damaged.
///
/// # Errors
/// The system's.
pub(crate) fn check_block(file: &dyn StorageFile, block: &BlockHeader) -> io::Result<Option<Vec<u8>>> {
    if read_block_header(file, block.offset)? != Some(*block) {
        return Ok(None);
    }
    if block.count == 0 {
        return Ok(Some(Vec::new()));
    }
    Ok(read_block(file, block)?.filter(|raw| holds(block, raw)))
}

/// Whether the entries are whole, in order, and as many as the header says.
fn holds(block: &BlockHeader, raw: &[u8]) -> bool {
    let (mut count, mut next_delta, mut end) = (0_u32, 0_u64, 0);
    for (offset, entry) in SpillEntries::new(raw) {
        if u64::from(entry.seq_delta) < next_delta {
            return false;
        }
        count += 1;
        next_delta = u64::from(entry.seq_delta) + 1;
        end = offset + ENTRY_HEAD_BYTES + entry.payload.len();
    }
    count == block.count && end == raw.len() && next_delta <= block.end_seq - block.first_seq
}

/// Reads one block; `None` when it is damaged.
///
/// # Errors
/// The system's.
pub(crate) fn read_block(file: &dyn StorageFile, block: &BlockHeader) -> io::Result<Option<Vec<u8>>> {
    let mut frame = vec![0; block.frame_bytes as usize];
    let got = file.read_at(&mut frame, block.frame_offset())?;
    Ok((got == frame.len()).then(|| decompress(block, &frame)).flatten())
}
