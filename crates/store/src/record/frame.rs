//! The frame around every row: `version u8, crc32 u32, body`. The checksum covers key, version and body, so that a
//! row found under a wrong key is as damaged as one with a flipped bit.

/// Bytes before the body.
pub(crate) const HEAD_BYTES: usize = 5;

/// A row that does not fit its checksum or its grammar. Says what was read, never what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged {0} record")]
pub(crate) struct Damaged(pub(crate) &'static str);

fn checksum(key: &[u8], version: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&[version]);
    hasher.update(body);
    hasher.finalize()
}

/// Starts a row: the checksum's place is left open.
pub(crate) fn begin(version: u8) -> Vec<u8> {
    vec![version, 0, 0, 0, 0]
}

/// Puts the checksum of a row's first `covered` bytes into its place.
pub(crate) fn finish_first(row: &mut [u8], covered: usize, key: &[u8]) {
    let version = row.first().copied().unwrap_or_default();
    let sum = checksum(key, version, row.get(HEAD_BYTES..covered).unwrap_or_default());
    if let Some(place) = row.get_mut(1..HEAD_BYTES) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

/// Puts the checksum of the whole row into its place.
pub(crate) fn finish(row: &mut [u8], key: &[u8]) {
    finish_first(row, row.len(), key);
}

/// Checks the first `covered` bytes of a row and gives their body.
pub(crate) fn open_first<'r>(
    row: &'r [u8],
    covered: usize,
    key: &[u8],
    version: u8,
    what: &'static str,
) -> Result<Reader<'r>, Damaged> {
    let damaged = Damaged(what);
    let head = row.get(..HEAD_BYTES).ok_or(damaged)?;
    let body = row.get(HEAD_BYTES..covered).ok_or(damaged)?;
    let (found, sum) = head.split_first().ok_or(damaged)?;
    let sum = u32::from_le_bytes(sum.try_into().map_err(|_| damaged)?);
    if *found != version || checksum(key, *found, body) != sum {
        return Err(damaged);
    }
    Ok(Reader { rest: body, what })
}

/// Gives the body of the first `covered` bytes of a row that is known to be damaged.
pub(crate) fn open_unchecked<'r>(
    row: &'r [u8],
    covered: usize,
    what: &'static str,
) -> Result<Reader<'r>, Damaged> {
    Ok(Reader { rest: row.get(HEAD_BYTES..covered).ok_or(Damaged(what))?, what })
}

/// Checks a row and gives its body.
pub(crate) fn open<'r>(
    row: &'r [u8],
    key: &[u8],
    version: u8,
    what: &'static str,
) -> Result<Reader<'r>, Damaged> {
    open_first(row, row.len(), key, version, what)
}

/// Writes the parts of a body.
pub(crate) trait Put {
    fn put_u8(&mut self, value: u8);
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_varint(&mut self, value: u64);
    /// Length (u16), then the text; longer texts are cut at a character.
    fn put_text(&mut self, text: &str);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_text(&mut self, text: &str) {
        let kept = text.floor_char_boundary(usize::from(u16::MAX));
        self.put_u16(u16::try_from(kept).unwrap_or(u16::MAX));
        self.extend_from_slice(text.as_bytes().get(..kept).unwrap_or_default());
    }
}

/// Reads the parts of a body in order; every step is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'r> {
    rest: &'r [u8],
    what: &'static str,
}

impl<'r> Reader<'r> {
    pub(crate) fn damaged(&self) -> Damaged {
        Damaged(self.what)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'r [u8], Damaged> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Damaged(self.what))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let what = self.what;
        self.bytes(N)?.try_into().map_err(|_| Damaged(what))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Damaged> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Damaged> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Damaged> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, Damaged> {
        self.array().map(u128::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    pub(crate) fn text(&mut self) -> Result<&'r str, Damaged> {
        let count = self.u16()?;
        std::str::from_utf8(self.bytes(usize::from(count))?).map_err(|_| self.damaged())
    }

    pub(crate) fn rest(&mut self) -> &'r [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The body must be used up.
    pub(crate) fn end(self) -> Result<(), Damaged> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged()) }
    }
}

/// For the tests of every codec: flips each byte and cuts at each length, and wants each to be noticed.
#[cfg(test)]
pub(crate) fn check_every_damage(row: &[u8], is_good: impl Fn(&[u8]) -> bool) {
    assert!(is_good(row), "the row itself must be good");
    for at in 0..row.len() {
        for mask in [0x01, 0x80, 0xFF] {
            let mut flipped = row.to_vec();
            flipped[at] ^= mask;
            assert!(!is_good(&flipped), "flip of byte {at} by {mask:#x} went unnoticed");
        }
        assert!(!is_good(&row[..at]), "cut to {at} bytes went unnoticed");
    }
    let mut longer = row.to_vec();
    longer.push(0);
    assert!(!is_good(&longer), "a byte too many went unnoticed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut row = begin(1);
            row.put_varint(value);
            finish(&mut row, b"k");
            let mut reader = open(&row, b"k", 1, "test").unwrap();
            assert_eq!(reader.varint(), Ok(value));
            reader.end().unwrap();
        }
    }

    #[test]
    fn a_row_under_a_wrong_key_or_version_is_damaged() {
        let mut row = begin(1);
        row.put_u64(7);
        finish(&mut row, b"k");
        assert!(open(&row, b"k", 1, "test").is_ok());
        assert_eq!(open(&row, b"l", 1, "test").unwrap_err(), Damaged("test"));
        assert_eq!(open(&row, b"k", 2, "test").unwrap_err(), Damaged("test"));
        check_every_damage(&row, |row| open(row, b"k", 1, "test").is_ok());
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let mut row = Vec::new();
        row.put_text(&"ä".repeat(40_000));
        assert_eq!(row.len(), 2 + 65_534);
    }
}
