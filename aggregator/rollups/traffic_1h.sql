INSERT INTO {database}.{stage:traffic_1h} (hour, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toStartOfHour(minute) AS hour, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {block}
FROM {database}.{stage:traffic_1m}
GROUP BY hour, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome
