-- Models by spans of four weeks: what panels by model, provider and licence read when they look at more than a quarter.
--
-- Measured on a generated year of 100,000 collectors (`bench-panels`): 27,000 rows a span, 0.35 million a year, where weeks have 1.4. It is
-- made of the weeks, which lie whole in spans, and swapped in span by span.

CREATE TABLE IF NOT EXISTS {database}.rollup_models_4w
(
    span Date COMMENT 'first day, a Monday; four weeks counted from 1970-01-05' CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    model UInt32 CODEC(ZSTD(1)),
    provider UInt16 CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    contributor_bits UInt64 COMMENT 'one of 64 bits per contributor, by hash; 0: not authenticated. bitCount is a lower bound of their number within one span of four weeks, never beyond' CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from UInt64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY span
ORDER BY (vantage, environment, span, model, provider, hosting, openness, operation)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'What counts for the split (served chat and text completion) by model and provider, by four weeks: what panels read.';

CREATE OR REPLACE VIEW {database}.models_4w DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT toDateTime(t.span, 'UTC') AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_by_id', 'name', toUInt64(t.model)) AS model,
       dictGet('{database}.model_by_id', 'family', toUInt64(t.model)) AS family,
       dictGet('{database}.model_by_id', 'developer', toUInt64(t.model)) AS developer,
       t.provider AS provider_id, dictGet('{database}.provider_by_id', 'name', toUInt64(t.provider)) AS provider,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_4w AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by model and provider, by four weeks. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.licences_4w DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT toDateTime(t.span, 'UTC') AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_on_day', 'licence', toUInt64(t.model), toDate32(t.span)) AS licence,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_4w AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by the licence that the register of now names for the model and the first day of the four weeks. Exact; sum it.';
