INSERT INTO {database}.{stage:rollup_split_5m} (minute, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toStartOfFiveMinutes(minute) AS five, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {fingerprint}
FROM {database}.rollup_split_1m
WHERE toYYYYMMDD(minute) = {partition}
GROUP BY five, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome
