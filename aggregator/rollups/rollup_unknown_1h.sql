INSERT INTO {database}.{stage:rollup_unknown_1h} (hour, environment, vantage, gateway_product, requests, unknown_requests, built_from)
SELECT hour, environment, vantage, gateway_product, sum(requests) AS counted, sumIf(requests, openness = 'unknown'), {fingerprint}
FROM {database}.rollup_split_1h
WHERE toYYYYMMDD(hour) = {partition} AND outcome = 'ok' AND operation IN ('chat', 'text_completion')
GROUP BY hour, environment, vantage, gateway_product
