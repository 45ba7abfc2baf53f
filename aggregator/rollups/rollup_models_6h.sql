INSERT INTO {database}.{stage:rollup_models_6h} (hour, environment, vantage, model, provider, openness, hosting, operation, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toStartOfInterval(hour, INTERVAL 6 HOUR, 'UTC') AS first_hour, environment, vantage, model, provider, openness, hosting, operation, sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {fingerprint}
FROM {database}.rollup_models_1h
WHERE toYYYYMMDD(hour) = {partition}
GROUP BY first_hour, environment, vantage, model, provider, openness, hosting, operation
