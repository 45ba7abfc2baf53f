//! Looks into a compressed body as it passes by: gzip, deflate, brotli, zstd. What passes stays compressed.
//!
//! In: pieces of a body as they go over the wire. Out: the same, decompressed, to a `Write`. Guarantees: bounded memory (a
//! window of the format, at most 16 MiB for brotli, 8 MiB for zstd); what does not decompress, is of an unknown encoding, or
//! becomes larger than `MAX_DECODED_BYTES` is not looked at any more, and said to be unreadable.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use zstd::stream::raw::DParameter;
use zstd::stream::zio::Writer;

/// Most bytes that are looked at in one body: a long stream, not a bomb.
pub const MAX_DECODED_BYTES: u64 = 1024 * 1024 * 1024;
/// Buffer of the brotli decoder, bytes.
const BROTLI_BUFFER: usize = 4 * 1024;
/// Largest window of zstd, as RFC 8878 recommends for the web: 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Decompresses one body into `W`.
pub enum Decoder<W: Write> {
    /// Not compressed.
    Identity(W),
    /// gzip.
    Gzip(Box<MultiGzDecoder<W>>),
    /// zlib, which HTTP calls deflate.
    Deflate(Box<ZlibDecoder<W>>),
    /// Brotli.
    Brotli(Box<DecompressorWriter<W>>),
    /// zstd.
    Zstd(Box<Writer<W, zstd::stream::raw::Decoder<'static>>>),
}

impl<W: Write> Decoder<W> {
    /// For a body with this `content-encoding`; the writer comes back if the encoding is not known.
    ///
    /// # Errors
    /// Not known.
    pub fn new(encoding: &str, into: W) -> Result<Decoder<W>, W> {
        let encoding = encoding.trim();
        let is = |names: &[&str]| names.iter().any(|name| encoding.eq_ignore_ascii_case(name));
        if is(&["", "identity"]) {
            Ok(Decoder::Identity(into))
        } else if is(&["gzip", "x-gzip"]) {
            Ok(Decoder::Gzip(Box::new(MultiGzDecoder::new(into))))
        } else if is(&["deflate"]) {
            Ok(Decoder::Deflate(Box::new(ZlibDecoder::new(into))))
        } else if is(&["br"]) {
            Ok(Decoder::Brotli(Box::new(DecompressorWriter::new(into, BROTLI_BUFFER))))
        } else if is(&["zstd"]) {
            zstd_decoder(into)
        } else {
            Err(into)
        }
    }

    /// Takes a piece of the body.
    ///
    /// # Errors
    /// It does not decompress, or what it is written into takes no more.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Decoder::Identity(into) => into.write_all(piece),
            Decoder::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Decoder::Deflate(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Decoder::Brotli(decoder) => decoder.write_all(piece),
            Decoder::Zstd(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
        }
    }

    /// What it was written into.
    pub fn get_mut(&mut self) -> &mut W {
        match self {
            Decoder::Identity(into) => into,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Deflate(decoder) => decoder.get_mut(),
            Decoder::Brotli(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.writer_mut(),
        }
    }
}

fn zstd_decoder<W: Write>(into: W) -> Result<Decoder<W>, W> {
    let decoder = zstd::stream::raw::Decoder::new().and_then(|mut decoder| {
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(decoder)
    });
    match decoder {
        Ok(decoder) => Ok(Decoder::Zstd(Box::new(Writer::new(into, decoder)))),
        Err(_) => Err(into),
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    const TEXT: &[u8] = br#"{"model":"gpt-4o","usage":{"prompt_tokens":12}}"#;

    fn decoded(encoding: &str, body: &[u8], cut: usize) -> Vec<u8> {
        let mut decoder = Decoder::new(encoding, Vec::new()).ok().unwrap();
        body.chunks(cut).for_each(|piece| decoder.write(piece).unwrap());
        std::mem::take(decoder.get_mut())
    }

    /// `TEXT` in brotli, by Google's encoder, as an uncompressed meta-block.
    fn brotli() -> Vec<u8> {
        // RFC 7932, 9.2: window 16 (0), not last (0), 4 nibbles of length (00), length - 1, uncompressed (1), then bytes, then an
        // empty last block (11).
        let header = ((TEXT.len() as u32 - 1) << 4) | (1 << 20);
        [&header.to_le_bytes()[..3], TEXT, &[3]].concat()
    }

    #[test]
    fn every_encoding_is_looked_into() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(TEXT).unwrap();
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(TEXT).unwrap();
        let bodies = [
            ("", TEXT.to_vec()),
            ("identity", TEXT.to_vec()),
            ("GZIP", gzip.finish().unwrap()),
            ("deflate", deflate.finish().unwrap()),
            ("br", brotli()),
            ("zstd", zstd::encode_all(TEXT, 3).unwrap()),
        ];
        for (encoding, body) in bodies {
            for cut in [1, 7, 1000] {
                assert_eq!(decoded(encoding, &body, cut), TEXT, "{encoding} cut every {cut}");
            }
        }
    }

    #[test]
    fn a_flushed_piece_is_seen_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(TEXT).unwrap();
        encoder.flush().unwrap();
        assert_eq!(decoded("gzip", encoder.get_ref(), 1000), TEXT);
    }

    #[test]
    fn what_does_not_decompress_is_said() {
        for encoding in ["gzip", "deflate", "zstd", "br"] {
            let mut decoder = Decoder::new(encoding, Vec::new()).ok().unwrap();
            assert!(decoder.write(&[0xff; 64]).is_err(), "{encoding}");
        }
        assert!(Decoder::new("compress", Vec::new()).is_err());
    }
}
