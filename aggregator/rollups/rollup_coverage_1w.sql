INSERT INTO {database}.{stage:rollup_coverage_1w} (week, environment, vantage, gateway_product, contributor_bits, collector_days, silent_collector_days, reports, covered_s,
    partial_windows, late_windows, dropped_requests, requests, unknown_requests, built_from)
SELECT week, environment, vantage, gateway_product, groupBitOr(bits), sum(present), sum(silent), sum(n), sum(covered), sum(partial), sum(late), sum(dropped), sum(counted), sum(unknown), {fingerprint}
FROM
(
    SELECT toDateTime(toMonday(day), 'UTC') AS week, environment, vantage, gateway_product, contributor_bits AS bits,
           collectors AS present, collectors_silent AS silent, reports AS n, covered_s AS covered, partial_windows AS partial,
           late_windows AS late, dropped_requests AS dropped, toUInt64(0) AS counted, toUInt64(0) AS unknown
    FROM {database}.rollup_coverage_1d
    WHERE toMonday(day) >= toDate('{partition}') AND toMonday(day) < addQuarters(toDate('{partition}'), 1)
    UNION ALL
    SELECT week, environment, vantage, gateway_product, contributor_bits AS bits,
           toUInt64(0) AS present, toUInt64(0) AS silent, toUInt64(0) AS n, toUInt64(0) AS covered, toUInt64(0) AS partial,
           toUInt64(0) AS late, toUInt64(0) AS dropped, requests AS counted, if(openness = 'unknown', requests, 0) AS unknown
    FROM {whole}.rollup_split_1w
    WHERE week >= toDate('{partition}') AND week < addQuarters(toDate('{partition}'), 1) AND outcome = 'ok' AND operation IN ('chat', 'text_completion')
)
GROUP BY week, environment, vantage, gateway_product
