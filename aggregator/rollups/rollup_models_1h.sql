INSERT INTO {database}.{stage:rollup_models_1h} (hour, environment, vantage, model, provider, openness, hosting, operation, requests, attempts, input_tokens, output_tokens, built_from)
SELECT hour, environment, vantage, model, provider, openness, hosting, operation, sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {fingerprint}
FROM {database}.traffic_1h
WHERE toYYYYMMDD(hour) = {partition} AND outcome = 'ok' AND operation IN ('chat', 'text_completion')
GROUP BY hour, environment, vantage, model, provider, openness, hosting, operation
