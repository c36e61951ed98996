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

    /// Bytes that events may still take when `used` are in use; or why none may.
    pub(crate) fn room(&self, used: u64) -> Result<u64, String> {
        let mut room = u64::MAX;
        if let Some(limit) = self.disk_bytes_max {
            room = room.min(limit.saturating_sub(used));
            if room == 0 {
                return Err(format!("{used} bytes in use reach the limit of {limit}"));
            }
        }
        let map_limit = self.map_bytes - (self.map_bytes / 8).min(MAP_RESERVE_BYTES_MAX);
        room = room.min(map_limit.saturating_sub(used));
        if room == 0 {
            return Err(format!("{used} bytes in use reach the end of the map of {} bytes", self.map_bytes));
        }
        if let Some(free) = self.free_bytes() {
            room = room.min(free.saturating_sub(self.reserve_bytes));
            if room == 0 {
                let reserve = self.reserve_bytes;
                return Err(format!("the file system has {free} bytes left, below the reserve of {reserve}"));
            }
        }
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_counts_and_names_itself() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path(), 8000, Some(1000), 0);
        assert_eq!(space.room(400), Ok(600));
        assert!(space.room(1000).unwrap_err().contains("limit of 1000"));
        let space = Space::new(dir.path(), 8000, None, 0);
        assert_eq!(space.room(0), Ok(7000));
        assert!(space.room(7000).unwrap_err().contains("map of 8000"));
        let space = Space::new(dir.path(), 1 << 40, None, u64::MAX);
        assert!(space.room(0).unwrap_err().contains("below the reserve"));
        assert!(space.is_below_reserve());
    }
}
