INSERT INTO {database}.{stage:rollup_split_1h} (hour, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toStartOfHour(minute) AS hour, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {block}
FROM {database}.{stage:rollup_split_1m}
GROUP BY hour, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome
