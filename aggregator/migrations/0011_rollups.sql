-- Rollups for panels and answers: by minute, hour, day and week over collectors, and by collector where a question follows one.
--
-- All are rebuilt from ledger FINAL and reports FINAL and swapped in whole (REPLACE PARTITION); no materialized view feeds a sum. Which
-- is made of which is in aggregator/src/load/rollup/tables.rs, the statements are in aggregator/rollups/. built_from is what a build saw of
-- its source: a block number, or a fingerprint of builds. How long a table keeps a row is configured and set by `migrate up`; partitions
-- drop whole. A new gateway product goes to every table here.
--
-- Partitions: a day where a day is rebuilt alone and is large. A week (from Monday) for what is by day, so that a year is 53
-- partitions to open and not 365; a rebuilt day takes the other days of its week along. Four weeks for weeks. Spans of four weeks are those
-- of the contributors' pseudonyms, counted from Monday 1970-01-05; weeks lie whole in them.
--
-- Sort order and codecs were chosen by measurement, see BENCH

CREATE TABLE IF NOT EXISTS {database}.traffic_1m
(
    minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    model UInt32 CODEC(ZSTD(1)),
    provider UInt16 CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    choice Enum8('first' = 0, 'fallback' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    streaming Enum8('no' = 0, 'yes' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    outcome Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from Int64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(minute)
ORDER BY (vantage, environment, operation, outcome, minute, openness, hosting, model, provider, gateway_product, choice, streaming)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic by minute over all collectors.';

CREATE TABLE IF NOT EXISTS {database}.traffic_1d
(
    day DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    model UInt32 CODEC(ZSTD(1)),
    provider UInt16 CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    choice Enum8('first' = 0, 'fallback' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    streaming Enum8('no' = 0, 'yes' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    outcome Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    contributor_bits UInt64 COMMENT 'one of 64 bits per contributor, by hash; 0: not authenticated. bitCount is a lower bound of their number within one span of four weeks, never beyond' CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from Int64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toMonday(day)
ORDER BY (vantage, environment, operation, outcome, day, openness, hosting, model, provider, gateway_product, choice, streaming)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic by day over all collectors.';

CREATE TABLE IF NOT EXISTS {database}.rollup_split_1m
(
    minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    choice Enum8('first' = 0, 'fallback' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    outcome Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from Int64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(minute)
ORDER BY (vantage, outcome, operation, environment, minute, openness, hosting, gateway_product, choice)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic without model, provider and streaming, by minute: what panels read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_split_1h
(
    hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    choice Enum8('first' = 0, 'fallback' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    outcome Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from Int64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(hour)
ORDER BY (vantage, outcome, operation, environment, hour, openness, hosting, gateway_product, choice)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic without model, provider and streaming, by hour: what panels read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_split_1d
(
    day DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    choice Enum8('first' = 0, 'fallback' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    outcome Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    contributor_bits UInt64 COMMENT 'one of 64 bits per contributor, by hash; 0: not authenticated. bitCount is a lower bound of their number within one span of four weeks, never beyond' CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from Int64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toMonday(day)
ORDER BY (vantage, outcome, operation, environment, day, openness, hosting, gateway_product, choice)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic without model, provider and streaming, by day: what panels read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_split_1w
(
    week DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    choice Enum8('first' = 0, 'fallback' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    outcome Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    contributor_bits UInt64 COMMENT 'one of 64 bits per contributor, by hash; 0: not authenticated. bitCount is a lower bound of their number within one span of four weeks, never beyond' CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from UInt64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(4 + intDiv(toUInt32(toDate(week)) - 4, 28) * 28)
ORDER BY (vantage, outcome, operation, environment, week, openness, hosting, gateway_product, choice)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic without model, provider and streaming, by week: what panels read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_models_1d
(
    day DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
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
    built_from Int64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toMonday(day)
ORDER BY (vantage, environment, day, model, provider, hosting, openness, operation)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'What counts for the split (served chat and text completion) by model and provider, by day: what panels read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_models_1w
(
    week DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
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
PARTITION BY toDate(4 + intDiv(toUInt32(toDate(week)) - 4, 28) * 28)
ORDER BY (vantage, environment, week, model, provider, hosting, openness, operation)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'What counts for the split (served chat and text completion) by model and provider, by week: what panels read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_fallbacks_1h
(
    hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    from_class Enum8('unknown' = 0, 'closed' = 1, 'open' = 2) CODEC(ZSTD(1)),
    after_outcome Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    to_class Enum8('unknown' = 0, 'closed' = 1, 'open' = 2) CODEC(ZSTD(1)),
    requests_min UInt64 COMMENT 'at least so many requests went this way' CODEC(T64, ZSTD(1)),
    requests_max UInt64 COMMENT 'at most' CODEC(T64, ZSTD(1)),
    requests_likely Float64 COMMENT 'in proportion to the failed attempts of the window' CODEC(ZSTD(1)),
    contributor_bits UInt64 COMMENT 'one of 64 bits per contributor, by hash; 0: not authenticated. bitCount is a lower bound of their number within one span of four weeks, never beyond' CODEC(ZSTD(1)),
    built_from Int64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(hour)
ORDER BY (vantage, environment, hour, from_class, after_outcome, to_class, gateway_product)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Requests that were served as fallback: from which class, after what, to which.';

CREATE TABLE IF NOT EXISTS {database}.rollup_fallbacks_1d
(
    day DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    from_class Enum8('unknown' = 0, 'closed' = 1, 'open' = 2) CODEC(ZSTD(1)),
    after_outcome Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    to_class Enum8('unknown' = 0, 'closed' = 1, 'open' = 2) CODEC(ZSTD(1)),
    requests_min UInt64 COMMENT 'at least so many requests went this way' CODEC(T64, ZSTD(1)),
    requests_max UInt64 COMMENT 'at most' CODEC(T64, ZSTD(1)),
    requests_likely Float64 COMMENT 'in proportion to the failed attempts of the window' CODEC(ZSTD(1)),
    contributor_bits UInt64 COMMENT 'one of 64 bits per contributor, by hash; 0: not authenticated. bitCount is a lower bound of their number within one span of four weeks, never beyond' CODEC(ZSTD(1)),
    built_from Int64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toMonday(day)
ORDER BY (vantage, environment, day, from_class, after_outcome, to_class, gateway_product)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Requests that were served as fallback: from which class, after what, to which.';

CREATE TABLE IF NOT EXISTS {database}.rollup_coverage_1h
(
    hour            DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment     Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage         Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    collectors      UInt64 COMMENT 'that sent a report of this hour' CODEC(T64, ZSTD(1)),
    reports         UInt64 CODEC(T64, ZSTD(1)),
    covered_s       UInt64 COMMENT 'seconds of windows in them' CODEC(T64, ZSTD(1)),
    partial_windows UInt64 COMMENT 'first windows of a boot epoch: the collector started within' CODEC(T64, ZSTD(1)),
    late_windows    UInt64 COMMENT 'stored more than ten minutes after their end' CODEC(T64, ZSTD(1)),
    built_from      Int64 COMMENT 'highest block number of the day in reports that this build saw' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(hour)
ORDER BY (vantage, environment, hour, gateway_product)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Who reported and how, by hour.';

CREATE TABLE IF NOT EXISTS {database}.reporting_1d
(
    day              Date CODEC(ZSTD(1)),
    collector_id     UUID CODEC(ZSTD(1)),
    contributor      UUID CODEC(ZSTD(1)),
    environment      Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage          Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product  Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    reports          UInt64 CODEC(T64, ZSTD(1)),
    covered_s        UInt64 CODEC(T64, ZSTD(1)),
    partial_windows  UInt64 CODEC(T64, ZSTD(1)),
    late_windows     UInt64 CODEC(T64, ZSTD(1)),
    dropped_requests UInt64 COMMENT 'counted, but dropped unsent, between the reports of the day' CODEC(T64, ZSTD(1)),
    built_from       Int64 COMMENT 'highest block number of the day in reports that this build saw' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(day)
ORDER BY (vantage, environment, gateway_product, collector_id)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'What each collector reported, by day. Links a collector over time: not for publishers.';

CREATE TABLE IF NOT EXISTS {database}.rollup_coverage_1d
(
    day               DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment       Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage           Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product   Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    contributor_bits  UInt64 COMMENT 'one of 64 bits per contributor, by hash; 0: not authenticated' CODEC(ZSTD(1)),
    collectors        UInt64 COMMENT 'that sent a report of this day' CODEC(T64, ZSTD(1)),
    collectors_silent UInt64 COMMENT 'that sent one of the seven days before and none of this' CODEC(T64, ZSTD(1)),
    reports           UInt64 CODEC(T64, ZSTD(1)),
    covered_s         UInt64 CODEC(T64, ZSTD(1)),
    partial_windows   UInt64 CODEC(T64, ZSTD(1)),
    late_windows      UInt64 CODEC(T64, ZSTD(1)),
    dropped_requests  UInt64 CODEC(T64, ZSTD(1)),
    built_from        Int64 COMMENT 'of reporting_1d' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toMonday(day)
ORDER BY (vantage, environment, day, gateway_product)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Who reported and how, by day.';

CREATE TABLE IF NOT EXISTS {database}.participation_1d
(
    day                   Date CODEC(ZSTD(1)),
    collector_id          UUID CODEC(ZSTD(1)),
    contributor           UUID COMMENT 'pseudonym of the four weeks; zeros: not authenticated' CODEC(ZSTD(1)),
    environment           Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage               Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    requests              UInt64 COMMENT 'all operations and outcomes' CODEC(T64, ZSTD(1)),
    open_requests         UInt64 COMMENT 'served chat and text completion, as all that follows' CODEC(T64, ZSTD(1)),
    closed_requests       UInt64 CODEC(T64, ZSTD(1)),
    unknown_requests      UInt64 CODEC(T64, ZSTD(1)),
    open_input_tokens     UInt64 CODEC(T64, ZSTD(1)),
    closed_input_tokens   UInt64 CODEC(T64, ZSTD(1)),
    unknown_input_tokens  UInt64 CODEC(T64, ZSTD(1)),
    open_output_tokens    UInt64 CODEC(T64, ZSTD(1)),
    closed_output_tokens  UInt64 CODEC(T64, ZSTD(1)),
    unknown_output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from            Int64 COMMENT 'highest block number of the ledger''s day that this build saw' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(day)
ORDER BY (vantage, contributor, collector_id, environment)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic of each collector by day. Links a collector over time: not for publishers.';

CREATE TABLE IF NOT EXISTS {database}.participation_4w
(
    span                  Date COMMENT 'first day of the four weeks, a Monday' CODEC(ZSTD(1)),
    participant           UUID COMMENT 'the contributor of these four weeks, else the collector' CODEC(ZSTD(1)),
    authenticated         UInt8 COMMENT '1: participant is a contributor' CODEC(ZSTD(1)),
    environment           Enum8('all' = 0, 'production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) COMMENT 'all: over every environment' CODEC(ZSTD(1)),
    vantage               Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    collectors            UInt32 CODEC(T64, ZSTD(1)),
    active_days           UInt8 COMMENT 'days with any request' CODEC(ZSTD(1)),
    open_days             UInt8 COMMENT 'days with open traffic' CODEC(ZSTD(1)),
    possibly_open_days    UInt8 COMMENT 'days with open or unknown traffic' CODEC(ZSTD(1)),
    requests              UInt64 CODEC(T64, ZSTD(1)),
    open_requests         UInt64 CODEC(T64, ZSTD(1)),
    closed_requests       UInt64 CODEC(T64, ZSTD(1)),
    unknown_requests      UInt64 CODEC(T64, ZSTD(1)),
    open_input_tokens     UInt64 CODEC(T64, ZSTD(1)),
    closed_input_tokens   UInt64 CODEC(T64, ZSTD(1)),
    unknown_input_tokens  UInt64 CODEC(T64, ZSTD(1)),
    open_output_tokens    UInt64 CODEC(T64, ZSTD(1)),
    closed_output_tokens  UInt64 CODEC(T64, ZSTD(1)),
    unknown_output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from            UInt64 COMMENT 'fingerprint of the days of participation_1d' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY span
ORDER BY (vantage, environment, participant)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic of each participant by four weeks. Not for publishers.';

CREATE TABLE IF NOT EXISTS {database}.rollup_adoption_4w
(
    span                  Date CODEC(ZSTD(1)),
    environment           Enum8('all' = 0, 'production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage               Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    volume_class          Int8 COMMENT '10 to this power requests a day with traffic, and more' CODEC(ZSTD(1)),
    active_days           Enum8('1-4' = 1, '5-19' = 2, '20-28' = 3) CODEC(ZSTD(1)),
    authenticated         UInt8 CODEC(ZSTD(1)),
    participants          UInt64 COMMENT 'with served chat or text completion' CODEC(T64, ZSTD(1)),
    with_open             UInt64 CODEC(T64, ZSTD(1)),
    with_open_max         UInt64 CODEC(T64, ZSTD(1)),
    with_majority         UInt64 CODEC(T64, ZSTD(1)),
    with_majority_min     UInt64 CODEC(T64, ZSTD(1)),
    with_majority_max     UInt64 CODEC(T64, ZSTD(1)),
    with_sustained        UInt64 CODEC(T64, ZSTD(1)),
    with_sustained_max    UInt64 CODEC(T64, ZSTD(1)),
    open_requests         UInt64 CODEC(T64, ZSTD(1)),
    closed_requests       UInt64 CODEC(T64, ZSTD(1)),
    unknown_requests      UInt64 CODEC(T64, ZSTD(1)),
    open_input_tokens     UInt64 CODEC(T64, ZSTD(1)),
    closed_input_tokens   UInt64 CODEC(T64, ZSTD(1)),
    unknown_input_tokens  UInt64 CODEC(T64, ZSTD(1)),
    open_output_tokens    UInt64 CODEC(T64, ZSTD(1)),
    closed_output_tokens  UInt64 CODEC(T64, ZSTD(1)),
    unknown_output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from            UInt64 COMMENT 'fingerprint of the days of participation_1d' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY span
ORDER BY (vantage, environment, volume_class, active_days)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Participants by what they use and how much, by four weeks: counts only.';

CREATE TABLE IF NOT EXISTS {database}.participation_1mo
(
    month            Date COMMENT 'first day' CODEC(ZSTD(1)),
    collector_id     UUID CODEC(ZSTD(1)),
    participant      UUID COMMENT 'as of the first day in the month' CODEC(ZSTD(1)),
    authenticated    UInt8 CODEC(ZSTD(1)),
    vantage          Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    open_requests    UInt64 CODEC(T64, ZSTD(1)),
    closed_requests  UInt64 CODEC(T64, ZSTD(1)),
    unknown_requests UInt64 CODEC(T64, ZSTD(1)),
    built_from       UInt64 COMMENT 'fingerprint of the days of participation_1d' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY month
ORDER BY (vantage, collector_id)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic of each collector by calendar month, all environments. Links a collector over time: not for publishers.';

CREATE TABLE IF NOT EXISTS {database}.rollup_retention
(
    cohort            Date COMMENT 'month of the first open traffic that is on record',
    months_later      UInt8,
    vantage           Enum8('gateway' = 1, 'server' = 2, 'client' = 3),
    is_first_on_record UInt8 COMMENT '1: what was before this month is not on record; some of the cohort may have come earlier',
    authenticated     UInt8,
    participants      UInt64 COMMENT 'organisations behind the cohort',
    collectors        UInt64 COMMENT 'size of the cohort',
    still             UInt64 COMMENT 'of it with open traffic in the later month',
    still_max         UInt64 COMMENT 'of it with open or unknown traffic in the later month',
    share_first       Nullable(Float64) COMMENT 'mean over those still there: open share of classified requests in the first month',
    share_later       Nullable(Float64) COMMENT 'mean over the same: in the later month',
    built_from        UInt64 COMMENT 'fingerprint of participation_1mo'
)
ENGINE = MergeTree
PARTITION BY tuple()
ORDER BY (vantage, cohort, months_later)
SETTINGS non_replicated_deduplication_window = 0
COMMENT 'Cohorts of collectors by the month of their first open traffic.';

ALTER TABLE {database}.traffic_1h
    MODIFY SETTING ttl_only_drop_parts = 1;
