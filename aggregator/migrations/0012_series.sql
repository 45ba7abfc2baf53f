-- Series: views that are exact and that the reader sums over any period. The suffix is the grain of time.
--
-- They show one vantage, gateway. class is openness in three: open, closed, unknown. Names of models and providers come from dictionaries,
-- after the filter and without a join. Readers need no grant on the tables: a view reads as the user who migrated (SQL SECURITY DEFINER).
-- Names of views are stable; a later migration replaces them and only adds columns.

CREATE OR REPLACE DICTIONARY {database}.model_by_id
(
    id        UInt64,
    name      String DEFAULT 'unlisted' INJECTIVE,
    family    String DEFAULT 'unlisted',
    developer String DEFAULT ''
)
PRIMARY KEY id
SOURCE(CLICKHOUSE({dictionary_credentials}QUERY 'SELECT toUInt64(id) AS id, name, family, developer FROM {database}.models'))
LAYOUT(HASHED())
LIFETIME(0)
COMMENT 'Names of the register''s models by number.';

CREATE OR REPLACE DICTIONARY {database}.provider_by_id
(
    id   UInt64,
    name String DEFAULT 'unlisted' INJECTIVE
)
PRIMARY KEY id
SOURCE(CLICKHOUSE({dictionary_credentials}QUERY 'SELECT toUInt64(id) AS id, name FROM {database}.providers'))
LAYOUT(FLAT())
LIFETIME(0)
COMMENT 'Names of the register''s providers by number.';

CREATE OR REPLACE VIEW {database}.traffic_split_1m DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.minute AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_1m AS t
WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
COMMENT 'What counts for the split, by minute: served chat and text completion at gateways. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.traffic_split_1h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_1h AS t
WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
COMMENT 'What counts for the split, by hour: served chat and text completion at gateways. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.traffic_split_1d DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.day AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_1d AS t
WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
COMMENT 'What counts for the split, by day: served chat and text completion at gateways. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.traffic_split_1w DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.week AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_1w AS t
WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
COMMENT 'What counts for the split, by week: served chat and text completion at gateways. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.outcomes_1m DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.minute AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.outcome AS outcome, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_1m AS t
WHERE t.vantage = 'gateway'
COMMENT 'All operations and outcomes at gateways, by minute. Requests and attempts are never added.';

CREATE OR REPLACE VIEW {database}.outcomes_1h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.outcome AS outcome, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_1h AS t
WHERE t.vantage = 'gateway'
COMMENT 'All operations and outcomes at gateways, by hour. Requests and attempts are never added.';

CREATE OR REPLACE VIEW {database}.outcomes_1d DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.day AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.outcome AS outcome, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_1d AS t
WHERE t.vantage = 'gateway'
COMMENT 'All operations and outcomes at gateways, by day. Requests and attempts are never added.';

CREATE OR REPLACE VIEW {database}.outcomes_1w DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.week AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.hosting AS hosting,
       t.operation AS operation, t.choice AS choice, t.outcome AS outcome, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_split_1w AS t
WHERE t.vantage = 'gateway'
COMMENT 'All operations and outcomes at gateways, by week. Requests and attempts are never added.';

CREATE OR REPLACE VIEW {database}.models_1m DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.minute AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_by_id', 'name', toUInt64(t.model)) AS model,
       dictGet('{database}.model_by_id', 'family', toUInt64(t.model)) AS family,
       dictGet('{database}.model_by_id', 'developer', toUInt64(t.model)) AS developer,
       t.provider AS provider_id, dictGet('{database}.provider_by_id', 'name', toUInt64(t.provider)) AS provider,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.traffic_1m AS t
WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
COMMENT 'What counts for the split by model and provider, by minute. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.models_1h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_by_id', 'name', toUInt64(t.model)) AS model,
       dictGet('{database}.model_by_id', 'family', toUInt64(t.model)) AS family,
       dictGet('{database}.model_by_id', 'developer', toUInt64(t.model)) AS developer,
       t.provider AS provider_id, dictGet('{database}.provider_by_id', 'name', toUInt64(t.provider)) AS provider,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.traffic_1h AS t
WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
COMMENT 'What counts for the split by model and provider, by hour. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.models_1d DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.day AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_by_id', 'name', toUInt64(t.model)) AS model,
       dictGet('{database}.model_by_id', 'family', toUInt64(t.model)) AS family,
       dictGet('{database}.model_by_id', 'developer', toUInt64(t.model)) AS developer,
       t.provider AS provider_id, dictGet('{database}.provider_by_id', 'name', toUInt64(t.provider)) AS provider,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_1d AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by model and provider, by day. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.models_1w DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.week AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_by_id', 'name', toUInt64(t.model)) AS model,
       dictGet('{database}.model_by_id', 'family', toUInt64(t.model)) AS family,
       dictGet('{database}.model_by_id', 'developer', toUInt64(t.model)) AS developer,
       t.provider AS provider_id, dictGet('{database}.provider_by_id', 'name', toUInt64(t.provider)) AS provider,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_1w AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by model and provider, by week. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.licences_1h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_on_day', 'licence', toUInt64(t.model), toDate32(t.hour)) AS licence,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.traffic_1h AS t
WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
COMMENT 'What counts for the split by the licence that the register of now names for the model and the day, by hour. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.licences_1d DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.day AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_on_day', 'licence', toUInt64(t.model), toDate32(t.day)) AS licence,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_1d AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by the licence that the register of now names for the model and the day, by day. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.licences_1w DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.week AS time, t.environment AS environment, t.model AS model_id,
       dictGet('{database}.model_on_day', 'licence', toUInt64(t.model), toDate32(t.week)) AS licence,
       t.hosting AS hosting, t.operation AS operation, t.openness AS openness,
       CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') AS class,
       t.requests AS requests, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.rollup_models_1w AS t
WHERE t.vantage = 'gateway'
COMMENT 'What counts for the split by the licence that the register of now names for the model and the day, by week. Exact; sum it.';

CREATE OR REPLACE VIEW {database}.fallbacks_1h DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.hour AS time, t.environment AS environment, t.gateway_product AS gateway_product,
       t.from_class AS from_class, t.after_outcome AS after_outcome, t.to_class AS to_class,
       t.requests_min AS requests_min, t.requests_max AS requests_max, t.requests_likely AS requests_likely
FROM {database}.rollup_fallbacks_1h AS t
WHERE t.vantage = 'gateway'
COMMENT 'Requests served as fallback, by hour: from which class, after which outcome, to which class, with bounds. Exact bounds; sum them.';

CREATE OR REPLACE VIEW {database}.fallbacks_1d DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT t.day AS time, t.environment AS environment, t.gateway_product AS gateway_product,
       t.from_class AS from_class, t.after_outcome AS after_outcome, t.to_class AS to_class,
       t.requests_min AS requests_min, t.requests_max AS requests_max, t.requests_likely AS requests_likely
FROM {database}.rollup_fallbacks_1d AS t
WHERE t.vantage = 'gateway'
COMMENT 'Requests served as fallback, by day: from which class, after which outcome, to which class, with bounds. Exact bounds; sum them.';

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
           toUInt64(0) AS partial_windows, toUInt64(0) AS late_windows, t.requests AS requests, if(t.openness = 'unknown', t.requests, 0) AS unknown_requests
    FROM {database}.rollup_split_1h AS t WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
) AS u
GROUP BY time, environment, gateway_product
COMMENT 'What stands behind the figures, by hour: who reported, which windows were partial or late, how much is unknown.';

CREATE OR REPLACE VIEW {database}.coverage_1d DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT u.time AS time, u.environment AS environment, u.gateway_product AS gateway_product,
       sum(u.collectors) AS collectors, sum(u.collectors_silent) AS collectors_silent, sum(u.reports) AS reports,
       sum(u.covered_s) AS covered_s, sum(u.partial_windows) AS partial_windows, sum(u.late_windows) AS late_windows,
       sum(u.dropped_requests) AS dropped_requests, sum(u.requests) AS requests, sum(u.unknown_requests) AS unknown_requests
FROM
(
    SELECT t.day AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.collectors AS collectors, t.collectors_silent AS collectors_silent,
           t.reports AS reports, t.covered_s AS covered_s, t.partial_windows AS partial_windows, t.late_windows AS late_windows, t.dropped_requests AS dropped_requests,
           toUInt64(0) AS requests, toUInt64(0) AS unknown_requests
    FROM {database}.rollup_coverage_1d AS t WHERE t.vantage = 'gateway'
    UNION ALL
    SELECT t.day AS time, t.environment AS environment, t.gateway_product AS gateway_product, toUInt64(0) AS collectors, toUInt64(0) AS collectors_silent,
           toUInt64(0) AS reports, toUInt64(0) AS covered_s, toUInt64(0) AS partial_windows, toUInt64(0) AS late_windows, toUInt64(0) AS dropped_requests,
           t.requests AS requests, if(t.openness = 'unknown', t.requests, 0) AS unknown_requests
    FROM {database}.rollup_split_1d AS t WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
) AS u
GROUP BY time, environment, gateway_product
COMMENT 'What stands behind the figures, by day: who reported and who fell silent, which windows were partial or late, what was dropped, how much is unknown.';

CREATE OR REPLACE VIEW {database}.coverage_1w DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT u.time AS time, u.environment AS environment, u.gateway_product AS gateway_product,
       sum(u.collectors) AS collector_days, sum(u.collectors_silent) AS silent_collector_days, sum(u.reports) AS reports,
       sum(u.covered_s) AS covered_s, sum(u.partial_windows) AS partial_windows, sum(u.late_windows) AS late_windows,
       sum(u.dropped_requests) AS dropped_requests, sum(u.requests) AS requests, sum(u.unknown_requests) AS unknown_requests
FROM
(
    SELECT toDateTime(toMonday(t.day), 'UTC') AS time, t.environment AS environment, t.gateway_product AS gateway_product, t.collectors AS collectors, t.collectors_silent AS collectors_silent,
           t.reports AS reports, t.covered_s AS covered_s, t.partial_windows AS partial_windows, t.late_windows AS late_windows, t.dropped_requests AS dropped_requests,
           toUInt64(0) AS requests, toUInt64(0) AS unknown_requests
    FROM {database}.rollup_coverage_1d AS t WHERE t.vantage = 'gateway'
    UNION ALL
    SELECT t.week AS time, t.environment AS environment, t.gateway_product AS gateway_product, toUInt64(0) AS collectors, toUInt64(0) AS collectors_silent,
           toUInt64(0) AS reports, toUInt64(0) AS covered_s, toUInt64(0) AS partial_windows, toUInt64(0) AS late_windows, toUInt64(0) AS dropped_requests,
           t.requests AS requests, if(t.openness = 'unknown', t.requests, 0) AS unknown_requests
    FROM {database}.rollup_split_1w AS t WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
) AS u
GROUP BY time, environment, gateway_product
COMMENT 'What stands behind the figures, by week: days of collectors that reported and that fell silent, which windows were partial or late, what was dropped, how much is unknown.';
