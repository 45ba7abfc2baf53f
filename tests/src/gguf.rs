//! Writes a language model in GGUF: real in every part, tiny, with random weights. What it says is noise, and it says it fast.
//!
//! Format: GGUF version 3 (`docs/gguf.md` of ggml): header, metadata, tensor table, tensors aligned to 32 bytes, little-endian.

const EMBEDDING: u64 = 64;
const HEADS: u32 = 4;
const FEED_FORWARD: u64 = 128;
const CONTEXT: u32 = 512;
const ALIGNMENT: usize = 32;

// Types of metadata values.
const UINT32: u32 = 4;
const INT32: u32 = 5;
const FLOAT32: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// A model of the architecture `llama` with one layer and a vocabulary of single bytes, the same for the same seed.
pub fn tiny_llama(seed: u64) -> Vec<u8> {
    // Three special tokens, one for each byte (so that any text can be read), letters.
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    tokens.push("\u{2581}".to_owned());
    tokens.extend(('a'..='z').map(String::from));
    let kinds = tokens.iter().enumerate().map(|(place, _)| match place {
        0 => 2,
        1 | 2 => 3,
        3..=258 => 6,
        _ => 1_i32,
    });
    let mut metadata = Metadata::default();
    metadata.string("general.architecture", "llama");
    metadata.string("general.name", "tiny");
    metadata.number("llama.context_length", CONTEXT);
    metadata.number("llama.embedding_length", EMBEDDING as u32);
    metadata.number("llama.block_count", 1);
    metadata.number("llama.feed_forward_length", FEED_FORWARD as u32);
    metadata.number("llama.attention.head_count", HEADS);
    metadata.number("llama.attention.head_count_kv", HEADS);
    metadata.number("llama.rope.dimension_count", EMBEDDING as u32 / HEADS);
    metadata.number("llama.vocab_size", tokens.len() as u32);
    metadata.entry("llama.attention.layer_norm_rms_epsilon", FLOAT32, &1e-5_f32.to_le_bytes());
    metadata.string("tokenizer.ggml.model", "llama");
    metadata.array("tokenizer.ggml.tokens", STRING, tokens.iter().map(|token| string(token)));
    metadata.array("tokenizer.ggml.scores", FLOAT32, tokens.iter().map(|_| vec![0; 4]));
    metadata.array("tokenizer.ggml.token_type", INT32, kinds.map(|kind| kind.to_le_bytes().to_vec()));
    metadata.number("tokenizer.ggml.bos_token_id", 1);
    metadata.number("tokenizer.ggml.eos_token_id", 2);
    metadata.number("tokenizer.ggml.unknown_token_id", 0);
    written(&metadata, &tensors(tokens.len() as u64), &mut fastrand::Rng::with_seed(seed))
}

/// Names and dimensions.
fn tensors(vocabulary: u64) -> Vec<(&'static str, Vec<u64>)> {
    let square = || vec![EMBEDDING, EMBEDDING];
    vec![
        ("token_embd.weight", vec![EMBEDDING, vocabulary]),
        ("output_norm.weight", vec![EMBEDDING]),
        ("output.weight", vec![EMBEDDING, vocabulary]),
        ("blk.0.attn_norm.weight", vec![EMBEDDING]),
        ("blk.0.attn_q.weight", square()),
        ("blk.0.attn_k.weight", square()),
        ("blk.0.attn_v.weight", square()),
        ("blk.0.attn_output.weight", square()),
        ("blk.0.ffn_norm.weight", vec![EMBEDDING]),
        ("blk.0.ffn_gate.weight", vec![EMBEDDING, FEED_FORWARD]),
        ("blk.0.ffn_up.weight", vec![EMBEDDING, FEED_FORWARD]),
        ("blk.0.ffn_down.weight", vec![FEED_FORWARD, EMBEDDING]),
    ]
}

fn written(metadata: &Metadata, tensors: &[(&str, Vec<u64>)], random: &mut fastrand::Rng) -> Vec<u8> {
    let (mut table, mut data) = (Vec::new(), Vec::new());
    for (name, dimensions) in tensors {
        table.extend(string(name));
        table.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|dimension| table.extend(dimension.to_le_bytes()));
        // 32-bit floats are type 0.
        table.extend(0_u32.to_le_bytes());
        table.extend((data.len() as u64).to_le_bytes());
        for _ in 0..dimensions.iter().product() {
            let weight = if name.contains("norm") { 1.0 } else { random.f32() * 0.2 - 0.1 };
            data.extend(weight.to_le_bytes());
        }
        pad(&mut data);
    }
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(metadata.count.to_le_bytes());
    file.extend(&metadata.bytes);
    file.extend(table);
    pad(&mut file);
    file.extend(data);
    file
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

#[derive(Default)]
struct Metadata {
    bytes: Vec<u8>,
    count: u64,
}

impl Metadata {
    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.bytes.extend(string(key));
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(value);
        self.count += 1;
    }

    fn number(&mut self, key: &str, value: u32) {
        self.entry(key, UINT32, &value.to_le_bytes());
    }

    fn string(&mut self, key: &str, value: &str) {
        self.entry(key, STRING, &string(value));
    }

    fn array(&mut self, key: &str, kind: u32, values: impl ExactSizeIterator<Item = Vec<u8>>) {
        let mut value = kind.to_le_bytes().to_vec();
        value.extend((values.len() as u64).to_le_bytes());
        value.extend(values.flatten());
        self.entry(key, ARRAY, &value);
    }
}
