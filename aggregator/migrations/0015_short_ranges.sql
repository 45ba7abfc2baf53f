-- Rollups for panels over hours, and for answers over a year.
--
-- At 100,000 collectors, as `bench-panels` generates them, an hour of traffic_1h has hundreds of thousands of rows, of rollup_models_1h 27,000;
-- a minute of rollup_split_1m has 15,000. So panels by model read hours up to twelve of them and then six hours at a time, and panels of the split and of
-- outcomes read minutes up to an hour and then five minutes at a time. What answers and the coverage by week read is kept by quarter or
-- span, without what they do not show: opening 66 partitions took longer than reading them.
--
-- All are made of other rollups, newest first, also for the days before this migration. Views that were there read the new tables: until
-- a `load` of this version has filled these, in its first runs, they are empty.
-- A new gateway product goes to the tables of migration 11 and to those here.

CREATE TABLE IF NOT EXISTS {database}.rollup_split_5m
(
    minute DateTime('UTC') COMMENT 'the first of the five' CODEC(DoubleDelta, ZSTD(1)),
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
    built_from UInt64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(minute)
ORDER BY (vantage, outcome, operation, environment, minute, openness, hosting, gateway_product, choice)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Traffic without model, provider and streaming, by five minutes: what panels read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_models_1h
(
    hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    model UInt32 CODEC(ZSTD(1)),
    provider UInt16 CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from UInt64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(hour)
ORDER BY (vantage, environment, hour, model, provider, hosting, openness, operation)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'What counts for the split (served chat and text completion) by model and provider, by hour: what panels read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_models_6h
(
    hour DateTime('UTC') COMMENT 'the first of the six' CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    model UInt32 CODEC(ZSTD(1)),
    provider UInt16 CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    attempts UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from UInt64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(hour)
ORDER BY (vantage, environment, hour, model, provider, hosting, openness, operation)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'What counts for the split (served chat and text completion) by model and provider, by six hours: what panels read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_unknown_1h
(
    hour              DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment       Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage           Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product   Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    requests          UInt64 COMMENT 'of the split: served chat and text completion' CODEC(T64, ZSTD(1)),
    unknown_requests  UInt64 COMMENT 'those of them of unknown openness' CODEC(T64, ZSTD(1)),
    built_from        UInt64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(hour)
ORDER BY (vantage, environment, hour, gateway_product)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'What counts for the split and how much of it is unknown, by hour.';

CREATE TABLE IF NOT EXISTS {database}.rollup_split_4w
(
    span Date COMMENT 'first day, a Monday; four weeks counted from 1970-01-05' CODEC(DoubleDelta, ZSTD(1)),
    environment Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    openness Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    contributor_bits UInt64 COMMENT 'one of 64 bits per contributor, by hash; 0: not authenticated. bitCount is a lower bound of their number within one span of four weeks, never beyond' CODEC(ZSTD(1)),
    requests UInt64 CODEC(T64, ZSTD(1)),
    input_tokens UInt64 CODEC(T64, ZSTD(1)),
    output_tokens UInt64 CODEC(T64, ZSTD(1)),
    built_from UInt64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY span
ORDER BY (vantage, environment, span, openness, hosting)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'What counts for the split (served chat and text completion) by class and hosting, by four weeks: what answers read.';

CREATE TABLE IF NOT EXISTS {database}.rollup_fallbacks_1w
(
    week DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
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
    built_from UInt64 COMMENT 'what this build saw of its source' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toStartOfQuarter(week)
ORDER BY (vantage, environment, week, from_class, after_outcome, to_class, gateway_product)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Requests that were served as fallback: from which class, after what, to which; by week.';

CREATE TABLE IF NOT EXISTS {database}.rollup_coverage_1w
(
    week              DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    environment       Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage           Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product   Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42) CODEC(ZSTD(1)),
    contributor_bits  UInt64 COMMENT 'one of 64 bits per contributor, by hash; 0: not authenticated' CODEC(ZSTD(1)),
    collector_days    UInt64 COMMENT 'collectors that sent a report, summed over the days' CODEC(T64, ZSTD(1)),
    silent_collector_days UInt64 COMMENT 'collectors that sent one of the seven days before and none of the day, summed over the days' CODEC(T64, ZSTD(1)),
    reports           UInt64 CODEC(T64, ZSTD(1)),
    covered_s         UInt64 CODEC(T64, ZSTD(1)),
    partial_windows   UInt64 CODEC(T64, ZSTD(1)),
    late_windows      UInt64 CODEC(T64, ZSTD(1)),
    dropped_requests  UInt64 CODEC(T64, ZSTD(1)),
    requests          UInt64 COMMENT 'of the split: served chat and text completion' CODEC(T64, ZSTD(1)),
    unknown_requests  UInt64 COMMENT 'those of them of unknown openness' CODEC(T64, ZSTD(1)),
    built_from        UInt64 COMMENT 'what this build saw of its sources' CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toStartOfQuarter(week)
ORDER BY (vantage, environment, week, gateway_product)
SETTINGS non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1
COMMENT 'Who reported and how, and what of it is unknown, by week.';

ALTER TABLE {database}.rollup_coverage_1h
    ADD COLUMN IF NOT EXISTS newest DateTime('UTC') DEFAULT hour COMMENT 'start of the newest window with traffic; 1970 if there was none' CODEC(DoubleDelta, ZSTD(1)) AFTER late_windows;

CREATE OR REPLACE VIEW {database}.traffic_split_5m DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.minute AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_5m AS t
WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
COMMENT 'What counts for the split, by five minutes: served chat and text completion at gateways. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.outcomes_5m DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.minute AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.outcome AS outcome, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_5m AS t
WHERE t.vantage = 'gateway'
COMMENT 'All operations and outcomes at gateways, by five minutes. Requests and attempts are never added.';

CREATE OR REPLACE VIEW {database}.models_1h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_by_id', 'name', toUInt64(t.model)) AS model,
       dictGet('{database}.model_by_id', 'family', toUInt64(t.model)) AS family,
       dictGet('{database}.model_by_id', 'developer', toUInt64(t.model)) AS developer,
       t.provider AS provider_id, dictGet('{database}.provider_by_id', 'name', toUInt64(t.provider)) AS provider,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_1h AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by model and provider, by hour. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.models_6h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_by_id', 'name', toUInt64(t.model)) AS model,
       dictGet('{database}.model_by_id', 'family', toUInt64(t.model)) AS family,
       dictGet('{database}.model_by_id', 'developer', toUInt64(t.model)) AS developer,
       t.provider AS provider_id, dictGet('{database}.provider_by_id', 'name', toUInt64(t.provider)) AS provider,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_6h AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by model and provider, by six hours. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.licences_1h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_on_day', 'licence', toUInt64(t.model), toDate32(t.hour)) AS licence,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_1h AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by the licence that the register of now names for the model and the day, by hour. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.licences_6h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_on_day', 'licence', toUInt64(t.model), toDate32(t.hour)) AS licence,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_6h AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by the licence that the register of now names for the model and the day, by six hours. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.fallbacks_1w DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.week AS time, t.environment AS environment, t.gateway_product AS gateway_product,
       t.from_class AS from_class, t.after_outcome AS after_outcome, t.to_class AS to_class,
       t.requests_min AS requests_min, t.requests_max AS requests_max, t.requests_likely AS requests_likely
FROM {database}.rollup_fallbacks_1w AS t
WHERE t.vantage = 'gateway'
COMMENT 'Requests served as fallback, by week: from which class, after which outcome, to which class, with bounds. Exact bounds; sum them.';

CREATE OR REPLACE VIEW {database}.coverage_1h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT u.time AS time, u.environment AS environment, u.gateway_product AS gateway_product,
       sum(u.collectors) AS collectors, sum(u.reports) AS reports, sum(u.covered_s) AS covered_s,
       sum(u.partial_windows) AS partial_windows, sum(u.late_windows) AS late_windows,
       sum(u.requests) AS requests, sum(u.unknown_requests) AS unknown_requests
FROM
(
    SELECT t.hour AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.collectors AS collectors, t.reports AS reports, t.covered_s AS covered_s,
           t.partial_windows AS partial_windows, t.late_windows AS late_windows, toUInt64(0) AS requests, toUInt64(0) AS unknown_requests
    FROM {database}.rollup_coverage_1h AS t WHERE t.vantage = 'gateway'
    UNION ALL
    SELECT t.hour AS time, t.environment AS environment, t.gateway_product AS gateway_product, toUInt64(0) AS collectors, toUInt64(0) AS reports, toUInt64(0) AS covered_s,
           toUInt64(0) AS partial_windows, toUInt64(0) AS late_windows, t.requests AS requests, t.unknown_requests AS unknown_requests
    FROM {database}.rollup_unknown_1h AS t WHERE t.vantage = 'gateway'
) AS u
GROUP BY time, environment, gateway_product
COMMENT 'What stands behind the figures, by hour: who reported, which windows were partial or late, how much is unknown.';

CREATE OR REPLACE VIEW {database}.coverage_1w DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.week AS time, t.environment AS environment, t.gateway_product AS gateway_product,
       t.collector_days AS collector_days, t.silent_collector_days AS silent_collector_days, t.reports AS reports,
       t.covered_s AS covered_s, t.partial_windows AS partial_windows, t.late_windows AS late_windows,
       t.dropped_requests AS dropped_requests, t.requests AS requests, t.unknown_requests AS unknown_requests
FROM {database}.rollup_coverage_1w AS t
WHERE t.vantage = 'gateway'
COMMENT 'What stands behind the figures, by week: days of collectors that reported and that fell silent, which windows were partial or late, what was dropped, how much is unknown.';

CREATE OR REPLACE VIEW {database}.newest_1h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.newest AS newest
FROM {database}.rollup_coverage_1h AS t
WHERE t.vantage = 'gateway' AND t.newest >= t.hour
COMMENT 'The newest window with traffic of each hour.';

CREATE OR REPLACE VIEW {database}.traffic_split DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT n.span AS span, n.environment AS environment,
       n.suppressed AS suppressed,
       if(n.suppressed, NULL, n.contributors_at_least) AS contributors_at_least,
       if(n.suppressed, NULL, n.open_requests) AS open_requests,
       if(n.suppressed, NULL, n.closed_requests) AS closed_requests,
       if(n.suppressed, NULL, n.unknown_requests) AS unknown_requests,
       if(n.suppressed, NULL, n.open_input_tokens) AS open_input_tokens,
       if(n.suppressed, NULL, n.closed_input_tokens) AS closed_input_tokens,
       if(n.suppressed, NULL, n.unknown_input_tokens) AS unknown_input_tokens,
       if(n.suppressed, NULL, n.open_output_tokens) AS open_output_tokens,
       if(n.suppressed, NULL, n.closed_output_tokens) AS closed_output_tokens,
       if(n.suppressed, NULL, n.unknown_output_tokens) AS unknown_output_tokens,
       if(n.suppressed, NULL, n.open_requests / nullIf(n.open_requests + n.closed_requests, 0)) AS open_share,
       if(n.suppressed, NULL, n.open_requests / nullIf(n.open_requests + n.closed_requests + n.unknown_requests, 0)) AS open_share_lower,
       if(n.suppressed, NULL, (n.open_requests + n.unknown_requests) / nullIf(n.open_requests + n.closed_requests + n.unknown_requests, 0)) AS open_share_upper,
       if(n.suppressed, NULL, n.open_input_tokens / nullIf(n.open_input_tokens + n.closed_input_tokens, 0)) AS input_open_share,
       if(n.suppressed, NULL, n.open_input_tokens / nullIf(n.open_input_tokens + n.closed_input_tokens + n.unknown_input_tokens, 0)) AS input_open_share_lower,
       if(n.suppressed, NULL, (n.open_input_tokens + n.unknown_input_tokens) / nullIf(n.open_input_tokens + n.closed_input_tokens + n.unknown_input_tokens, 0)) AS input_open_share_upper,
       if(n.suppressed, NULL, n.open_output_tokens / nullIf(n.open_output_tokens + n.closed_output_tokens, 0)) AS output_open_share,
       if(n.suppressed, NULL, n.open_output_tokens / nullIf(n.open_output_tokens + n.closed_output_tokens + n.unknown_output_tokens, 0)) AS output_open_share_lower,
       if(n.suppressed, NULL, (n.open_output_tokens + n.unknown_output_tokens) / nullIf(n.open_output_tokens + n.closed_output_tokens + n.unknown_output_tokens, 0)) AS output_open_share_upper
FROM
(
    SELECT *,
           is_small OR (countIf(is_small) OVER (PARTITION BY span) = 1
                        AND row_number() OVER (PARTITION BY span ORDER BY is_small, open_requests + closed_requests + unknown_requests) = 1) AS suppressed
    FROM
    (
        SELECT t.span AS span, t.environment AS environment,
               groupBitOr(t.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least,
               bits != 0 AND contributors_at_least < 5 AS is_small,
               sumIf(t.requests, toInt8(t.openness) > 1) AS open_requests,
               sumIf(t.requests, t.openness = 'closed') AS closed_requests,
               sumIf(t.requests, t.openness = 'unknown') AS unknown_requests,
               sumIf(t.input_tokens, toInt8(t.openness) > 1) AS open_input_tokens,
               sumIf(t.input_tokens, t.openness = 'closed') AS closed_input_tokens,
               sumIf(t.input_tokens, t.openness = 'unknown') AS unknown_input_tokens,
               sumIf(t.output_tokens, toInt8(t.openness) > 1) AS open_output_tokens,
               sumIf(t.output_tokens, t.openness = 'closed') AS closed_output_tokens,
               sumIf(t.output_tokens, t.openness = 'unknown') AS unknown_output_tokens
        FROM {database}.rollup_split_4w AS t
        WHERE t.vantage = 'gateway'
        GROUP BY span, environment
    )
) AS n
COMMENT 'Where production traffic goes: open, closed and unknown by four weeks and environment, with bounds. Groups of fewer than five contributors are suppressed.';

CREATE OR REPLACE VIEW {database}.hosting DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT n.span AS span, n.environment AS environment, n.hosting AS hosting,
       n.suppressed AS suppressed,
       if(n.suppressed, NULL, n.contributors_at_least) AS contributors_at_least,
       if(n.suppressed, NULL, n.open_requests) AS open_requests,
       if(n.suppressed, NULL, n.closed_requests) AS closed_requests,
       if(n.suppressed, NULL, n.unknown_requests) AS unknown_requests,
       if(n.suppressed, NULL, n.open_input_tokens) AS open_input_tokens,
       if(n.suppressed, NULL, n.closed_input_tokens) AS closed_input_tokens,
       if(n.suppressed, NULL, n.unknown_input_tokens) AS unknown_input_tokens,
       if(n.suppressed, NULL, n.open_output_tokens) AS open_output_tokens,
       if(n.suppressed, NULL, n.closed_output_tokens) AS closed_output_tokens,
       if(n.suppressed, NULL, n.unknown_output_tokens) AS unknown_output_tokens,
       if(n.suppressed, NULL, n.open_requests / nullIf(n.open_requests + n.closed_requests, 0)) AS open_share,
       if(n.suppressed, NULL, n.open_requests / nullIf(n.open_requests + n.closed_requests + n.unknown_requests, 0)) AS open_share_lower,
       if(n.suppressed, NULL, (n.open_requests + n.unknown_requests) / nullIf(n.open_requests + n.closed_requests + n.unknown_requests, 0)) AS open_share_upper,
       if(n.suppressed, NULL, n.open_input_tokens / nullIf(n.open_input_tokens + n.closed_input_tokens, 0)) AS input_open_share,
       if(n.suppressed, NULL, n.open_input_tokens / nullIf(n.open_input_tokens + n.closed_input_tokens + n.unknown_input_tokens, 0)) AS input_open_share_lower,
       if(n.suppressed, NULL, (n.open_input_tokens + n.unknown_input_tokens) / nullIf(n.open_input_tokens + n.closed_input_tokens + n.unknown_input_tokens, 0)) AS input_open_share_upper,
       if(n.suppressed, NULL, n.open_output_tokens / nullIf(n.open_output_tokens + n.closed_output_tokens, 0)) AS output_open_share,
       if(n.suppressed, NULL, n.open_output_tokens / nullIf(n.open_output_tokens + n.closed_output_tokens + n.unknown_output_tokens, 0)) AS output_open_share_lower,
       if(n.suppressed, NULL, (n.open_output_tokens + n.unknown_output_tokens) / nullIf(n.open_output_tokens + n.closed_output_tokens + n.unknown_output_tokens, 0)) AS output_open_share_upper,
       if(n.suppressed, NULL, (n.open_requests + n.closed_requests + n.unknown_requests) / nullIf(n.all_requests, 0)) AS share_of_requests
FROM
(
    SELECT *,
           is_small OR (countIf(is_small) OVER (PARTITION BY span, environment) = 1
                        AND row_number() OVER (PARTITION BY span, environment ORDER BY is_small, open_requests + closed_requests + unknown_requests) = 1) AS suppressed
    FROM
    (
        SELECT *, sum(open_requests + closed_requests + unknown_requests) OVER (PARTITION BY span, environment) AS all_requests
        FROM
        (
        SELECT t.span AS span, t.environment AS environment, t.hosting AS hosting,
               groupBitOr(t.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least,
               bits != 0 AND contributors_at_least < 5 AS is_small,
               sumIf(t.requests, toInt8(t.openness) > 1) AS open_requests,
               sumIf(t.requests, t.openness = 'closed') AS closed_requests,
               sumIf(t.requests, t.openness = 'unknown') AS unknown_requests,
               sumIf(t.input_tokens, toInt8(t.openness) > 1) AS open_input_tokens,
               sumIf(t.input_tokens, t.openness = 'closed') AS closed_input_tokens,
               sumIf(t.input_tokens, t.openness = 'unknown') AS unknown_input_tokens,
               sumIf(t.output_tokens, toInt8(t.openness) > 1) AS open_output_tokens,
               sumIf(t.output_tokens, t.openness = 'closed') AS closed_output_tokens,
               sumIf(t.output_tokens, t.openness = 'unknown') AS unknown_output_tokens
        FROM {database}.rollup_split_4w AS t
        WHERE t.vantage = 'gateway'
        GROUP BY span, environment, hosting
        )
    )
) AS n
COMMENT 'Who runs the weights: by four weeks, environment and hosting. Groups of fewer than five contributors are suppressed.';

CREATE OR REPLACE VIEW {database}.fallbacks DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT n.span AS span, n.environment AS environment, n.from_class AS from_class, n.after_outcome AS after_outcome, n.to_class AS to_class,
       n.suppressed AS suppressed,
       if(n.suppressed, NULL, n.contributors_at_least) AS contributors_at_least,
       if(n.suppressed, NULL, n.requests_min) AS requests_min,
       if(n.suppressed, NULL, n.requests_max) AS requests_max,
       if(n.suppressed, NULL, n.requests_likely) AS requests_likely,
       if(n.suppressed, NULL, n.requests_likely / nullIf(n.all_requests, 0)) AS share,
       if(n.suppressed, NULL, n.requests_min / nullIf(n.all_requests, 0)) AS share_lower,
       if(n.suppressed, NULL, if(n.all_requests = 0, NULL, least(1., n.requests_max / n.all_requests))) AS share_upper
FROM
(
    SELECT *,
           is_small OR (countIf(is_small) OVER (PARTITION BY span, environment) = 1
                        AND row_number() OVER (PARTITION BY span, environment ORDER BY is_small, requests_likely) = 1) AS suppressed
    FROM
    (
        SELECT *, sum(requests_likely) OVER (PARTITION BY span, environment) AS all_requests
        FROM
        (
        SELECT toDate(4 + intDiv(toUInt32(toDate(t.week)) - 4, 28) * 28) AS span, t.environment AS environment, t.from_class AS from_class, t.after_outcome AS after_outcome, t.to_class AS to_class,
               groupBitOr(t.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least,
               bits != 0 AND contributors_at_least < 5 AS is_small,
               sum(t.requests_min) AS requests_min,
               sum(t.requests_max) AS requests_max,
               sum(t.requests_likely) AS requests_likely
        FROM {database}.rollup_fallbacks_1w AS t
        WHERE t.vantage = 'gateway'
        GROUP BY span, environment, from_class, after_outcome, to_class
        )
    )
) AS n
COMMENT 'Why they come: requests served as fallback by four weeks: from which class, after which outcome, to which class, with bounds. Groups of fewer than five contributors are suppressed.';

CREATE OR REPLACE VIEW {database}.coverage DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT n.span AS span, n.environment AS environment,
       n.suppressed AS suppressed,
       if(n.suppressed, NULL, n.contributors_at_least) AS contributors_at_least,
       if(n.suppressed, NULL, n.collector_days) AS collector_days,
       if(n.suppressed, NULL, n.silent_collector_days) AS silent_collector_days,
       if(n.suppressed, NULL, n.reports) AS reports,
       if(n.suppressed, NULL, n.dropped_requests) AS dropped_requests,
       if(n.suppressed, NULL, n.requests) AS requests,
       if(n.suppressed, NULL, n.unknown_requests) AS unknown_requests,
       if(n.suppressed, NULL, n.unknown_requests / nullIf(n.requests, 0)) AS unknown_share,
       if(n.suppressed, NULL, n.covered_s / nullIf(n.collector_days * 86400, 0)) AS covered_share,
       if(n.suppressed, NULL, n.partial_windows / nullIf(n.reports, 0)) AS partial_share,
       if(n.suppressed, NULL, n.late_windows / nullIf(n.reports, 0)) AS late_share
FROM
(
    SELECT *,
           is_small OR (countIf(is_small) OVER (PARTITION BY span) = 1
                        AND row_number() OVER (PARTITION BY span ORDER BY is_small, reports) = 1) AS suppressed
    FROM
    (
        SELECT toDate(4 + intDiv(toUInt32(toDate(t.week)) - 4, 28) * 28) AS span, t.environment AS environment, groupBitOr(t.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least, bits != 0 AND contributors_at_least < 5 AS is_small,
               sum(t.collector_days) AS collector_days, sum(t.silent_collector_days) AS silent_collector_days, sum(t.reports) AS reports,
               sum(t.covered_s) AS covered_s, sum(t.partial_windows) AS partial_windows, sum(t.late_windows) AS late_windows,
               sum(t.dropped_requests) AS dropped_requests, sum(t.requests) AS requests, sum(t.unknown_requests) AS unknown_requests
        FROM {database}.rollup_coverage_1w AS t
        WHERE t.vantage = 'gateway'
        GROUP BY span, environment
    )
) AS n
COMMENT 'What stands behind the answers, by four weeks and environment. Groups of fewer than five contributors are suppressed.';
