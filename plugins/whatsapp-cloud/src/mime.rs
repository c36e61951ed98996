//! Media types: what the hub tells, else by the extension of the URL's path, else the usual one of its kind.

const BY_EXTENSION: &[(&str, &str)] = &[
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("bmp", "image/bmp"),
    ("mp4", "video/mp4"),
    ("3gp", "video/3gpp"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg; codecs=opus"),
    ("opus", "audio/ogg; codecs=opus"),
    ("oga", "audio/ogg; codecs=opus"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
    ("amr", "audio/amr"),
    ("wav", "audio/wav"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("csv", "text/csv"),
    ("zip", "application/zip"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
];

/// The type of a medium of `class` (`image`, ...; `None`: any type fits). One that does not fit the class is not believed.
pub(crate) fn of<'a>(
    told: Option<&'a str>,
    extension: Option<&str>,
    url: &str,
    class: Option<&str>,
    fallback: &'static str,
) -> &'a str {
    let fits = |mime: &str| {
        class.is_none_or(|class| mime.strip_prefix(class).is_some_and(|rest| rest.starts_with('/')))
    };
    if let Some(told) = told.filter(|told| !told.is_empty() && fits(told)) {
        return told;
    }
    let known = |extension: &str| {
        // Containers of either.
        match class {
            Some("audio") if extension.eq_ignore_ascii_case("mp4") => return Some("audio/mp4"),
            Some("video") if extension.eq_ignore_ascii_case("ogg") => return Some("video/ogg"),
            _ => {}
        }
        let found = BY_EXTENSION.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension));
        found.map(|(_, mime)| *mime)
    };
    let by_name = extension.and_then(known).or_else(|| known(extension_of(url)?));
    by_name.filter(|mime| fits(mime)).unwrap_or(fallback)
}

fn extension_of(url: &str) -> Option<&str> {
    Some(last_segment(url)?.rsplit_once('.')?.1)
}

/// The last part of a URL's path.
pub(crate) fn last_segment(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?;
    let (_, after_scheme) = path.split_once("://").unwrap_or(("", path));
    let (_, path) = after_scheme.split_once('/')?;
    path.rsplit('/').next().filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_before_what_the_name_tells() {
        let image = |told, url| of(told, None, url, Some("image"), "image/jpeg");
        assert_eq!(image(Some("image/png"), "https://x.test/a.webp"), "image/png");
        assert_eq!(image(Some("audio/ogg"), "https://x.test/a.webp?b=c.mp4"), "image/webp");
        assert_eq!(image(None, "https://x.test/a.MP4"), "image/jpeg");
        assert_eq!(image(None, "https://x.png"), "image/jpeg");
        assert_eq!(of(None, Some("PDF"), "https://x.test/a.txt", None, "x/y"), "application/pdf");
    }
}
