INSERT INTO {database}.{stage:rollup_models_1w} (week, environment, vantage, model, provider, openness, hosting, operation, contributor_bits, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toDateTime(toMonday(day), 'UTC') AS week, environment, vantage, model, provider, openness, hosting, operation,
       groupBitOr(contributor_bits), sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {fingerprint}
FROM {database}.rollup_models_1d
WHERE day >= toDate('{partition}') AND day < toDate('{partition}') + 28
GROUP BY week, environment, vantage, model, provider, openness, hosting, operation
