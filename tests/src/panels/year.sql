-- A year of rollups as 100,000 collectors would leave them. Deterministic: every choice is a hash of a number.
--
-- population: each collector has one environment (55 % production, 20 staging, 20 development, 5 unknown), one of 14 gateway
-- products and five upstreams (a model at a provider), drawn from 600 models of the register and their providers, a few of them most of the time (log-uniform),
-- and 30 active cells: six a upstream (two served by choice, one of them text completion for every tenth collector; one served as
-- fallback; rate limited; another error; cancelled or embeddings). What the rollups hold of a day is the sum of its cells over
-- collectors, so the rows of a day are the distinct combinations of the population. A day's counts follow a trend over the year, the
-- weekday and a noise by combination; open traffic grows from 25 to 45 %.
--
-- Hours and minutes are those that panels read: of the last days, each combination of the day in each of its hours, five minutes and
-- minutes with an equal part. That is the most rows that there can be: a combination that rests in some hour has none of it.
CREATE DATABASE IF NOT EXISTS population;

CREATE TABLE population.cells ENGINE = MergeTree ORDER BY collector AS
WITH toUInt32(intDiv(number, 30)) AS collector, number % 30 AS k, k % 5 AS upstream, intDiv(k, 5) AS variant,
     cityHash64(collector, 'environment') % 100 AS in_environment,
     cityHash64(collector, 'product') / 18446744073709551616. AS in_product,
     cityHash64(collector, upstream, 'model') / 18446744073709551616. AS in_model,
     cityHash64(collector, upstream, 'hosting') % 100 AS in_hosting,
     cityHash64(collector, upstream, 'provider') % 1000 / 1000. AS in_provider
SELECT collector,
       toInt8(multiIf(in_environment < 55, 1, in_environment < 75, 2, in_environment < 95, 3, 4)) AS environment,
       toInt8([2, 3, 20, 23, 25, 6, 7, 21, 26, 27, 11, 22, 24, 1][1 + least(13, toUInt32(floor(pow(14, in_product))) - 1)]) AS gateway_product,
       least(599, toUInt32(floor(pow(601, in_model))) - 1) AS rank,
       toInt8([1, 4, 1, 5, 1, 3, 4, 2, 0, 4][1 + rank % 10]) AS openness,
       if(openness = 0, 0, (SELECT groupArray(600)(id) FROM (SELECT id FROM weighbridge.models WHERE id > 0 ORDER BY cityHash64(id)))[1 + rank]) AS model,
       toInt8(multiIf(openness < 2, if(in_hosting < 75, 1, 3), in_hosting < 45, 2, in_hosting < 80, 4, in_hosting < 90, 3, 1)) AS hosting,
       toUInt16(multiIf(hosting = 4, 1, hosting = 2, 10 + toUInt32(floor(pow(9, in_provider))), hosting = 3, 20 + toUInt32(3 * in_provider), 30 + rank % 20)) AS provider,
       toInt8(multiIf(variant = 1 AND collector % 10 = 0, 1, variant = 5 AND collector % 4 = 0, 2, 0)) AS operation,
       toInt8(multiIf(variant < 3, 0, variant = 3, 1, variant = 4, 2 + collector % 2, operation = 2, 0, 4)) AS outcome,
       toInt8(multiIf(variant = 2, 1, cityHash64(collector, 'choice') % 5 = 0, 2, 0)) AS choice,
       toUInt64(ceil(exp(5 * (cityHash64(collector, 'volume') % 1000) / 1000.) * [300, 200, 6, 4, 2, 3][1 + variant] / (1 + upstream))) AS a_day
FROM numbers(3000000);

CREATE TABLE population.days ENGINE = MergeTree ORDER BY day AS
SELECT toDateTime(toDate('2025-11-24') + number, 'UTC') AS day, number AS n, if(toDayOfWeek(day) > 5, 0.6, 1.) AS weekday FROM numbers(364);

INSERT INTO weighbridge.rollup_split_1d (day, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, requests, attempts, input_tokens, output_tokens, built_from)
WITH toUInt64(c.a_day * d.weekday * (1 + d.n / 364 * if(c.openness > 1, 1.5, 0.2)) * (0.8 + (cityHash64(d.n, c.rank_of) % 1000) / 2500.)) + 1 AS counted
SELECT d.day, c.environment, 'gateway', c.gateway_product, c.openness, c.hosting, c.operation, c.choice, c.outcome,
       if(c.outcome IN (1, 3), intDiv(counted, 3), counted), counted, if(c.outcome = 0, counted * 900, 0), if(c.outcome = 0, counted * 210, 0), 1
FROM (SELECT environment, gateway_product, openness, hosting, operation, choice, outcome, sum(a_day) AS a_day, cityHash64(environment, gateway_product, openness, hosting) AS rank_of
      FROM population.cells GROUP BY environment, gateway_product, openness, hosting, operation, choice, outcome) AS c
CROSS JOIN population.days AS d;

INSERT INTO weighbridge.rollup_models_1d (day, environment, vantage, model, provider, openness, hosting, operation, requests, attempts, input_tokens, output_tokens, built_from)
WITH toUInt64(c.a_day * d.weekday * (1 + d.n / 364 * if(c.openness > 1, 1.5, 0.2)) * (0.8 + (cityHash64(d.n, c.model) % 1000) / 2500.)) + 1 AS counted
SELECT d.day, c.environment, 'gateway', c.model, c.provider, c.openness, c.hosting, c.operation,
       counted, counted, counted * 900, counted * 210, 1
FROM (SELECT environment, model, provider, openness, hosting, operation, sum(a_day) AS a_day
      FROM population.cells WHERE outcome = 0 AND operation < 2 GROUP BY environment, model, provider, openness, hosting, operation) AS c
CROSS JOIN population.days AS d;

-- What each collector has of the split, a day.
CREATE TABLE population.collectors ENGINE = MergeTree ORDER BY collector AS
SELECT collector, any(environment) AS environment, any(gateway_product) AS gateway_product,
       sumIf(a_day, openness > 1) AS open, sumIf(a_day, openness = 1) AS closed, sumIf(a_day, openness = 0) AS unknown,
       1 + cityHash64(collector, 'days') % 28 AS days
FROM population.cells WHERE outcome = 0 AND operation < 2 GROUP BY collector;

INSERT INTO weighbridge.participation_4w (span, participant, environment, vantage, collectors, active_days, open_days, possibly_open_days, requests, open_requests, closed_requests, unknown_requests,
    open_input_tokens, closed_input_tokens, unknown_input_tokens, open_output_tokens, closed_output_tokens, unknown_output_tokens, built_from)
SELECT toDate('2025-11-24') + 28 * s.number AS span, reinterpretAsUUID(toUInt128(collector + 1)), arrayJoin([0, environment]), 'gateway', 1, days, if(open > 0, days, 0), if(open + unknown > 0, days, 0),
       (open + closed + unknown) * days, open * days, closed * days, unknown * days, open * days * 900, closed * days * 900, unknown * days * 900,
       open * days * 210, closed * days * 210, unknown * days * 210, 1
FROM population.collectors CROSS JOIN numbers(13) AS s;

INSERT INTO weighbridge.participation_1mo (month, collector_id, participant, vantage, open_requests, closed_requests, unknown_requests, built_from)
SELECT addMonths(toDate('2025-12-01'), m.number) AS month, reinterpretAsUUID(toUInt128(collector + 1)) AS id, id, 'gateway',
       if(cityHash64(collector, m.number) % 10 < 7, open * days, 0), closed * days, unknown * days, 1
FROM population.collectors CROSS JOIN numbers(12) AS m
WHERE cityHash64(collector, 'joined') % 12 <= m.number;

INSERT INTO weighbridge.rollup_fallbacks_1d (day, environment, vantage, gateway_product, from_class, after_outcome, to_class, requests_min, requests_max, requests_likely, built_from)
SELECT d.day, c.environment, 'gateway', c.gateway_product, c.from_class, c.after_outcome, c.to_class, intDiv(c.counted, 3), c.counted, c.counted / 2, 1
FROM (SELECT environment, gateway_product, toInt8(least(openness, 2)) AS from_class, outcome AS after_outcome, arrayJoin([1, 2]) AS to_class, sum(a_day) AS counted
      FROM population.cells WHERE outcome IN (1, 2, 3) GROUP BY environment, gateway_product, from_class, after_outcome, to_class) AS c
CROSS JOIN population.days AS d;

INSERT INTO weighbridge.rollup_coverage_1d (day, environment, vantage, gateway_product, collectors, collectors_silent, reports, covered_s, partial_windows, late_windows, dropped_requests, built_from)
SELECT d.day, c.environment, 'gateway', c.gateway_product, c.collectors, intDiv(c.collectors, 50), c.collectors * 1430, c.collectors * 1430 * 60, c.collectors, c.collectors * 3, 0, 1
FROM (SELECT environment, gateway_product, count() AS collectors FROM population.collectors GROUP BY environment, gateway_product) AS c
CROSS JOIN population.days AS d;

INSERT INTO weighbridge.rollup_split_1h (hour, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, requests, attempts, input_tokens, output_tokens, built_from)
SELECT t.day + 3600 * n.number AS at, t.environment, t.vantage, t.gateway_product, t.openness, t.hosting, t.operation, t.choice, t.outcome,
       1 + intDiv(t.requests, 24), 1 + intDiv(t.attempts, 24), intDiv(t.input_tokens, 24), intDiv(t.output_tokens, 24), 1
FROM weighbridge.rollup_split_1d AS t CROSS JOIN numbers(24) AS n
WHERE t.day >= toDateTime('2026-11-17 00:00:00', 'UTC');

INSERT INTO weighbridge.rollup_split_5m (minute, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toDateTime('2026-11-22 12:00:00', 'UTC') + 300 * n.number AS at, t.environment, t.vantage, t.gateway_product, t.openness, t.hosting, t.operation, t.choice, t.outcome,
       1 + intDiv(t.requests, 288), 1 + intDiv(t.attempts, 288), intDiv(t.input_tokens, 288), intDiv(t.output_tokens, 288), 1
FROM weighbridge.rollup_split_1d AS t CROSS JOIN numbers(144) AS n
WHERE t.day = toDateTime('2026-11-22 00:00:00', 'UTC');

INSERT INTO weighbridge.rollup_split_1m (minute, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toDateTime('2026-11-22 22:00:00', 'UTC') + 60 * n.number AS at, t.environment, t.vantage, t.gateway_product, t.openness, t.hosting, t.operation, t.choice, t.outcome,
       1 + intDiv(t.requests, 1440), 1 + intDiv(t.attempts, 1440), intDiv(t.input_tokens, 1440), intDiv(t.output_tokens, 1440), 1
FROM weighbridge.rollup_split_1d AS t CROSS JOIN numbers(120) AS n
WHERE t.day = toDateTime('2026-11-22 00:00:00', 'UTC');

INSERT INTO weighbridge.rollup_models_1h (hour, environment, vantage, model, provider, openness, hosting, operation, requests, attempts, input_tokens, output_tokens, built_from)
SELECT t.day + 3600 * n.number, t.environment, t.vantage, t.model, t.provider, t.openness, t.hosting, t.operation,
       1 + intDiv(t.requests, 24), 1 + intDiv(t.attempts, 24), intDiv(t.input_tokens, 24), intDiv(t.output_tokens, 24), 1
FROM weighbridge.rollup_models_1d AS t CROSS JOIN numbers(24) AS n
WHERE t.day >= toDateTime('2026-11-20 00:00:00', 'UTC');

INSERT INTO weighbridge.rollup_fallbacks_1h (hour, environment, vantage, gateway_product, from_class, after_outcome, to_class, requests_min, requests_max, requests_likely, built_from)
SELECT t.day + 3600 * n.number, t.environment, t.vantage, t.gateway_product, t.from_class, t.after_outcome, t.to_class,
       intDiv(t.requests_min, 24), intDiv(t.requests_max, 24), t.requests_likely / 24, 1
FROM weighbridge.rollup_fallbacks_1d AS t CROSS JOIN numbers(24) AS n
WHERE t.day >= toDateTime('2026-11-20 00:00:00', 'UTC');

INSERT INTO weighbridge.rollup_coverage_1h (hour, environment, vantage, gateway_product, collectors, reports, covered_s, partial_windows, late_windows, newest, built_from)
SELECT t.day + 3600 * n.number AS hour, t.environment, t.vantage, t.gateway_product,
       t.collectors, t.collectors * 60, t.collectors * 3600, intDiv(t.collectors, 24), intDiv(t.collectors, 8), hour + 3540, 1
FROM weighbridge.rollup_coverage_1d AS t CROSS JOIN numbers(24) AS n
WHERE t.day >= toDateTime('2026-11-15 00:00:00', 'UTC');
