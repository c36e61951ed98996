//! How much may still be written: the limit set, the map's end, and the file system's free space.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The map's last part is kept for settlements, which write pages to free others.
const MAP_RESERVE_BYTES_MAX: u64 = 1 << 30;

/// See the module.
pub(crate) struct Space {
    dir: CString,
    map_bytes: u64,
    disk_bytes_max: Option<u64>,
    reserve_bytes: u64,
}

impl Space {
    pub(crate) fn new(dir: &Path, map_bytes: u64, disk_bytes_max: Option<u64>, reserve_bytes: u64) -> Self {
        let dir = CString::new(dir.as_os_str().as_bytes()).unwrap_or_default();
        Space { dir, map_bytes, disk_bytes_max, reserve_bytes }
    }

    /// Bytes of the file system that anyone may still use; `None` when it does not tell.
    fn free_bytes(&self) -> Option<u64> {
        let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        #[expect(unsafe_code, reason = "the standard library has no call for a file system's free space")]
        // SAFETY: `dir` is a valid NUL-terminated string and `found` a valid place for the call to fill, both alive
        // during the call; `found` is read only when the call says that it filled it.
        let found = unsafe {
            match libc::statvfs(self.dir.as_ptr(), found.as_mut_ptr()) {
                0 => found.assume_init(),
                _ => return None,
            }
        };
        #[expect(clippy::useless_conversion, reason = "these fields are 32 bits wide on some systems")]
        Some(u64::from(found.f_bavail).saturating_mul(u64::from(found.f_frsize)))
    }

    /// Whether the file system has less left than the reserve.
    pub(crate) fn is_below_reserve(&self) -> bool {
        self.free_bytes().is_some_and(|free| free < self.reserve_bytes)
    }

    /// What events may still take when `used` bytes are in use.
    pub(crate) fn room(&self, used: u64) -> Room {
        let map_limit = self.map_bytes - (self.map_bytes / 8).min(MAP_RESERVE_BYTES_MAX);
        let mut room =
            Room { left: map_limit.saturating_sub(used), bound: Bound::Map { used, limit: self.map_bytes } };
        if let Some(limit) = self.disk_bytes_max {
            room.narrow(limit.saturating_sub(used), Bound::Limit { used, limit });
        }
        if let Some(free) = self.free_bytes() {
            let reserve = self.reserve_bytes;
            room.narrow(free.saturating_sub(reserve), Bound::Reserve { free, reserve });
        }
        room
    }
}

/// What bounds the room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Limit { used: u64, limit: u64 },
    Map { used: u64, limit: u64 },
    Reserve { free: u64, reserve: u64 },
}

/// Bytes that events may still take, and why no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    left: u64,
    bound: Bound,
}

impl Room {
    fn narrow(&mut self, left: u64, bound: Bound) {
        if left < self.left {
            *self = Room { left, bound };
        }
    }

    /// Takes so many bytes, or says why they do not fit.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), String> {
        if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
            return Ok(());
        }
        let why = match self.bound {
            Bound::Limit { used, limit } => format!("{used} bytes in use of a limit of {limit}"),
            Bound::Map { used, limit } => format!("{used} bytes in use of a map of {limit}"),
            Bound::Reserve { free, reserve } => {
                format!("the file system has {free} bytes left, with a reserve of {reserve}")
            }
        };
        Err(format!("{bytes} bytes of events do not fit: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_counts_and_names_itself() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path(), 8000, Some(1000), 0);
        let mut room = space.room(400);
        assert_eq!((room.take(500), room.take(100)), (Ok(()), Ok(())));
        let full = "1 bytes of events do not fit: 400 bytes in use of a limit of 1000";
        assert_eq!(room.take(1).unwrap_err(), full);
        let space = Space::new(dir.path(), 8000, None, 0);
        assert_eq!(space.room(0).take(7000), Ok(()));
        assert!(space.room(0).take(7001).unwrap_err().contains("map of 8000"));
        let space = Space::new(dir.path(), 1 << 40, None, u64::MAX);
        assert!(space.room(0).take(1).unwrap_err().contains("reserve of 18446744073709551615"));
        assert!(space.is_below_reserve());
    }

    #[test]
    fn what_does_not_fit_leaves_the_room_to_smaller_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut room = Space::new(dir.path(), 1 << 40, Some(1000), 0).room(0);
        assert!(room.take(1001).is_err());
        assert_eq!(room.take(1000), Ok(()));
    }
}
