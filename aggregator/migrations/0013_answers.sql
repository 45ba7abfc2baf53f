-- Answers: one view a question, by spans of four weeks, safe to show to those who may not see a single organisation.
--
-- A group of fewer than five contributors is suppressed: its row is there, everything that is counted is NULL. If it is the only one
-- beside its siblings, the next smallest is suppressed too, or a sum less the others would give it away. Without authentication the data
-- is one organisation's own and exact. contributors_at_least is a lower bound: one of 64 bits per contributor, combined within one span
-- only, because the pseudonym of a contributor ends with it.
--
-- A share of nothing is NULL. open_share is of classified traffic; _lower takes unknown for closed, _upper for open.

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
        SELECT toDate(4 + intDiv(toUInt32(toDate(t.week)) - 4, 28) * 28) AS span, t.environment AS environment,
               groupBitOr(t.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least,
               bits != 0 AND contributors_at_least < 5 AS is_small,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_requests,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_requests,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_requests,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_input_tokens,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_input_tokens,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_input_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_output_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_output_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_output_tokens
        FROM {database}.rollup_split_1w AS t
        WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
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
        SELECT toDate(4 + intDiv(toUInt32(toDate(t.week)) - 4, 28) * 28) AS span, t.environment AS environment, t.hosting AS hosting,
               groupBitOr(t.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least,
               bits != 0 AND contributors_at_least < 5 AS is_small,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_requests,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_requests,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_requests,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_input_tokens,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_input_tokens,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_input_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_output_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_output_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_output_tokens
        FROM {database}.rollup_split_1w AS t
        WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
        GROUP BY span, environment, hosting
        )
    )
) AS n
COMMENT 'Who runs the weights: by four weeks, environment and hosting. Groups of fewer than five contributors are suppressed.';

CREATE OR REPLACE VIEW {database}.licences DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT n.span AS span, n.environment AS environment, n.licence AS licence, n.openness AS openness,
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
        SELECT toDate(4 + intDiv(toUInt32(toDate(t.week)) - 4, 28) * 28) AS span, t.environment AS environment, dictGet('{database}.model_on_day', 'licence', toUInt64(t.model), toDate32(t.week)) AS licence, t.openness AS openness,
               groupBitOr(t.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least,
               bits != 0 AND contributors_at_least < 5 AS is_small,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_requests,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_requests,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_requests,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_input_tokens,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_input_tokens,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_input_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_output_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_output_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_output_tokens
        FROM {database}.rollup_models_1w AS t
        WHERE t.vantage = 'gateway'
        GROUP BY span, environment, licence, openness
        )
    )
) AS n
COMMENT 'How free the weights are: by four weeks, environment, licence and class as counted. Groups of fewer than five contributors are suppressed.';

CREATE OR REPLACE VIEW {database}.model_split DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT n.span AS span, n.environment AS environment, n.model_id AS model_id, dictGet('{database}.model_by_id', 'name', toUInt64(n.model_id)) AS model,
       dictGet('{database}.model_by_id', 'family', toUInt64(n.model_id)) AS family, dictGet('{database}.model_by_id', 'developer', toUInt64(n.model_id)) AS developer, n.openness AS openness,
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
        SELECT toDate(4 + intDiv(toUInt32(toDate(t.week)) - 4, 28) * 28) AS span, t.environment AS environment, t.model AS model_id, t.openness AS openness,
               groupBitOr(t.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least,
               bits != 0 AND contributors_at_least < 5 AS is_small,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_requests,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_requests,
               sumIf(t.requests, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_requests,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_input_tokens,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_input_tokens,
               sumIf(t.input_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_input_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'open') AS open_output_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'closed') AS closed_output_tokens,
               sumIf(t.output_tokens, CAST(least(CAST(t.openness, 'Int8'), 2), 'Enum8(''unknown'' = 0, ''closed'' = 1, ''open'' = 2)') = 'unknown') AS unknown_output_tokens
        FROM {database}.rollup_models_1w AS t
        WHERE t.vantage = 'gateway'
        GROUP BY span, environment, model_id, openness
        )
    )
) AS n
COMMENT 'Which models: by four weeks and environment. Groups of fewer than five contributors are suppressed.';

CREATE OR REPLACE VIEW {database}.fallbacks DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT n.span AS span, n.environment AS environment, n.from_class AS from_class, n.after_outcome AS after_outcome, n.to_class AS to_class,
       n.suppressed AS suppressed,
       if(n.suppressed, NULL, n.contributors_at_least) AS contributors_at_least,
       if(n.suppressed, NULL, n.requests_min) AS requests_min,
       if(n.suppressed, NULL, n.requests_max) AS requests_max,
       if(n.suppressed, NULL, n.requests_likely) AS requests_likely,
       if(n.suppressed, NULL, n.requests_likely / nullIf(n.all_requests, 0)) AS share,
       if(n.suppressed, NULL, n.requests_min / nullIf(n.all_requests, 0)) AS share_lower,
       if(n.suppressed, NULL, least(1., n.requests_max / nullIf(n.all_requests, 0))) AS share_upper
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
        SELECT toDate(4 + intDiv(toUInt32(toDate(t.day)) - 4, 28) * 28) AS span, t.environment AS environment, t.from_class AS from_class, t.after_outcome AS after_outcome, t.to_class AS to_class,
               groupBitOr(t.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least,
               bits != 0 AND contributors_at_least < 5 AS is_small,
               sum(t.requests_min) AS requests_min,
               sum(t.requests_max) AS requests_max,
               sum(t.requests_likely) AS requests_likely
        FROM {database}.rollup_fallbacks_1d AS t
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
        SELECT u.span AS span, u.environment AS environment, groupBitOr(u.contributor_bits) AS bits,
               bitCount(bits) AS contributors_at_least, bits != 0 AND contributors_at_least < 5 AS is_small,
               sum(u.collectors) AS collector_days, sum(u.collectors_silent) AS silent_collector_days, sum(u.reports) AS reports,
               sum(u.covered_s) AS covered_s, sum(u.partial_windows) AS partial_windows, sum(u.late_windows) AS late_windows,
               sum(u.dropped_requests) AS dropped_requests, sum(u.requests) AS requests, sum(u.unknown_requests) AS unknown_requests
        FROM
        (
            SELECT toDate(4 + intDiv(toUInt32(toDate(t.day)) - 4, 28) * 28) AS span, t.environment AS environment, t.contributor_bits AS contributor_bits, t.collectors AS collectors,
                   t.collectors_silent AS collectors_silent, t.reports AS reports, t.covered_s AS covered_s, t.partial_windows AS partial_windows,
                   t.late_windows AS late_windows, t.dropped_requests AS dropped_requests, toUInt64(0) AS requests, toUInt64(0) AS unknown_requests
            FROM {database}.rollup_coverage_1d AS t WHERE t.vantage = 'gateway'
            UNION ALL
            SELECT toDate(4 + intDiv(toUInt32(toDate(t.week)) - 4, 28) * 28) AS span, t.environment AS environment, t.contributor_bits AS contributor_bits, toUInt64(0) AS collectors,
                   toUInt64(0) AS collectors_silent, toUInt64(0) AS reports, toUInt64(0) AS covered_s, toUInt64(0) AS partial_windows,
                   toUInt64(0) AS late_windows, toUInt64(0) AS dropped_requests, t.requests AS requests, if(t.openness = 'unknown', t.requests, 0) AS unknown_requests
            FROM {database}.rollup_split_1w AS t WHERE t.vantage = 'gateway' AND t.outcome = 'ok' AND t.operation IN ('chat', 'text_completion')
        ) AS u
        GROUP BY span, environment
    )
) AS n
COMMENT 'What stands behind the answers, by four weeks and environment. Groups of fewer than five contributors are suppressed.';

CREATE OR REPLACE VIEW {database}.adoption DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT n.span AS span, n.environment AS environment,
       n.suppressed AS suppressed,
       if(n.suppressed, NULL, n.participants) AS participants,
       if(n.suppressed, NULL, n.with_open) AS with_open,
       if(n.suppressed, NULL, n.with_open_max) AS with_open_max,
       if(n.suppressed, NULL, n.with_majority) AS with_majority,
       if(n.suppressed, NULL, n.with_majority_min) AS with_majority_min,
       if(n.suppressed, NULL, n.with_majority_max) AS with_majority_max,
       if(n.suppressed, NULL, n.with_sustained) AS with_sustained,
       if(n.suppressed, NULL, n.with_sustained_max) AS with_sustained_max,
       if(n.suppressed, NULL, n.with_open / n.participants) AS with_open_share,
       if(n.suppressed, NULL, n.with_open_max / n.participants) AS with_open_max_share,
       if(n.suppressed, NULL, n.with_majority / n.participants) AS with_majority_share,
       if(n.suppressed, NULL, n.with_majority_min / n.participants) AS with_majority_min_share,
       if(n.suppressed, NULL, n.with_majority_max / n.participants) AS with_majority_max_share,
       if(n.suppressed, NULL, n.with_sustained / n.participants) AS with_sustained_share,
       if(n.suppressed, NULL, n.with_sustained_max / n.participants) AS with_sustained_max_share,
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
                        AND row_number() OVER (PARTITION BY span ORDER BY is_small, participants) = 1) AS suppressed
    FROM
    (
        SELECT t.span AS span, t.environment AS environment,
               sum(t.participants) AS participants,
               max(t.authenticated) = 1 AND participants < 5 AS is_small,
               sum(t.with_open) AS with_open,
               sum(t.with_open_max) AS with_open_max,
               sum(t.with_majority) AS with_majority,
               sum(t.with_majority_min) AS with_majority_min,
               sum(t.with_majority_max) AS with_majority_max,
               sum(t.with_sustained) AS with_sustained,
               sum(t.with_sustained_max) AS with_sustained_max,
               sum(t.open_requests) AS open_requests,
               sum(t.closed_requests) AS closed_requests,
               sum(t.unknown_requests) AS unknown_requests,
               sum(t.open_input_tokens) AS open_input_tokens,
               sum(t.closed_input_tokens) AS closed_input_tokens,
               sum(t.unknown_input_tokens) AS unknown_input_tokens,
               sum(t.open_output_tokens) AS open_output_tokens,
               sum(t.closed_output_tokens) AS closed_output_tokens,
               sum(t.unknown_output_tokens) AS unknown_output_tokens
        FROM {database}.rollup_adoption_4w AS t
        WHERE t.vantage = 'gateway'
        GROUP BY span, environment
    )
) AS n
COMMENT 'Is presence commitment: organisations with any open traffic, with a majority, with sustained use, beside the shares of requests and tokens, by four weeks and environment (all: over every environment). Groups of fewer than five contributors are suppressed.';

CREATE OR REPLACE VIEW {database}.production_share DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT n.span AS span, n.environment AS environment, n.volume_class AS volume_class, n.active_days AS active_days,
       n.suppressed AS suppressed,
       if(n.suppressed, NULL, n.participants) AS participants,
       if(n.suppressed, NULL, n.with_open) AS with_open,
       if(n.suppressed, NULL, n.with_open_max) AS with_open_max,
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
           is_small OR (countIf(is_small) OVER (PARTITION BY span, environment) = 1
                        AND row_number() OVER (PARTITION BY span, environment ORDER BY is_small, participants) = 1) AS suppressed
    FROM
    (
        SELECT t.span AS span, t.environment AS environment, t.volume_class AS volume_class, t.active_days AS active_days,
               sum(t.participants) AS participants,
               max(t.authenticated) = 1 AND participants < 5 AS is_small,
               sum(t.with_open) AS with_open,
               sum(t.with_open_max) AS with_open_max,
               sum(t.open_requests) AS open_requests,
               sum(t.closed_requests) AS closed_requests,
               sum(t.unknown_requests) AS unknown_requests,
               sum(t.open_input_tokens) AS open_input_tokens,
               sum(t.closed_input_tokens) AS closed_input_tokens,
               sum(t.unknown_input_tokens) AS unknown_input_tokens,
               sum(t.open_output_tokens) AS open_output_tokens,
               sum(t.closed_output_tokens) AS closed_output_tokens,
               sum(t.unknown_output_tokens) AS unknown_output_tokens
        FROM {database}.rollup_adoption_4w AS t
        WHERE t.vantage = 'gateway' AND t.environment != 'all'
        GROUP BY span, environment, volume_class, active_days
    )
) AS n
COMMENT 'Prototype or production: the split by environment, volume (10 to the power of volume_class requests a day and more) and days active, by four weeks. Groups of fewer than five contributors are suppressed.';

-- By collector, whose id is stable, and calendar month: the pseudonym of a contributor ends with its four weeks, nobody can follow it further.
CREATE OR REPLACE VIEW {database}.retention DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT r.cohort AS cohort, r.months_later AS months_later, r.is_first_on_record AS is_first_on_record, toUInt8(addMonths(r.cohort, r.months_later + 1) <= toDate(now('UTC'))) AS is_complete,
       r.authenticated = 1 AND r.participants < 5 AS suppressed,
       if(suppressed, NULL, r.collectors) AS collectors,
       if(suppressed, NULL, r.still) AS still, if(suppressed, NULL, r.still_max) AS still_max,
       if(suppressed, NULL, r.still / nullIf(r.collectors, 0)) AS retention,
       if(suppressed, NULL, r.still_max / nullIf(r.collectors, 0)) AS retention_upper,
       if(suppressed, NULL, r.share_first) AS share_first, if(suppressed, NULL, r.share_later) AS share_later,
       if(suppressed, NULL, r.share_later - r.share_first) AS moved
FROM {database}.rollup_retention AS r
WHERE r.vantage = 'gateway'
COMMENT 'Do they stay: collectors by the month of their first open traffic, how many still have it 1, 3 and 6 months later, and by how much their open share moved.';

CREATE OR REPLACE VIEW {database}.schema_version DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT max(version) AS version FROM {database}.migrations WHERE state = 'done'
COMMENT 'The newest migration that was run: names of views stay, what they hold may grow.';

ALTER TABLE {database}.traffic
    MODIFY SQL SECURITY DEFINER DEFINER = CURRENT_USER;

ALTER TABLE {database}.traffic_cross_check
    MODIFY SQL SECURITY DEFINER DEFINER = CURRENT_USER;

ALTER TABLE {database}.traffic_reclassified
    MODIFY SQL SECURITY DEFINER DEFINER = CURRENT_USER;
