-- sustained_days: open traffic on at least so many of 28 days is sustained use; five working days a week are 20. With environment
-- production it is sustained production use. volume_class: requests of a day with traffic, as a power of ten. Majority: more open than
-- closed requests; _min takes unknown for closed, _max for open.
INSERT INTO {database}.{stage:rollup_adoption_4w} (span, environment, vantage, volume_class, active_days, authenticated, participants,
    with_open, with_open_max, with_majority, with_majority_min, with_majority_max, with_sustained, with_sustained_max,
    open_requests, closed_requests, unknown_requests, open_input_tokens, closed_input_tokens, unknown_input_tokens,
    open_output_tokens, closed_output_tokens, unknown_output_tokens, built_from)
WITH 20 AS sustained_days
SELECT p.span, p.environment, p.vantage,
       toInt8(floor(log10(greatest(p.requests / greatest(p.active_days, 1), 1)))) AS class,
       toInt8(multiIf(p.active_days >= sustained_days, 3, p.active_days >= 5, 2, 1)) AS days,
       max(p.authenticated), count(),
       countIf(p.open_requests > 0), countIf(p.open_requests + p.unknown_requests > 0),
       countIf(p.open_requests > p.closed_requests), countIf(p.open_requests > p.closed_requests + p.unknown_requests),
       countIf(p.open_requests + p.unknown_requests > p.closed_requests),
       countIf(p.open_days >= sustained_days), countIf(p.possibly_open_days >= sustained_days),
       sum(p.open_requests), sum(p.closed_requests), sum(p.unknown_requests),
       sum(p.open_input_tokens), sum(p.closed_input_tokens), sum(p.unknown_input_tokens),
       sum(p.open_output_tokens), sum(p.closed_output_tokens), sum(p.unknown_output_tokens), {fingerprint}
FROM {database}.participation_4w AS p
WHERE p.span = toDate('{partition}') AND p.open_requests + p.closed_requests + p.unknown_requests > 0
GROUP BY p.span, p.environment, p.vantage, class, days
