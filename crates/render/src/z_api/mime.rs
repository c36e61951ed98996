//! MIME types the hub does not tell: by extension, checked against what the member can hold.

/// What a Z-API member accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Image,
    Audio,
    Video,
    Sticker,
    Document,
}

impl Media {
    /// Used when nothing better is known.
    pub(crate) const fn fallback(self) -> &'static str {
        match self {
            Media::Image => "image/jpeg",
            Media::Audio => "audio/ogg; codecs=opus",
            Media::Video => "video/mp4",
            Media::Sticker => "image/webp",
            Media::Document => "application/octet-stream",
        }
    }

    fn accepts(self, mime: &str) -> bool {
        let family = match self {
            Media::Image | Media::Sticker => "image/",
            Media::Audio => "audio/",
            Media::Video => "video/",
            Media::Document => return true,
        };
        mime.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family))
    }
}

/// The type of an item: as the hub tells it, else by `extension`, else by the URL's; one that does not fit the
/// member gives way to the member's fallback.
pub(crate) fn mime_of<'a>(
    media: Media,
    told: Option<&'a str>,
    extension: Option<&str>,
    url: &str,
) -> &'a str {
    told.or_else(|| extension.and_then(|extension| by_extension(media, extension)))
        .or_else(|| by_extension(media, extension_of(url)?))
        .filter(|mime| media.accepts(mime))
        .unwrap_or(media.fallback())
}

/// The last segment of a URL's path, without query and fragment.
pub(crate) fn last_segment(url: &str) -> &str {
    let path = match url.split_once("://") {
        // The authority is not part of the path: `https://cdn.test` has no segment.
        Some((_, rest)) => rest.find(['/', '?', '#']).and_then(|at| rest.get(at..)).unwrap_or_default(),
        None => url,
    };
    let path = path.find(['?', '#']).and_then(|at| path.get(..at)).unwrap_or(path);
    path.rsplit('/').next().unwrap_or_default()
}

/// `name` without its extension.
pub(crate) fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

fn extension_of(url: &str) -> Option<&str> {
    last_segment(url).rsplit_once('.').map(|(_, extension)| extension)
}

/// The table of the mapping, without regard to case.
fn by_extension(media: Media, extension: &str) -> Option<&'static str> {
    let extension = extension.strip_prefix('.').unwrap_or(extension);
    let mut lower = [0_u8; 4];
    let lower = lower.get_mut(..extension.len())?;
    lower.copy_from_slice(extension.as_bytes());
    lower.make_ascii_lowercase();
    Some(match &*lower {
        // Containers that hold either: the member says which.
        b"mp4" if media == Media::Audio => "audio/mp4",
        b"ogg" if media == Media::Video => "video/ogg",
        b"jpg" | b"jpeg" => "image/jpeg",
        b"png" => "image/png",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"bmp" => "image/bmp",
        b"tif" | b"tiff" => "image/tiff",
        b"mp3" => "audio/mpeg",
        b"ogg" | b"opus" | b"oga" => "audio/ogg; codecs=opus",
        b"m4a" => "audio/mp4",
        b"aac" => "audio/aac",
        b"amr" => "audio/amr",
        b"wav" => "audio/wav",
        b"flac" => "audio/flac",
        b"mp4" => "video/mp4",
        b"3gp" => "video/3gpp",
        b"mov" => "video/quicktime",
        b"avi" => "video/x-msvideo",
        b"mkv" => "video/x-matroska",
        b"webm" => "video/webm",
        b"pdf" => "application/pdf",
        b"txt" => "text/plain",
        b"csv" => "text/csv",
        b"doc" => "application/msword",
        b"docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        b"xls" => "application/vnd.ms-excel",
        b"xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        b"ppt" => "application/vnd.ms-powerpoint",
        b"pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        b"zip" => "application/zip",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        for (extensions, mime) in [
            ("jpg jpeg", "image/jpeg"),
            ("png", "image/png"),
            ("gif", "image/gif"),
            ("webp", "image/webp"),
            ("bmp", "image/bmp"),
            ("tif tiff", "image/tiff"),
            ("mp3", "audio/mpeg"),
            ("ogg opus oga", "audio/ogg; codecs=opus"),
            ("m4a", "audio/mp4"),
            ("aac", "audio/aac"),
            ("amr", "audio/amr"),
            ("wav", "audio/wav"),
            ("flac", "audio/flac"),
            ("zip", "application/zip"),
            ("mp4", "video/mp4"),
            ("3gp", "video/3gpp"),
            ("mov", "video/quicktime"),
            ("avi", "video/x-msvideo"),
            ("mkv", "video/x-matroska"),
            ("webm", "video/webm"),
            ("pdf", "application/pdf"),
            ("txt", "text/plain"),
            ("csv", "text/csv"),
            ("doc", "application/msword"),
            ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            ("xls", "application/vnd.ms-excel"),
            ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
            ("ppt", "application/vnd.ms-powerpoint"),
            ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
            ("bin xhtml x", "application/octet-stream"),
        ] {
            for extension in extensions.split(' ') {
                let url = format!("https://cdn.test/a.b/f.{}?x=y.png#z.gif", extension.to_uppercase());
                assert_eq!(mime_of(Media::Document, None, None, &url), mime, "{extension}");
            }
        }
    }

    #[test]
    fn the_member_decides_what_fits() {
        let by_url = |media, name: &str| mime_of(media, None, None, name);
        assert_eq!(by_url(Media::Audio, "https://c.test/a.mp4"), "audio/mp4");
        assert_eq!(by_url(Media::Video, "https://c.test/a.ogg"), "video/ogg");
        assert_eq!(by_url(Media::Audio, "https://c.test/a.webm"), "audio/ogg; codecs=opus");
        assert_eq!(by_url(Media::Video, "https://c.test/a.gif"), "video/mp4");
        assert_eq!(by_url(Media::Sticker, "https://c.test/a.png"), "image/png");
        assert_eq!(by_url(Media::Sticker, "https://c.test/a.mp4"), "image/webp");
        assert_eq!(by_url(Media::Image, "https://c.test/a"), "image/jpeg");
        assert_eq!(mime_of(Media::Image, Some("audio/ogg"), None, "https://c.test/a.png"), "image/jpeg");
        assert_eq!(mime_of(Media::Image, Some("Image/PNG"), None, ""), "Image/PNG");
        assert_eq!(mime_of(Media::Document, Some("x/y"), Some("pdf"), ""), "x/y");
        assert_eq!(mime_of(Media::Document, None, Some(".PDF"), "https://c.test/a.zip"), "application/pdf");
        assert_eq!(mime_of(Media::Document, None, Some("foo"), "https://c.test/a.zip"), "application/zip");
    }

    #[test]
    fn segments_and_stems() {
        for (url, segment) in [
            ("https://cdn.test/a/b.pdf?c=/d.png#/e", "b.pdf"),
            ("https://cdn.test/a/", ""),
            ("https://cdn.test", ""),
            ("https://cdn.test?x=/a.png", ""),
            ("b.pdf", "b.pdf"),
            ("", ""),
        ] {
            assert_eq!(last_segment(url), segment, "{url}");
        }
        for (name, expected) in [("a.tar.gz", "a.tar"), ("a", "a"), (".env", ".env"), ("", "")] {
            assert_eq!(stem(name), expected);
        }
    }
}
