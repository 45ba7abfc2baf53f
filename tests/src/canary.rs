//! Looks for secret strings where none may be: in files, folders and byte strings.
//!
//! A canary is found as it is, in upper and lower case, percent-encoded is not (canaries are letters, digits and
//! hyphens), in both base64 alphabets at each of the three alignments, and in hexadecimal. Gzip members inside a
//! file are unpacked and searched too, one level deep.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Where a canary was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The file.
    pub file: PathBuf,
    /// The canary, as it was given.
    pub canary: String,
    /// The encoding it was found in.
    pub form: &'static str,
}

/// Searches a file, or every file below a folder. An empty result is only worth something when the first figure, the files
/// searched, is not 0. A file below the folder that its program removes meanwhile is passed over; `path` itself must be there.
pub fn search(path: &Path, canaries: &[&str]) -> (usize, Vec<Sighting>) {
    assert!(path.exists(), "{} is not there", path.display());
    let mut files = 0;
    let mut sightings = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        match read(&path) {
            Ok(Entry::Folder(entries)) => open.extend(entries),
            Ok(Entry::File(bytes)) => {
                files += 1;
                let found = search_bytes(&bytes, canaries);
                sightings.extend(found.into_iter().map(|(canary, form)| Sighting {
                    file: path.clone(),
                    canary,
                    form,
                }));
            }
            Ok(Entry::Other) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    (files, sightings)
}

enum Entry {
    Folder(Vec<PathBuf>),
    File(Vec<u8>),
    Other,
}

fn read(path: &Path) -> std::io::Result<Entry> {
    let kind = std::fs::symlink_metadata(path)?;
    if kind.is_dir() {
        let entries = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
        Ok(Entry::Folder(entries.collect::<std::io::Result<_>>()?))
    } else if kind.is_file() {
        Ok(Entry::File(std::fs::read(path)?))
    } else {
        Ok(Entry::Other)
    }
}

/// Searches bytes, and what gzip members in them hold.
pub fn search_bytes(bytes: &[u8], canaries: &[&str]) -> Vec<(String, &'static str)> {
    let mut found = search_plain(bytes, canaries);
    for at in positions(bytes, &[0x1f, 0x8b, 0x08]) {
        let mut unpacked = Vec::new();
        // An error after some bytes still leaves those bytes to look at.
        let _ = flate2::read::GzDecoder::new(&bytes[at..]).take(1 << 28).read_to_end(&mut unpacked);
        found.extend(search_plain(&unpacked, canaries));
    }
    found
}

fn search_plain(bytes: &[u8], canaries: &[&str]) -> Vec<(String, &'static str)> {
    let (mut folded, mut exact) = (Vec::new(), Vec::new());
    for canary in canaries {
        assert!(canary.len() >= 8, "a canary this short is found by chance: {canary}");
        let lower = canary.to_ascii_lowercase().into_bytes();
        folded.push((*canary, "plain", lower.clone()));
        folded.push((*canary, "hexadecimal", hexadecimal(&lower)));
        folded.push((*canary, "hexadecimal", hexadecimal(canary.as_bytes())));
        let forms = [canary.as_bytes().to_vec(), lower, canary.to_ascii_uppercase().into_bytes()];
        exact.extend(forms.iter().flat_map(|form| base64_cores(form)).map(|core| (*canary, "base64", core)));
    }
    let mut found = Vec::new();
    for (needles, any_case) in [(folded, true), (exact, false)] {
        // All needles in one pass over hundreds of megabytes.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(any_case)
            .build(needles.iter().map(|(_, _, needle)| needle))
            .expect("a few hundred needles");
        for hit in automaton.find_iter(bytes) {
            let (canary, form, _) = needles[hit.pattern().as_usize()];
            if !found.contains(&(canary.to_owned(), form)) {
                found.push((canary.to_owned(), form));
            }
        }
    }
    found
}

/// Positions of `needle`.
fn positions<'a>(bytes: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memchr::memmem::find_iter(bytes, needle)
}

fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// The characters that depend on `bytes` alone, for each alignment and both alphabets.
fn base64_cores(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut cores = Vec::new();
    for lead in 0..3_usize {
        let mut padded = vec![0; lead];
        padded.extend_from_slice(bytes);
        let whole = padded.len() / 3 * 3;
        // The first character pair or so mixes in the bytes before; the last group those after.
        let skip = if lead == 0 { 0 } else { lead + 1 };
        let core: Vec<u8> = padded[..whole]
            .chunks_exact(3)
            .flat_map(|group| {
                let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
                [18, 12, 6, 0].map(|shift| BASE64[(bits >> shift & 63) as usize])
            })
            .skip(skip)
            .collect();
        let url = core.iter().map(|c| match c {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        });
        cores.push(url.collect());
        cores.push(core);
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-prompt-7Qx1";

    fn forms(bytes: &[u8]) -> Vec<&'static str> {
        search_bytes(bytes, &[CANARY]).into_iter().map(|(_, form)| form).collect()
    }

    fn base64(bytes: &[u8]) -> Vec<u8> {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().div_ceil(3) * 3, 0);
        base64_cores(&padded)[1].clone()
    }

    #[test]
    fn every_form_is_found_at_every_alignment() {
        assert!(forms(b"nothing of the kind").is_empty());
        assert_eq!(forms(format!("x{CANARY}y").to_uppercase().as_bytes()), ["plain"]);
        assert_eq!(forms(&hexadecimal(CANARY.as_bytes())), ["hexadecimal"]);
        for lead in ["", "a", "ab", "abc"] {
            let text = base64(format!("{lead}{CANARY} and more").as_bytes());
            assert_eq!(forms(&text), ["base64"], "lead {lead:?}");
        }
    }

    #[test]
    fn gzip_members_are_unpacked() {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(b"head".to_vec(), flate2::Compression::fast());
        packed.write_all(CANARY.as_bytes()).unwrap();
        let bytes = packed.finish().unwrap();
        assert_eq!(forms(&bytes), ["plain"]);
    }

    #[test]
    fn folders_are_searched_whole() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("inner/file"), CANARY).unwrap();
        std::fs::write(folder.path().join("clean"), "clean").unwrap();
        let (files, sightings) = search(folder.path(), &[CANARY]);
        assert_eq!(files, 2);
        assert_eq!(sightings.len(), 1);
        assert!(sightings[0].file.ends_with("inner/file"));
    }
}
