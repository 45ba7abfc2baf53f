INSERT INTO {database}.{stage:rollup_fallbacks_1w} (week, environment, vantage, gateway_product, from_class, after_outcome, to_class, requests_min, requests_max, requests_likely, contributor_bits, built_from)
SELECT toDateTime(toMonday(day), 'UTC') AS week, environment, vantage, gateway_product, from_class, after_outcome, to_class,
       sum(requests_min), sum(requests_max), sum(requests_likely), groupBitOr(contributor_bits), {fingerprint}
FROM {database}.rollup_fallbacks_1d
WHERE toMonday(day) >= toDate('{partition}') AND toMonday(day) < addQuarters(toDate('{partition}'), 1)
GROUP BY week, environment, vantage, gateway_product, from_class, after_outcome, to_class
