-- The rollup: the ledger summed over collectors, by hour. Kept for years.
--
-- Rebuilt from ledger FINAL one day at a time and swapped in whole (REPLACE PARTITION), never fed by a materialized view:
-- a reader sees a day as it was before or after, never between. built_from is the highest block number of the ledger's day
-- that the build saw: it lives and dies with the data, so a build killed anywhere is redone and an old one is replaced.
-- A query reads either the ledger or the rollup, never both.
CREATE TABLE IF NOT EXISTS {database}.traffic_1h
(
    hour            DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment     Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage         Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3) CODEC(ZSTD(1)),
    model           UInt32 CODEC(ZSTD(1)),
    provider        UInt16 CODEC(ZSTD(1)),
    openness        Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting         Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation       Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    choice          Enum8('first' = 0, 'fallback' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    streaming       Enum8('no' = 0, 'yes' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    outcome         Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    requests        UInt64 CODEC(T64, ZSTD(1)),
    attempts        UInt64 CODEC(T64, ZSTD(1)),
    input_tokens    UInt64 CODEC(T64, ZSTD(1)),
    output_tokens   UInt64 CODEC(T64, ZSTD(1)),
    built_from      Int64  COMMENT 'highest block number of the ledger''s day that this build saw' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(hour)
ORDER BY (vantage, environment, operation, outcome, hour, openness, hosting, model, provider, gateway_product, choice, streaming)
SETTINGS non_replicated_deduplication_window = 0
COMMENT 'Traffic by hour over all collectors, rebuilt per day from the ledger.';
