//! The codec of the `Uplink` service: a report travels as the bytes that were sealed, a receipt as a protobuf message.
//! The collector's OTLP receiver uses it too, for messages that are scanned and never decoded.
//!
//! Guarantees: raw bytes in = raw bytes out, without a decode. Checking a report is the receiver's work
//! (`report::check`).

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::v1::Receipt;

/// Messages that are ready together are written together up to this; tonic's own.
const YIELD_BYTES: usize = 32 * 1024;

/// A message that crosses a service: raw bytes, or a receipt.
pub trait OnTheWire: Sized + Send + 'static {
    /// What a stream keeps for messages to begin with; it grows with what comes. Thousands of streams are open and idle: tonic's
    /// own 8 KiB for each direction would be most of their memory.
    const BUFFER_BYTES: usize;

    /// Writes the message.
    ///
    /// # Errors
    /// `Internal` if it does not fit.
    fn write(self, dst: &mut EncodeBuf<'_>) -> Result<(), Status>;

    /// Reads one whole message.
    ///
    /// # Errors
    /// `Internal` if the bytes are not such a message.
    fn read(src: &mut DecodeBuf<'_>) -> Result<Self, Status>;
}

impl OnTheWire for Bytes {
    const BUFFER_BYTES: usize = 512;

    fn write(self, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(self);
        Ok(())
    }

    fn read(src: &mut DecodeBuf<'_>) -> Result<Self, Status> {
        let length = src.remaining();
        Ok(src.copy_to_bytes(length))
    }
}

impl OnTheWire for Receipt {
    const BUFFER_BYTES: usize = 64;

    fn write(self, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.encode(dst).map_err(|error| Status::internal(error.to_string()))
    }

    fn read(src: &mut DecodeBuf<'_>) -> Result<Self, Status> {
        Receipt::decode(src).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Encodes `T`, decodes `U`.
#[derive(Debug, Clone, Copy)]
pub struct RawCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for RawCodec<T, U> {
    fn default() -> Self {
        RawCodec(PhantomData)
    }
}

impl<T: OnTheWire, U: OnTheWire> Codec for RawCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = RawCodec<T, U>;
    type Decoder = RawCodec<T, U>;

    fn encoder(&mut self) -> Self::Encoder {
        RawCodec::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        RawCodec::default()
    }
}

impl<T: OnTheWire, U: OnTheWire> Encoder for RawCodec<T, U> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.write(dst)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(T::BUFFER_BYTES, YIELD_BYTES)
    }
}

impl<T: OnTheWire, U: OnTheWire> Decoder for RawCodec<T, U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::read(src).map(Some)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(U::BUFFER_BYTES, YIELD_BYTES)
    }
}
