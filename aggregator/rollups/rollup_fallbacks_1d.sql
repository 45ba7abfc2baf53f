INSERT INTO {database}.{stage:rollup_fallbacks_1d} (day, environment, vantage, gateway_product, from_class, after_outcome, to_class, requests_min, requests_max, requests_likely, contributor_bits, built_from)
SELECT toStartOfDay(hour) AS day, environment, vantage, gateway_product, from_class, after_outcome, to_class,
       sum(requests_min), sum(requests_max), sum(requests_likely), groupBitOr(contributor_bits), {block}
FROM {database}.{stage:rollup_fallbacks_1h}
GROUP BY day, environment, vantage, gateway_product, from_class, after_outcome, to_class
