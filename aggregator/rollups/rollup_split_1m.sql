INSERT INTO {database}.{stage:rollup_split_1m} (minute, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, requests, attempts, input_tokens, output_tokens, built_from)
SELECT minute, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {block}
FROM {database}.{stage:traffic_1m}
GROUP BY minute, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome
